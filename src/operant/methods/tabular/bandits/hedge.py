"""Hedge: exponential weights where every round shows what each action would have gained (full information).

Papers: Freund and Schapire 1997, figure 1: p(a) ∝ β^(loss of a); as Cesa-Bianchi and Lugosi 2006 have it, p(a) ∝ exp(η_t G(a)), G being the sum of all gains so
far. With η_t = √(8 ln A / t), t being the number of the round, regret against the best action in hindsight is at most √(T / 2 · ln A) times 2, and √(ln A / 8)
more, whatever the gains in [0, 1] are (theorem 2.3).

Each context is a bandit of its own, and a round shows the rewards of all of them. It needs rewards that rounds have (`tabular:adversarial-bandit`). An
iteration is a round. The policy that is evaluated is that of the next one.

In a matrix game both players are one, who play each other: a round shows what each action would have been paid against the other's policy, as a share of the
range of payoffs. Since each has little regret, the averages of what they played are nearly an equilibrium of a zero-sum game (Freund and Schapire 1999), and
the average is what is evaluated. On preferences this is the exact half of SPO (arXiv:2401.04056): since the game is symmetric, one learner that plays itself
does what two would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch

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
        if problem.in_game:
            problem.game.check_matrix(problem.task, "hedge")
            problem.game.check_unregularized(problem.task, "hedge")
            return {"gain": problem.zeros(*problem.shape), "playing": problem.uniform(), "policy": problem.uniform()}
        check_bandit(problem, "hedge")
        problem.check_rounds("hedge")
        return {"gain": problem.zeros(*problem.shape), "policy": problem.uniform()}

    def improve(problem: Problem, state: State) -> State:
        rate = math.sqrt(8 * math.log(problem.shape[-1]) / (problem.step + 2)) if h.rate is None else h.rate
        if problem.in_game:
            game, playing = problem.game, state["playing"]
            gain = state["gain"] + game.shares(playing)
            mean = state["policy"] + (playing - state["policy"]) / (problem.step + 1)
            return {"gain": gain, "playing": ops.exponential_weights(gain.masked_fill(~game.available, -torch.inf), rate), "policy": mean}
        problem.play(state["policy"], 1)
        gain = state["gain"] + problem.revealed
        return {"gain": gain, "policy": ops.exponential_weights(gain, rate)}

    return Planning(start, improve, reads="episodes", games=True, iterations=100)
