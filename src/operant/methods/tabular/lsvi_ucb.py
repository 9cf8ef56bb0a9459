"""LSVI-UCB: optimism where values are linear in known features: least-squares value iteration with a bonus for features that are unlike what was seen.

Paper: Jin, Yang, Wang and Jordan 2020, arXiv:1907.05388, algorithm 1. Before each episode, from its last step on: w_h = Λ_h⁻¹ Σ phi (r + V_{h+1}(s')) with
Λ_h = ridge · I + Σ phi phiᵀ over all that was played, Q_h = min(phiᵀ w_h + beta √(phiᵀ Λ_h⁻¹ phi), H - h), and V_h its largest; the episode plays what is
greedy in Q. beta is scale · d · H · √(log(2 d T / delta)), T the steps that were played.

Departures: the `scale` of the theorem is a constant that is not told, and 1 explores for longer than most problems last. The paper has H in the place of H - h,
and the T of the whole run, which grows here. Where all steps of an episode are alike (transitions, rewards and features), they share one regression; in the
paper each step has its own.
An iteration is an episode. The policy that is evaluated is that of the next one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from torch import Tensor

from operant import ops
from operant.core.registry import NonNegative, Positive, Range, method
from operant.loops.planning import Model, Planning, Problem, State


@dataclass(frozen=True)
class LSVIUCB:
    scale: NonNegative = 0.01  # of the bonus
    ridge: Positive = 1.0  # of the regression (lambda)
    delta: Annotated[float, Range(0, 1, open_low=True)] = 0.1  # chance that a value is not bounded


@method("lsvi-ucb", name="LSVI-UCB", family="tabular", paper="arXiv:1907.05388", worlds=("tabular",), example="tabular:linear-mdp", baseline=True)
def lsvi_ucb(h: LSVIUCB) -> Planning:
    def planned(problem: Problem, seen: Model, episodes: int) -> Tensor:
        """Q, `[S, H, K, A]`."""
        features, horizon = problem.model_features, problem.shape[0]
        fitted, dimension = seen.fitted(features, h.ridge), features.shape[-1]
        beta = h.scale * dimension * horizon * math.sqrt(math.log(2 * dimension * horizon * max(episodes, 1) / h.delta))

        def q_at(step: int, here: Any, value: Tensor) -> Tensor:
            return (ops.bellman_q(fitted.reward[here], fitted.transition[here], value, discount=1.0) + beta * fitted.width[here]).clamp(max=horizon - step)

        return problem.backwards(q_at)

    def start(problem: Problem) -> State:
        problem.check_rewards("lsvi-ucb")
        seen = problem.model()
        return seen.tables | {"policy": ops.greedy_policy(planned(problem, seen, 0))}

    def improve(problem: Problem, state: State) -> State:
        seen = problem.model(state, problem.play(state["policy"], 1))
        return seen.tables | {"policy": ops.greedy_policy(planned(problem, seen, problem.step + 1))}

    return Planning(start, improve, reads="episodes", iterations=100)
