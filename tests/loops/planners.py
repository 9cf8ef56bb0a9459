"""Planners that tests run to a step."""

from __future__ import annotations

import torch

from operant.core.registry import configure, get_method
from operant.loops.planning import Planner
from operant.worlds.base import World


def learner(key: str, world: World, steps: int, seeds: tuple[int, ...] = (100, 101), **hyper: object) -> Planner:
    """One of a method that has taken so many steps: rounds, episodes or iterations."""
    found = get_method(key).build(configure(key, hyper)).learner(world, list(seeds), steps, torch.device("cpu"))
    while found.step < steps:
        found.iterate()
    return found
