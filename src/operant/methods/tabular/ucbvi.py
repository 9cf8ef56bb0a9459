"""UCBVI: optimism in the face of uncertainty, by value iteration on what was seen with a bonus for what was seen rarely.

Paper: Azar, Osband and Munos 2017, arXiv:1703.05449, algorithms 1 and 2. Before each episode, from its last step on: Q_h(s, a) is r̂ + P̂ V_{h+1} + b, never
above its value before the episode before, and V_h its largest; the episode plays what is greedy in Q. With L = log(5 K A T / delta) and T the steps that were
played, b is H √(scale · L / N), by Hoeffding's inequality, or √(2 scale L Var_P̂(V_{h+1}) / N) + 7 H scale L / 3N, by Bernstein's.

Departures: the paper's constants explore for longer than most problems last. Its bonuses are 7 H L / √N (algorithm 3, L outside the root: here `scale` would be
49 L) and √(8 L Var / N) + 14 H L / 3N with a third term that is for the proof (algorithm 4: a `scale` of 4 in the first term and of 2 in the second). Q is at
most H - h here, and that where nothing was seen, in the paper H. The paper knows the rewards; here their means are estimated, and by Bernstein's inequality the
bonus is of what comes next alone: where rewards are drawn, too little for them. Its T is of the whole run, here it grows. Where transitions or rewards differ
between the steps of an episode, so do the counts. An iteration is an episode. The policy that is evaluated is that of the next one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from operant import ops
from operant.core.registry import NonNegative, Range, method
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class UCBVI:
    bonus: Literal["hoeffding", "bernstein"] = "bernstein"  # by which inequality
    scale: NonNegative = 0.05  # of the bonus, before the logarithm
    delta: Annotated[float, Range(0, 1, open_low=True)] = 0.1  # chance that a value is not bounded


@method("ucbvi", name="UCBVI", family="tabular", paper="arXiv:1703.05449", worlds=("tabular",), example="tabular:river-swim", baseline=True)
def ucbvi(h: UCBVI) -> Planning:
    def start(problem: Problem) -> State:
        problem.check_rewards("ucbvi")
        q = problem.zeros(*problem.shape) + problem.most
        return problem.model().tables | {"q": q, "policy": ops.greedy_policy(q)}

    def bonus(count: Tensor, variance: Tensor, log: float, most: int) -> Tensor:
        if h.bonus == "hoeffding":
            return ops.count_penalty(count, scale=h.scale * log, most=most)
        return ops.empirical_bernstein(count, variance, log=h.scale * log, most=most)

    def improve(problem: Problem, state: State) -> State:
        (horizon, states, actions), seen = problem.shape, problem.model(state, problem.play(state["policy"], 1))
        log = math.log(5 * states * actions * horizon * (problem.step + 1) / h.delta)

        def q_at(step: int, here: Any, value: Tensor) -> Tensor:
            mean, variance = ops.next_value_moments(seen.transition[here], value)
            q = seen.reward[here] + mean + bonus(seen.count[here], variance, log, horizon)  # of what was not seen at least H, so that it stays as it is
            return torch.minimum(q, state["q"][:, step])

        q = problem.backwards(q_at)
        return seen.tables | {"q": q, "policy": ops.greedy_policy(q)}

    return Planning(start, improve, reads="episodes", iterations=100)
