"""Distributional dynamic programming with stock: exact, and not what is greedy in the CVaR of each state."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.stock import StockMDP, stocked
from operant.worlds.tabular.world import TabularWorld

LEVELS, INSTANCES = (0.1, 0.25, 0.5, 0.75, 1.0), range(40, 60)
BED = "20 random MDPs of 2 states, 2 actions and 3 steps, rewards of 0, 0.1, … 1"


@check(
    "dist-dp-stock",
    "exhaustive",
    "exact",
    f"at levels 0.1, 0.25, 0.5, 0.75 and 1 the CVaR of the policy's return is that of the best of all policies that remember every state, within 1e-9 ({BED})",
    theorem="with a stock the best CVaR needs no other memory",
)
def exhaustive(folder: Path) -> Finding:
    off = 0.0
    for seed in INSTANCES:
        mdp = instance(seed)
        values, laws = every_policy(mdp)
        for level in LEVELS:
            best = ops.conditional_value_at_risk(values, laws, level=level).max().item()
            off = max(off, abs(cvar(mdp, level) - best))
    return Finding(off <= 1e-9, {"largest_difference": off, "at_most": 1e-9, "policies": len(laws)})


@check("dist-dp-stock", "mean", "exact", f"with f(x) = x the policy's value is the optimum that value iteration finds, within 1e-9 ({BED})")
def mean(folder: Path) -> Finding:
    off = 0.0
    for seed in INSTANCES:
        mdp = instance(seed)
        off = max(off, abs(planned(mdp, objective="mean") - mdp.start_value(mdp.optimum[0]).item()))
    return Finding(off <= 1e-9, {"largest_difference": off, "at_most": 1e-9})


@check(
    "dist-dp-stock",
    "greedy",
    "exact",
    "the CVaR at level 0.25 of the policy that is greedy in the CVaR of each state's return, without a stock, is never larger, and smaller by more than 0.01 "
    f"in at least 2 of the instances ({BED})",
)
def greedy(folder: Path) -> Finding:
    short = []
    for seed in INSTANCES:
        mdp = instance(seed)
        short.append(cvar(mdp, 0.25) - greedy_cvar(mdp, 0.25))
    figures = {"short": short, "never_below": -1e-9, "short_by_more_than_0.01": sum(each > 0.01 for each in short), "at_least": 2}
    return Finding(min(short) >= -1e-9 and figures["short_by_more_than_0.01"] >= 2, figures)


def instance(seed: int) -> StockMDP:
    """Each pair pays a multiple of 0.1 and leads to either state."""
    rng = np.random.default_rng([seed, 25])
    transition = torch.from_numpy(rng.dirichlet([1.0, 1.0], (1, 1, 2, 2)))
    reward = torch.from_numpy(rng.integers(0, 11, (1, 1, 2, 2)) / 10)
    return stocked(FiniteMDP(transition, reward, torch.tensor([[0.5, 0.5]], dtype=torch.float64), 1.0, 3), 0.1)


def run(mdp: StockMDP, **hyper: object):
    learner = get_method("dist-dp-stock").build(configure("dist-dp-stock", hyper)).learner(TabularWorld(mdp), [0], mdp.horizon, torch.device("cpu"))
    while learner.step < mdp.horizon:
        learner.iterate()
    return learner


def cvar(mdp: StockMDP, level: float) -> float:
    return float(run(mdp, level=level).measures()["CVaR"][0])


def planned(mdp: StockMDP, **hyper: object) -> float:
    """The value of the policy."""
    learner = run(mdp, **hyper)
    return mdp.start_value(mdp.value(learner.policy.probabilities)).item()


def every_policy(mdp: StockMDP) -> tuple[Tensor, Tensor]:
    """The laws of the returns of all deterministic policies that remember every state: values `[F]`, probabilities `[policies, F]`.

    From a first state three steps have 1 + 2 + 4 decisions, by the states in between; those of the two first states do not meet, so that all of one and all of
    the other are combined.
    """
    base, units = mdp.base, mdp.units
    moves = base.transition[0, 0]
    most = 3 * int(units.max())
    halves = []
    for first in (0, 1):
        laws = torch.zeros(2**7, most + 1, dtype=torch.float64)
        for number, taken in enumerate(product((0, 1), repeat=7)):
            for second, third in product((0, 1), repeat=2):
                one, two, three = taken[0], taken[1 + second], taken[3 + 2 * second + third]
                chance = moves[first, one, second] * moves[second, two, third] * base.initial[0, first]
                laws[number, units[first, one] + units[second, two] + units[third, three]] += chance
        halves.append(laws)
    whole = (halves[0].unsqueeze(1) + halves[1]).flatten(0, 1)
    return torch.arange(most + 1, dtype=torch.float64) * mdp.spacing, whole


def greedy_cvar(mdp: StockMDP, level: float) -> float:
    """The CVaR of the whole return of who takes in each state, at each step, the action whose return to come has the largest CVaR."""
    base, units = mdp.base, mdp.units
    most = 3 * int(units.max())
    values = torch.arange(most + 1, dtype=torch.float64) * mdp.spacing
    law = torch.zeros(base.states, most + 1, dtype=torch.float64)
    law[:, 0] = 1
    for _ in range(3):
        after = ops.stock_backup(law.unsqueeze(1), base.transition[0, 0], units).squeeze(-2)  # [K, A, F]
        best = ops.conditional_value_at_risk(values, after, level=level).argmax(-1)
        law = after[torch.arange(base.states), best]
    return ops.conditional_value_at_risk(values, base.initial[0] @ law, level=level).item()
