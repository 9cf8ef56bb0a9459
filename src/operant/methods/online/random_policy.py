"""Uniformly random actions: the baseline below which nothing has been learnt."""

from __future__ import annotations

from dataclasses import dataclass

from operant.core.registry import method
from operant.loops.fixed import FixedPolicy


@dataclass(frozen=True)
class Random:
    pass


@method("random", name="Random actions", family="online", paper="none", worlds=("gym", "data", "agents"), baseline=True)
def random(h: Random) -> FixedPolicy:
    return FixedPolicy(policy=lambda world, seeds: world.random_policy(seeds))
