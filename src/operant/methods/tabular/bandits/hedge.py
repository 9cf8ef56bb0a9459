"""Hedge: exponential weights where every round shows what each action would have gained (full information).

Papers: Freund and Schapire 1997, figure 1: p(a) ∝ β^(loss of a); as Cesa-Bianchi and Lugosi 2006 have it, p(a) ∝ exp(η_t G(a)), G being the sum of all gains so
far. With η_t = √(8 ln A / t), t being the number of the round, regret against the best action in hindsight is at most √(T / 2 · ln A) times 2, and √(ln A / 8)
more, whatever the gains in [0, 1] are (theorem 2.3).

Each context is a bandit of its own, and a round shows the rewards of all of them. It needs rewards that rounds have (`tabular:adversarial-bandit`). An
iteration is a round. The policy that is evaluated is that of the next one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from operant import ops
from operant.core.registry import Range, method
from operant.loops.bandits import check_bandit
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class Hedge:
    rate: Annotated[float | None, Range(0, open_low=True)] = None  # η; none: √(8 ln A / t) at round t


@method("hedge", name="Hedge", family="tabular", paper="none", worlds=("tabular",), example="tabular:adversarial-bandit", baseline=True)
def hedge(h: Hedge) -> Planning:
    def start(problem: Problem) -> State:
        check_bandit(problem, "hedge")
        problem.check_rounds("hedge")
        return {"gain": problem.zeros(*problem.shape), "policy": problem.uniform()}

    def improve(problem: Problem, state: State) -> State:
        problem.play(state["policy"], 1)
        gain = state["gain"] + problem.revealed
        rate = math.sqrt(8 * math.log(problem.shape[-1]) / (problem.step + 2)) if h.rate is None else h.rate
        return {"gain": gain, "policy": ops.exponential_weights(gain, rate)}

    return Planning(start, improve, reads="episodes", iterations=100)
