"""Fictitious play: it comes to equilibria of zero-sum games, and of a game of Shapley's it does not."""

from __future__ import annotations

from pathlib import Path

import torch

from operant.core.random import Streams
from operant.evidence import Finding, check
from operant.evidence.tabular.bandits.beds import interval
from operant.evidence.tabular.game_beds import after, played
from operant.worlds import make_world
from operant.worlds.tabular.game_world import GameWorld
from operant.worlds.tabular.games import FiniteGame

ITERATIONS, GAMES = 10_000, 20


@check(
    "fictitious-play",
    "zero-sum",
    "small",
    "on 20 random zero-sum games of 10 actions, over the last factor of a hundred of 10,000 iterations, exploitability falls with a mean exponent of at most "
    "-0.4 and at least -0.6, and in the end the worst cases of both players hold the value of the program between them, within 0.01",
)
def zero_sum(folder: Path) -> Finding:
    world = make_world("tabular:random-zero-sum")
    learner = after("fictitious-play", world, ITERATIONS, GAMES)
    game, policy = world.game(Streams(range(GAMES))), learner.policy.probabilities
    exponent = interval(learner.problem.exploitability.exponent().numpy())
    short = game.equilibrium[1] - game.worst_case(policy)
    holds = -0.6 <= exponent[0] <= -0.4 and 0 <= short.min().item() + 1e-9 and short.max().item() <= 0.01
    return Finding(holds, {"exponent": exponent, "short of the value": [short.min().item(), short.max().item()], "at most": 0.01}, GAMES)


@check(
    "fictitious-play",
    "shapley",
    "small",
    "on Shapley's game of three actions, whose only equilibrium is uniform, the averages are exploitable by at least 0.05 after every one of the iterations "
    "1,000 to 10,000",
    theorem="fictitious play need not converge in general-sum games (Shapley 1964)",
)
def shapley(folder: Path) -> Finding:
    first = torch.eye(3, dtype=torch.float64)
    world = GameWorld(FiniteGame.matrix(torch.stack([first, first.roll(1, 1)])[None]))
    game = world.game(Streams([0]))
    found = [game.exploitability(each.state["policy"]).item() for each in played("fictitious-play", world, ITERATIONS) if each.step >= 1_000]
    return Finding(min(found) >= 0.05, {"smallest": min(found), "largest": max(found), "at least": 0.05})
