"""Majority vote: the base policy answers n times and the most frequent answer counts; no verifier, no training.

Wang et al. 2022, arXiv:2203.11171 (self-consistency). Answers are compared in the task's canonical form; of equally frequent ones the first counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant.core.random import Streams
from operant.core.registry import Count, method
from operant.loops.fixed import FixedPolicy


@dataclass(frozen=True)
class Majority:
    n: Count = 16  # answers a problem


@method("majority", name="Majority vote", family="rlvr", paper="arXiv:2203.11171", worlds=("text",), baseline=True)
def majority(h: Majority) -> FixedPolicy:
    return FixedPolicy(
        policy=lambda world, seeds: world.decoded_policy(world.policy(None, Streams(seeds)), "majority", h.n),
        load=lambda world, folder: world.decoded_policy(world.load_policy(folder), "majority", h.n),
    )
