"""R-max: what was visited often is taken to be as it was seen, and all else to be as good as can be.

Paper: Brafman and Tennenholtz 2002. A pair is known once it was visited `known` times. Each episode plays what is optimal in the model where known pairs have
the mean rewards and frequencies that were seen, and any other is worth H - h at step h, the largest reward from there to the end. So what is unknown is
either sought, or known to be out of reach.

Departures: the paper has the average reward of one endless episode, against an opponent too, and plays policies of so many steps as it takes to mix, planned
anew as soon as a pair becomes known; here that is between episodes. It takes a reward as known once it was seen; here rewards have means. The number of visits
from which on a pair is known is a polynomial in everything in the paper, for its proof. There a known pair's estimates stay as they were when it became known;
here they go on with its visits. Where transitions or rewards differ between the steps of an episode, so do the counts. An iteration is an episode. The policy
that is evaluated is that of the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from operant import ops
from operant.core.registry import Count, method
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class RMax:
    known: Count = 20  # visits after which a pair is known (m)


@method("rmax", name="R-max", family="tabular", paper="none", worlds=("tabular",), example="tabular:random-episodes", baseline=True)
def rmax(h: RMax) -> Planning:
    def start(problem: Problem) -> State:
        problem.check_rewards("rmax")
        return problem.model().tables | {"policy": ops.greedy_policy(problem.zeros(*problem.shape))}

    def improve(problem: Problem, state: State) -> State:
        horizon, seen = problem.shape[0], problem.model(state, problem.play(state["policy"], 1))

        def q_at(step: int, here: Any, value: Tensor) -> Tensor:
            q = seen.reward[here] + ops.next_value_moments(seen.transition[here], value)[0]
            return torch.where(seen.count[here] >= h.known, q, horizon - step)

        return seen.tables | {"policy": ops.greedy_policy(problem.backwards(q_at))}

    return Planning(start, improve, reads="episodes", iterations=100)
