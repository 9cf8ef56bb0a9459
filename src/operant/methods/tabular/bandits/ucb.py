"""UCB1: in each context the action whose mean is the largest that it may plausibly be.

Paper: Auer, Cesa-Bianchi and Fischer 2002, figure 1: every action once, then that with the largest x̄ + √(scale · ln n / n_a), n_a being how often it was played
and n all plays, with a scale of 2. Regret after n plays is at most 8 Σ_a ln n / Δ_a + (1 + π²/3) Σ_a Δ_a (theorem 1), Δ_a being what an action lacks.

Each context is a bandit of its own, with counts of its own. An iteration is a round. The policy that is evaluated is that of the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant import ops
from operant.core.registry import NonNegative, method
from operant.loops.bandits import check_bandit, tally
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class UCB:
    scale: NonNegative = 2.0  # of the squared bonus, before the logarithm


@method("ucb", name="UCB1", family="tabular", paper="none", worlds=("tabular",), example="tabular:bandit", baseline=True)
def ucb(h: UCB) -> Planning:
    def start(problem: Problem) -> State:
        check_bandit(problem, "ucb")
        return tally(problem) | {"policy": ops.greedy_policy(problem.zeros(*problem.shape))}

    def improve(problem: Problem, state: State) -> State:
        seen = tally(problem, state, problem.play(state["policy"], 1))
        index = ops.ucb_index(seen["count"], seen["gained"] / seen["count"].clamp(min=1), scale=h.scale)
        return seen | {"policy": ops.greedy_policy(index).unsqueeze(1)}

    return Planning(start, improve, reads="episodes", iterations=100, late=True)
