"""Finite MDPs of many states, of which each pair leads to a few: what it leads to is stored, and no table of all states by all."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import count

import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput, RunFailed
from operant.core.registry import value_text
from operant.worlds.tabular.mdp import FiniteMDP, place

SETTLED = 1e-13  # change of a sweep, as a share of the largest value, behind which values are taken as computed
MOST_SWEEPS = 1_000_000
LARGEST_DISCOUNT = 0.99998  # for which so many are enough (`sweeps`)


def sweeps(discount: float) -> float:
    """After how many the t-th change, discount^t of a reward, is `SETTLED` of a value, that reward over (1 - discount)."""
    return math.log(SETTLED / (1 - discount)) / math.log(discount)


@dataclass(frozen=True)
class SparseMDP(FiniteMDP):
    """A finite MDP without a horizon whose pairs lead to B states each. What is a linear system of K equations elsewhere is solved by sweeps here.

    Attributes:
        transition: `[S or 1, K, A, B]` float64, the probability of each of the states that a pair leads to.
        successor: `[S or 1, K, A, B]` int64, these states; the same one may stand there twice.

    Raises:
        BadInput: as of `FiniteMDP`; a successor that is no state, a horizon, or a discount above `LARGEST_DISCOUNT`.
    """

    successor: Tensor | None = None

    def __post_init__(self):
        if self.horizon is not None:
            raise BadInput("finite MDP: one that is stored by what its pairs lead to has a discount, and no horizon")
        super().__post_init__()
        if self.discount > LARGEST_DISCOUNT:
            told = f"finite MDP: values of this kind are computed by sweeps, {sweeps(self.discount):,.0f} with discount {value_text(self.discount)}"
            raise BadInput(f"{told}: the largest discount that can be is {LARGEST_DISCOUNT}, of {MOST_SWEEPS:,} sweeps")
        if self.successor is None or self.successor.shape != self.transition.shape or self.successor.dtype != torch.int64:
            found = "none" if self.successor is None else f"{list(self.successor.shape)} {self.successor.dtype}"
            raise BadInput(f"finite MDP: successor is {found}, must be int64 {list(self.transition.shape)}, as transition")
        if (off := (self.successor < 0) | (self.successor >= self.states)).any():
            raise BadInput(f"finite MDP: successor{place(off)} is {self.successor[off][0].item()}, must be a state, 0 to {self.states - 1}")

    @property
    def branches(self) -> int:
        return self.transition.shape[-1]

    @property
    def known(self) -> tuple[Tensor, ...]:
        return (self.successor,)

    def dense(self) -> FiniteMDP:
        """The same with a table of all states by all."""
        transition = self.transition.new_zeros(*self.transition.shape[:-1], self.states).scatter_add_(-1, self.successor, self.transition)
        return FiniteMDP(transition, self.reward, self.initial, self.discount, bernoulli=self.bernoulli)

    @cached_property
    def _matrix(self) -> Tensor:
        """`[S K A, S K]` in compressed rows: the transitions of all MDPs, in blocks."""
        first = self.states * torch.arange(len(self.successor), device=self.successor.device).view(-1, 1, 1, 1)
        column = (self.successor + first).flatten()
        begins = torch.arange(0, len(column) + 1, self.branches, device=column.device)
        with warnings.catch_warnings(category=UserWarning):
            warnings.simplefilter("ignore")  # PyTorch calls compressed rows a beta
            return torch.sparse_csr_tensor(begins, column, self.transition.flatten(), (len(begins) - 1, len(self.successor) * self.states))

    def backup(self, value: Tensor) -> Tensor:
        self._check("values", value, self.shape[:-1])
        if len(self.successor) == 1:  # the MDP is everybody's
            following = (self._matrix @ value.mT).mT
        else:
            following = self._matrix @ value.expand(len(self.successor), -1).flatten()
        return self.reward + self.discount * following.view(-1, *self.shape)

    def value(self, policy: Tensor, reward: Tensor | None = None) -> Tensor:
        """V of a policy `[S, *shape]`, by sweeps: within `SETTLED` discount / (1 - discount) of the largest value."""
        other = 0.0 if reward is None else reward - self.reward
        return self._settled(lambda value: ((self.backup(value) + other) * policy).sum(-1), len(policy))

    def occupancy(self, policy: Tensor) -> Tensor:
        first = self.states * torch.arange(len(policy), device=policy.device).view(-1, 1, 1, 1)
        leads, chance = (self.successor + first).flatten(), self.transition * policy.unsqueeze(-1)

        def sweep(visits: Tensor) -> Tensor:
            arriving = torch.zeros_like(visits).flatten().scatter_add_(0, leads, (visits[..., None, None] * chance).flatten())
            return (1 - self.discount) * self.initial + self.discount * arriving.view_as(visits)

        return self._settled(sweep, len(policy)).unsqueeze(-1) * policy

    @cached_property
    def optimum(self) -> tuple[Tensor, Tensor]:
        """The largest values and a policy that has them, by value iteration; within `SETTLED` discount / (1 - discount) of the largest value."""
        value = self._settled(lambda value: self.backup(value).amax(-1), self.seeds)
        return value, ops.greedy_policy(self.backup(value))

    def _settled(self, sweep: Callable[[Tensor], Tensor], seeds: int) -> Tensor:
        """What a contraction of values `[S, K]` settles at, from 0."""
        value = self.initial.new_zeros(seeds, self.states)
        for done in count(1):
            fresh = sweep(value)
            if (fresh - value).abs().max() <= SETTLED * fresh.abs().max():
                return fresh
            if done == MOST_SWEEPS:
                raise RunFailed(f"values have not settled after {done:,} sweeps with discount {value_text(self.discount)}: take a smaller discount")
            value = fresh

    def _leads(self, pair: Tensor, branch: Tensor) -> Tensor:
        return self.successor.expand(len(pair), -1, -1, -1).flatten(1).gather(1, pair * self.branches + branch)
