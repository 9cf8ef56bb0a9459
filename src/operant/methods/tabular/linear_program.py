"""Linear programming: the optimal policy as the occupancy that earns most, on an MDP that is known.

Source: d'Epenoux 1963; Puterman 1994, section 6.9 (the dual program): of all d(s, a) ≥ 0 whose flow is kept, Σ_a d(s', a) = (1 - discount) initial(s') +
discount · Σ_{s, a} P(s'|s, a) d(s, a), that with the largest Σ d(s, a) r(s, a); the policy is d(s, a) / Σ_a d(s, a). With a horizon there is a d of each
step, which flows into the next one's. HiGHS solves it, through SciPy (pip install 'operant[tabular]'), one instance after the other and on the CPU.

The first iteration does all; those behind it change nothing. Puterman starts everywhere; here the program starts where the MDP does, so that d is the
occupancy of the optimum: where it never comes the program says nothing, and the policy is uniform.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from operant.core.registry import method
from operant.loops.planning import Planning, Problem, State
from operant.worlds.tabular.linear_program import check_program, optimal_occupancy


@dataclass(frozen=True)
class LinearProgram:
    pass


@method("linear-program", name="Linear program", family="tabular", paper="none", worlds=("tabular",), baseline=True)
def linear_program(h: LinearProgram) -> Planning:
    def start(problem: Problem) -> State:
        check_program(problem.mdp)
        return {"occupancy": problem.zeros(*problem.shape), "policy": problem.uniform()}

    def improve(problem: Problem, state: State) -> State:
        if problem.step:
            return state
        occupancy = optimal_occupancy(problem.mdp).expand_as(state["policy"])
        visits = occupancy.sum(-1, keepdim=True)
        return {"occupancy": occupancy.clone(), "policy": torch.where(visits > 0, occupancy / visits, problem.uniform())}

    return Planning(start, improve)
