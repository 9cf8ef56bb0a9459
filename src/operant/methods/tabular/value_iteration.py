"""Value iteration: Bellman's optimality operator, again and again, on an MDP that is known.

Source: Bellman 1957; Puterman 1994, section 6.3: V(s) = max_a r(s, a) + discount · Σ_s' P(s'|s, a) V(s'), from V = 0; the policy is the greedy one. Each
iteration brings V nearer to the optimum by the discount. With a horizon V of every step is replaced at once, which is exact after as many iterations.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant import ops
from operant.core.registry import method
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class ValueIteration:
    pass


@method("value-iteration", name="Value iteration", family="tabular", paper="none", worlds=("tabular",), baseline=True)
def value_iteration(h: ValueIteration) -> Planning:
    def start(problem: Problem) -> State:
        return {"value": problem.zeros(*problem.shape[:-1]), "policy": problem.uniform()}

    def improve(problem: Problem, state: State) -> State:
        q = problem.mdp.backup(state["value"])
        return {"value": q.amax(-1), "policy": ops.greedy_policy(q)}

    return Planning(start, improve, iterations=10)
