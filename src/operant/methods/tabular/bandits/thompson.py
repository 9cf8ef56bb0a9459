"""Thompson sampling: in each context the action that is best in a draw of what one may believe of the means.

Papers: Thompson 1933; Agrawal and Goyal 2012, arXiv:1111.1797, algorithm 1: of an action's mean the posterior is Beta(1 + successes, 1 + failures), and the
action with the largest draw is played. It has no constant to be chosen.

Departure: a reward between 0 and 1 counts as a part of a success and of a failure, where the paper tosses a coin for it.
Each context is a bandit of its own. An iteration is a round. The policy that is evaluated is that of the next one, a draw too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from operant import ops
from operant.core.registry import method
from operant.loops.bandits import check_bandit, tally
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class Thompson:
    pass


@method("thompson", name="Thompson sampling", family="tabular", paper="arXiv:1111.1797", worlds=("tabular",), example="tabular:bandit", baseline=True)
def thompson(h: Thompson) -> Planning:
    def drawn(problem: Problem, seen: State) -> State:
        success = seen["gained"]
        share = problem.gamma("means", 1 + torch.stack([success, seen["count"] - success], -1))
        return seen | {"policy": ops.greedy_policy(share[..., 0] / share.sum(-1)).unsqueeze(1)}

    def start(problem: Problem) -> State:
        check_bandit(problem, "thompson")
        return drawn(problem, tally(problem))

    def improve(problem: Problem, state: State) -> State:
        return drawn(problem, tally(problem, state, problem.play(state["policy"], 1)))

    return Planning(start, improve, reads="episodes", iterations=100, late=True)
