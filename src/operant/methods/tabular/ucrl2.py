"""UCRL2: each episode plays the optimal policy of the best MDP of all that are not implausible after what was seen.

Paper: Auer, Jaksch and Ortner 2008 (JMLR 2010, figures 1 and 2). Plausible are mean rewards within √(7 scale L_r / 2N) of what was seen, L_r = log(2 K A T /
delta), and transitions within an L1 distance of √(14 K scale L_p / N), L_p = log(2 A T / delta), N being visits of the pair and T the steps that were played.
Extended value iteration chooses among them together with the actions: Q_h(s, a) = r̃ + max_P̃ Σ P̃ V_{h+1}, H - h at most.

Departures: the paper has one endless episode, an average reward, and a new policy once visits of a pair have doubled; here episodes have a horizon, whose
steps are planned backwards, and each has a new policy. The paper's constants are a `scale` of 1, with which little is learned before most problems are over.
Where transitions or rewards differ between the steps of an episode, so do the counts.
An iteration is an episode. The policy that is evaluated is that of the next one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from torch import Tensor

from operant import ops
from operant.core.registry import NonNegative, Range, method
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class UCRL2:
    scale: NonNegative = 1e-3  # of the squared distances
    delta: Annotated[float, Range(0, 1, open_low=True)] = 0.1  # chance that the truth is held implausible


@method("ucrl2", name="UCRL2", family="tabular", paper="none", worlds=("tabular",), example="tabular:river-swim", baseline=True)
def ucrl2(h: UCRL2) -> Planning:
    def start(problem: Problem) -> State:
        problem.check_rewards("ucrl2")
        return problem.model().tables | {"policy": ops.greedy_policy(problem.zeros(*problem.shape))}

    def improve(problem: Problem, state: State) -> State:
        (horizon, states, actions), seen = problem.shape, problem.model(state, problem.play(state["policy"], 1))
        taken = 2 * actions * horizon * (problem.step + 1) / h.delta
        reward = (seen.reward + ops.count_penalty(seen.count, scale=3.5 * h.scale * math.log(states * taken), most=1.0)).clamp(max=1)
        radius = ops.count_penalty(seen.count, scale=14 * states * h.scale * math.log(taken), most=1.0)

        def q_at(step: int, here: Any, value: Tensor) -> Tensor:
            return (reward[here] + ops.optimistic_next_value(seen.transition[here], radius[here], value)).clamp(max=horizon - step)

        return seen.tables | {"policy": ops.greedy_policy(problem.backwards(q_at))}

    return Planning(start, improve, reads="episodes", iterations=100)
