"""What the claims of methods that play games share: runs that are looked at after every iteration, and random games."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.loops.planning import Planner
from operant.worlds import make_world
from operant.worlds.tabular.game_world import GameWorld
from operant.worlds.tabular.games import FiniteGame

F64 = torch.float64


def played(key: str, world: GameWorld, iterations: int, seeds: int = 1, first: int = 0, **hyper: object) -> Iterator[Planner]:
    """A learner, after each of its iterations, of the seeds from `first` on."""
    spine = replace(get_method(key).build(configure(key, hyper)), iterations=1)
    learner = spine.learner(world, list(range(first, first + seeds)), iterations, torch.device("cpu"))
    while learner.step < iterations:
        learner.iterate()
        yield learner


def after(key: str, world: GameWorld, iterations: int, seeds: int = 1, first: int = 0, **hyper: object) -> Planner:
    """A learner after its last iteration."""
    *_, learner = played(key, world, iterations, seeds, first, **hyper)
    return learner


def random_kuhn(count: int) -> GameWorld:
    """The tree of Kuhn poker, whose ends pay the first player uniform draws in [-1, 1] and the second the opposite: so many games."""
    game = make_world("tabular:kuhn-poker").game(Streams([0]))
    pays = 2 * torch.rand(count, *game.payoff.shape[2:], generator=torch.Generator().manual_seed(0), dtype=F64) - 1
    wins = torch.where(game.payoff[:, 0] != 0, pays / 6, 0.0)  # a pair of sequences ends one history, of one of six deals
    return GameWorld(replace(game, payoff=torch.stack([wins, -wins], 1)))


def random_matrices(count: int, actions: int, *, zero_sum: bool) -> GameWorld:
    """Payoffs are uniform draws in [-1, 1]: so many matrix games."""
    pays = 2 * torch.rand(count, 2, actions, actions, generator=torch.Generator().manual_seed(1), dtype=F64) - 1
    return GameWorld(FiniteGame.matrix(torch.stack([pays[:, 0], -pays[:, 0]], 1) if zero_sum else pays))
