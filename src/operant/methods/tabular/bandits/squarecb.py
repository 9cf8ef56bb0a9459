"""SquareCB: a regression predicts what actions are worth, and each is played with a probability that is inverse to what it lacks.

Paper: Foster and Rakhlin 2020, arXiv:2002.04926, algorithm 1: with ŷ of an online regression oracle and b its best action, p(a) = 1 / (A + γ (ŷ(b) - ŷ(a))),
and the rest for b. With γ = √(A T / (Regret_Sq(T) + log(2 / delta))) regret is at most 4 √(A T Regret_Sq(T)) + 8 √(A T log(2 / delta)) (theorem 1): every
oracle for squared loss is one for bandits.

The oracle is ridge regression, with weight 1, on the table of contexts and actions (`--oracle table`: means, shrunk by one reward of 0), or on known features
(`linear`). Its regret is about p log T with p parameters, so γ is scale √(A t / (p ln(1 + t))) in round t.
Departures: γ needs T in the paper, and here goes with t; the scale of the theorem, 1, explores for longer than most problems last; ridge regression stands in
the place of Vovk's forecaster, whose regret is the one that is proved. An iteration is a round. The policy that is evaluated is that of the next one, its
exploration included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from operant import ops
from operant.core.registry import Positive, method
from operant.loops.bandits import check_bandit, tally
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class SquareCB:
    oracle: Literal["table", "linear"] = "table"  # what is fitted: a mean for each context and action, or one parameter for known features
    scale: Positive = 30.0  # of gamma; 1 is what the theorem has


@method("squarecb", name="SquareCB", family="tabular", paper="arXiv:2002.04926", worlds=("tabular",), example="tabular:bandit", baseline=True)
def squarecb(h: SquareCB) -> Planning:
    linear = h.oracle == "linear"

    def start(problem: Problem) -> State:
        check_bandit(problem, "squarecb", features=linear)
        return tally(problem) | {"policy": problem.uniform()}

    def improve(problem: Problem, state: State) -> State:
        seen, (_, contexts, actions) = tally(problem, state, problem.play(state["policy"], 1)), problem.shape
        if linear:
            flat = problem.model_features.flatten(-3, -2)
            parameter, _ = ops.ridge_regression(flat, seen["count"].flatten(1), seen["gained"].flatten(1), ridge=1.0)
            value = (flat @ parameter.unsqueeze(-1)).view_as(seen["count"])
        else:
            value = seen["gained"] / (seen["count"] + 1)
        parameters, rounds = flat.shape[-1] if linear else contexts * actions, problem.step + 2
        gamma = h.scale * math.sqrt(actions * rounds / (parameters * math.log(1 + rounds)))
        return seen | {"policy": ops.inverse_gap_weighting(value, gamma).unsqueeze(1)}

    return Planning(start, improve, reads="episodes", iterations=100, late=True)
