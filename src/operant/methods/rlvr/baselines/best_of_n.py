"""Best of n: the base policy answers n times and the verifier picks; what any training must beat at equal samples.

No weights change. With a perfect verifier this is pass@n of the policy that training starts from: a bound on what sampling more can do, not a method to deploy.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant.core.random import Streams
from operant.core.registry import Count, method
from operant.loops.fixed import FixedPolicy


@dataclass(frozen=True)
class BestOfN:
    n: Count = 16  # answers a problem


@method("best-of-n", name="Best of n", family="rlvr", paper="none", worlds=("text",), baseline=True)
def best_of_n(h: BestOfN) -> FixedPolicy:
    return FixedPolicy(
        policy=lambda world, seeds: world.decoded_policy(world.policy(None, Streams(seeds)), "best-of-n", h.n),
        load=lambda world, folder: world.decoded_policy(world.load_policy(folder), "best-of-n", h.n),
    )
