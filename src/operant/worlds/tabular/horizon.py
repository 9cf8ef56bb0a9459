"""How far ahead one must look in a finite MDP behind which everybody acts at random: the exact analysis of shallow planning."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.worlds.tabular.mdp import FiniteMDP


@dataclass(frozen=True)
class Shallow:
    """What `shallow` found, `[S]` each.

    Attributes:
        k: the smallest k for which the MDP is k-QVI-solvable (arXiv:2312.08369): every policy that is greedy in Q^k is optimal, Q^1 being Q of the uniformly
            random policy and Q^(j+1) the optimal backup of Q^j; H at most, for Q^H is the optimal Q.
        gap: the smallest difference between the best and a worse action in Q^k, where greedy actions lead; infinite where all are alike.
    """

    k: Tensor
    gap: Tensor


def shallow(mdp: FiniteMDP) -> Shallow:
    """Raises `BadInput` for an MDP without a horizon."""
    if mdp.horizon is None:
        raise BadInput("k-QVI-solvability is of finite MDPs with a horizon")
    uniform = torch.full((mdp.seeds, *mdp.shape), 1 / mdp.actions, dtype=torch.float64)
    best = mdp.backup(mdp.optimum[0]).expand(uniform.shape)
    q = mdp.backup(mdp.value(uniform)).expand(uniform.shape)
    initial = mdp.initial.expand(mdp.seeds, -1)
    k, gap = torch.zeros(mdp.seeds, dtype=torch.int64), torch.full((mdp.seeds,), math.inf, dtype=torch.float64)
    for depth in range(1, mdp.horizon + 1):
        new = (k == 0) & (ops.greedy_mistake(q, best, mdp.transition, initial) == 0)
        k, gap = torch.where(new, depth, k), torch.where(new, _gap(q, mdp, initial), gap)
        q = mdp.backup(q.amax(-1))
    return Shallow(torch.where(k == 0, mdp.horizon, k), gap)


def _gap(q: Tensor, mdp: FiniteMDP, initial: Tensor, tolerance: float = 1e-9) -> Tensor:
    there, found = initial > 0, torch.full_like(initial[:, 0], math.inf)
    for step in range(mdp.horizon):
        mine = q[:, step]
        short = mine.amax(-1, keepdim=True) - mine
        worse = torch.where((short > tolerance) & there.unsqueeze(-1), short, math.inf)
        found = torch.minimum(found, worse.flatten(1).amin(1))
        leads = mdp.transition[:, min(step, mdp.transition.shape[1] - 1)] > 0
        there = (leads & ((short <= tolerance) & there.unsqueeze(-1)).unsqueeze(-1)).any(-2).any(-2)
    return found
