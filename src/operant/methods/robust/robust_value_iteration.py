"""Robust value iteration: Bellman's optimality operator with the worst transitions of each pair, on an MDP whose uncertainty set is known.

Source: Iyengar 2005; Nilim and El Ghaoui 2005: V(s) = max_a r(s, a) + discount · min_u Σ_s' P_u(s'|s, a) V(s'), from V = 0, for sets that are (s,
a)-rectangular. Each iteration brings V nearer to the largest worst-case value by the discount. With a horizon V of every step is replaced at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant import ops
from operant.core.registry import method
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class RobustValueIteration:
    pass


@method(
    "robust-value-iteration",
    name="Robust value iteration",
    family="robust",
    paper="none",
    worlds=("tabular",),
    example="tabular:random-uncertain",
    baseline=True,
)
def robust_value_iteration(h: RobustValueIteration) -> Planning:
    def start(problem: Problem) -> State:
        problem.uncertain("robust-value-iteration")
        return {"value": problem.zeros(*problem.shape[:-1]), "policy": problem.uniform()}

    def improve(problem: Problem, state: State) -> State:
        q = problem.uncertain("robust-value-iteration").robust_backup(state["value"])
        return {"value": q.amax(-1), "policy": ops.greedy_policy(q)}

    return Planning(start, improve)
