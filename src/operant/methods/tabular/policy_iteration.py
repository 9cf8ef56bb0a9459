"""Policy iteration: the policy's values exactly, then the better action wherever there is one, on an MDP that is known.

Source: Howard 1960; Puterman 1994, section 6.4: V = r_π + discount · P_π V is solved as it stands, and π'(s) is an action of the largest r(s, a) + discount ·
Σ_s' P(s'|s, a) V(s') where that is above V(s). Each policy is at least as good as the one before in every state, so that the last one, which none is better
than, comes after O(K A / (1 - discount) log 1 / (1 - discount)) iterations at most (Scherrer 2013, arXiv:1306.0386), few as a rule. It begins with uniform
choice. With a horizon the values are those of every step, and a step is settled once all behind it are.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant import ops
from operant.core.registry import method
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class PolicyIteration:
    pass


@method("policy-iteration", name="Policy iteration", family="tabular", paper="none", worlds=("tabular",), baseline=True)
def policy_iteration(h: PolicyIteration) -> Planning:
    def start(problem: Problem) -> State:
        return {"value": problem.zeros(*problem.shape[:-1]), "policy": problem.uniform()}

    def improve(problem: Problem, state: State) -> State:
        value = problem.mdp.value(state["policy"])
        return {"value": value, "policy": ops.improved_policy(problem.mdp.backup(value), state["policy"])[0]}

    return Planning(start, improve)
