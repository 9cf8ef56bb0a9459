"""Fictitious play: each player plays what is best against the average of all that the other has played.

Papers: Brown 1951; that the averages of zero-sum games approach an equilibrium: Robinson 1951, at a rate that is proved to be T^(-1 / (m + n - 2)) and at least
as slow as T^(-1/2) in the worst case; for extensive games: Heinrich, Lanctot and Silver 2015, section 3, whose averages are those of realization plans, as
here. Both players move at once, begin with a best response to uniform play, and take the first of several best actions (a margin keeps rounding from choosing
among equals). The policy that is evaluated is the average.

In general-sum games it need not converge (Shapley 1964); it does in games of two actions each without ties (Miyasawa 1961; Monderer and Sela 1996 have one with
ties where it does not), and where interests are common.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant.core.registry import method
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class FictitiousPlay:
    pass


@method("fictitious-play", name="Fictitious play", family="tabular", paper="Brown 1951", worlds=("tabular",), example="tabular:random-zero-sum", baseline=True)
def fictitious_play(h: FictitiousPlay) -> Planning:
    def start(problem: Problem) -> State:
        problem.game.check_unregularized(problem.task, "fictitious-play")
        return {"plan": problem.game.plan(problem.uniform()), "policy": problem.uniform()}

    def improve(problem: Problem, state: State) -> State:
        game = problem.game
        response, _ = game.best_response(state["plan"])
        plan = state["plan"] + (game.plan(response) - state["plan"]) / (problem.step + 1)
        return {"plan": plan, "policy": game.policy(plan)}

    return Planning(start, improve, reads="game", iterations=10)
