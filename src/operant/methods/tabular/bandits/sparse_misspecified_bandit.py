"""Sparse misspecified linear bandits: the best action of every sparse parameter that there could be is tried, and the best one of what was seen is kept.

Paper: Dong and Yang 2023, arXiv:2303.16998. Rewards are <φ(a), θ*> + ν(a) with |ν| ≤ ε, ‖φ‖ ≤ 1, and a θ* of length 1 at most with s of its d entries other
than 0. In d dimensions an error of O(ε) takes exp(d) queries, and poly(d) are enough for O(ε √d) alone (`optimal-design`); with sparsity O(ε) takes O((d /
ε)^s): for every support of s entries and every point of a net of the ball in these (`ops.ball_net`, at most C(d, s) (1 + 2 / ε)^s in all) the action that is
best for it is played. One point is within ε of θ*, so its action is within 4 ε of the best one: ε each for the net, twice, and for ν, twice.

Settled: the paper's procedure was not to be had beyond its abstract; this enumeration has the bound that it states. Its algorithm of poly(s / ε) queries is not
here. Actions that are best for several points are played once.
An iteration is a query, `repeats` plays of one action; behind the last query nothing changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

import torch

from operant import ops
from operant.core.errors import BadInput
from operant.core.registry import Count, Range, method
from operant.loops.bandits import arms, query
from operant.loops.planning import Planning, Problem, State

MOST = 2**28  # products of an action's features and a parameter


@dataclass(frozen=True)
class SparseMisspecifiedBandit:
    sparsity: Annotated[int, Range(1, 8)] = 2  # entries of the parameter that may be other than 0 (s)
    epsilon: Annotated[float, Range(0, 0.5, open_low=True)] = 0.1  # how far a parameter of the net may be from the true one
    repeats: Count = 1  # plays of each action, where rewards are drawn


@method(
    "sparse-misspecified-bandit",
    name="Sparse misspecified bandit",
    family="tabular",
    paper="arXiv:2303.16998",
    worlds=("tabular",),
    example="tabular:misspecified-bandit",
)
def sparse_misspecified_bandit(h: SparseMisspecifiedBandit) -> Planning:
    def start(problem: Problem) -> State:
        features = arms(problem, "sparse-misspecified-bandit")
        count, size = features.shape[-2:]
        if size < h.sparsity:
            raise BadInput(f"sparse-misspecified-bandit --sparsity {h.sparsity}: there are {size} features")
        net = ops.ball_net(h.sparsity, h.epsilon)
        if (products := math.comb(size, h.sparsity) * len(net) * count) > MOST:
            raise BadInput(f"sparse-misspecified-bandit would try {products:,} pairs of parameters and actions, {MOST:,} at most: raise --epsilon")
        net, asked = net.to(features.device), torch.zeros_like(features[..., 0])
        for support in combinations(range(size), h.sparsity):
            asked.scatter_(1, (features[..., support] @ net.mT).argmax(1), 1.0)
        return {"asked": asked, "found": torch.full_like(asked, -torch.inf), "policy": problem.uniform()}

    def improve(problem: Problem, state: State) -> State:
        found = query(problem, state, h.repeats)
        return state | {"found": found, "policy": ops.greedy_policy(found)[:, None, None]}

    return Planning(start, improve, reads="episodes", iterations=100, plays=h.repeats)
