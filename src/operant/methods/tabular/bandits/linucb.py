"""LinUCB: where mean rewards are linear in known features, the action that is best for the most favourable parameter that is still plausible.

Papers: Li et al. 2010, arXiv:1003.0146, algorithm 1, with one parameter for all actions; the width is that of OFUL (Abbasi-Yadkori, Pál and Szepesvári 2011,
theorem 2): with A = ridge I + Σ φ φ' and θ̂ = A⁻¹ Σ φ r, the action with the largest φ'θ̂ + β √(φ' A⁻¹ φ) is played, β = √ridge · norm + ½ √(2 ln(1 / delta) +
ln(det A / ridge^d)). With probability 1 - delta the true parameter is never farther, and regret grows as d √T up to logarithms. A reward in [0, 1] is
½-sub-Gaussian.

It needs features (`tabular:linear-bandit`, or a file that has them). An iteration is a round. The policy that is evaluated is that of the next one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch

from operant import ops
from operant.core.registry import NonNegative, Positive, Range, method
from operant.loops.bandits import check_bandit, tally
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class LinUCB:
    scale: NonNegative = 1.0  # of the width
    ridge: Positive = 1.0  # weight of the penalty on the parameter's length
    norm: Positive = 1.0  # the most that the true parameter's length can be
    delta: Annotated[float, Range(0, 1, open_low=True)] = 0.1  # chance that the truth is held implausible


@method("linucb", name="LinUCB", family="tabular", paper="arXiv:1003.0146", worlds=("tabular",), example="tabular:linear-bandit", baseline=True)
def linucb(h: LinUCB) -> Planning:
    def start(problem: Problem) -> State:
        check_bandit(problem, "linucb", features=True)
        return tally(problem) | {"policy": ops.greedy_policy(problem.zeros(*problem.shape))}

    def improve(problem: Problem, state: State) -> State:
        seen, features = tally(problem, state, problem.play(state["policy"], 1)), problem.model_features
        size, flat = features.shape[-1], features.flatten(-3, -2)
        parameter, gram = ops.ridge_regression(flat, seen["count"].flatten(1), seen["gained"].flatten(1), ridge=h.ridge)
        inverse, log = torch.linalg.inv_ex(gram)[0], gram.logdet() - size * math.log(h.ridge) - 2 * math.log(h.delta)
        width = h.scale * (math.sqrt(h.ridge) * h.norm + 0.5 * log.sqrt())
        value = (flat @ parameter.unsqueeze(-1)).view_as(seen["count"])
        index = value + width.view(-1, 1, 1) * ops.elliptic_norm(features, inverse)
        return seen | {"policy": ops.greedy_policy(index).unsqueeze(1)}

    return Planning(start, improve, reads="episodes", iterations=100, late=True)
