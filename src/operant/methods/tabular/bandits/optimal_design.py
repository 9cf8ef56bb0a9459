"""Optimal design: the actions that tell most about a linear parameter are tried, and the one that least squares then call the best is kept.

Papers: Kiefer and Wolfowitz 1960 for the design w, of which the largest φ' V(w)⁻¹ φ is d (`ops.g_optimal_design`); Lattimore, Szepesvári and Weisz 2020,
arXiv:1911.07676, propositions 4.2 and 5.1: where rewards are linear up to ε, least squares with these weights are wrong by up to ε √d, and what is chosen by
them costs up to 2 ε (1 + √d), or O(ε √d).

An iteration is a query, `repeats` plays of one action of weight `smallest` or more (of at most as many as there are in the design); until the last one the
policy is uniform, and behind it nothing changes. It is for bandits without contexts, and what `sparse-misspecified-bandit` is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from operant import ops
from operant.core.registry import Count, Range, method
from operant.loops.bandits import arms, query
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class OptimalDesign:
    smallest: Annotated[float, Range(0, 0.5, open_low=True)] = 1e-3  # weight in the design below which an action is not tried
    repeats: Count = 1  # plays of each action, where rewards are drawn


@method(
    "optimal-design",
    name="G-optimal design",
    family="tabular",
    paper="arXiv:1911.07676",
    worlds=("tabular",),
    example="tabular:misspecified-bandit",
    baseline=True,
)
def optimal_design(h: OptimalDesign) -> Planning:
    def start(problem: Problem) -> State:
        weight = ops.g_optimal_design(arms(problem, "optimal-design"))
        asked = torch.where(weight >= h.smallest, weight, 0.0)
        return {"asked": asked, "found": torch.full_like(asked, -torch.inf), "policy": problem.uniform()}

    def improve(problem: Problem, state: State) -> State:
        features, found = arms(problem, "optimal-design"), query(problem, state, h.repeats)
        parameter, _ = ops.ridge_regression(features, state["asked"], state["asked"] * torch.where(found.isneginf(), 0.0, found), ridge=1e-9)
        greedy = ops.greedy_policy((features @ parameter.unsqueeze(-1)).squeeze(-1))
        done = ((state["asked"] == 0) | ~found.isneginf()).all(-1, keepdim=True)
        return state | {"found": found, "policy": torch.where(done, greedy, 1 / greedy.shape[-1])[:, None, None]}

    return Planning(start, improve, reads="episodes", iterations=100, plays=h.repeats)
