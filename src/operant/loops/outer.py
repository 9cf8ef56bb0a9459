"""The outer loop: curricula, populations and archives around a loop of any other kind, which it holds and does not copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant.core.errors import BadInput
from operant.core.memory import TRAINED, check_memory
from operant.core.random import Streams
from operant.core.seeds import derive_seed
from operant.loops.learner import Learner, Spine
from operant.worlds.base import World


class Outside:
    """What stands around an inner loop: it says what the members do next, and judges what they did. Its state is the outer loop's, and so are its draws.

    Seeds are the outer loop's S; the inner loop's seed axis has S · M members, those of a seed side by side.

    Attributes:
        learner: what learns outside, from what the members do; None where nothing does.
    """

    learner: Learner | None = None

    def before(self, inner: Learner) -> None:
        """Before each iteration of the inner loop: assign levels, weights, opponents."""

    def after(self, inner: Learner) -> dict[str, Tensor]:
        """After it: judge what came of it, and keep what is to be kept. Metrics by name, `[S]` each, on the CPU."""
        return {}

    def policy(self, inner: Learner) -> Any:
        """What is evaluated and kept, for all S seeds: one object for the whole of a run."""
        return inner.policy

    def measures(self) -> dict[str, np.ndarray]:
        """What stands beside the score of an evaluation, `[S]` by name."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


@dataclass(frozen=True)
class Outer(Spine):
    """A configured outer loop.

    Attributes:
        inner: the loop that the members train in, or play in.
        outside: `(world, streams) → Outside`. Raises `BadInput` for a world that it is not for.
        members: M, of each seed; they ride on the inner loop's seed axis. A single member has its seed, and trains as it would alone.
        evaluated: how the policy is built that is evaluated and kept; None for the inner loop's.
        within: `(world, seeds, steps) → world`, the task in which the members train for so many steps a seed, where that is not quite the one in which they are
            evaluated. Raises `BadInput` for a world that it is not for.
    """

    inner: Spine
    outside: Callable[[World, Streams], Outside]
    members: int = 1
    evaluated: Any = None
    within: Callable[[World, Sequence[int], int], World] | None = None

    @property
    def policy(self) -> Any:
        return self.inner.policy if self.evaluated is None else self.evaluated

    @property
    def needs(self) -> frozenset[str]:
        return self.inner.needs

    @property
    def prompts(self) -> int:
        return self.inner.prompts

    @property
    def rows(self) -> int:
        return self.members * self.inner.rows

    @property
    def trained(self) -> Any:
        return self.inner.trained if self.evaluated is None else self.evaluated

    def with_policy(self, net: Any) -> Outer:
        return replace(self, inner=self.inner.with_policy(net))

    def member_seeds(self, seeds: Sequence[int]) -> list[int]:
        """The root seed of each member, seed-major."""
        return list(seeds) if self.members == 1 else [derive_seed(seed, "member", place) for seed in seeds for place in range(self.members)]

    def check(self, world: World, seeds: Sequence[int], steps: int, episodes: int | None) -> None:
        if self.members > 1 and not world.stacked:
            raise BadInput(f"{world.task}: {self.members} members train together, and seeds of this task do not")
        self.inner.check(world, self.member_seeds(seeds), max(1, steps // self.members), episodes)
        parameters = sum(p.numel() for p in world.policy(self.inner.policy, Streams(seeds[:1])).parameters())
        what = f"{self.members:,} members of {len(seeds):,} seeds with {parameters:,} parameters"
        check_memory(what, TRAINED * self.members * len(seeds) * parameters, "take fewer members or seeds, or narrower layers")
        self.outside(world, Streams(seeds))
        self.training(world, seeds, steps)

    def training(self, world: World, seeds: Sequence[int], steps: int) -> World:
        """Where the members train."""
        return world if self.within is None else self.within(world, seeds, steps)

    def learner(self, world: World, seeds: Sequence[int], total_steps: int, device: torch.device) -> OuterLearner:
        return OuterLearner(self, world, list(seeds), total_steps, device)


class OuterLearner(Learner):
    """The loop at work. A step is a step of any of the seed's members; logs what the inner loop does, as means over the members."""

    def __init__(self, method: Outer, world: World, seeds: list[int], total_steps: int, device: torch.device):
        self.method, self.world, self.seeds, self.total_steps = method, world, seeds, total_steps
        self.streams = Streams(seeds, device)
        there = method.training(world, seeds, total_steps)
        self.inner = method.inner.learner(there, method.member_seeds(seeds), max(1, total_steps // method.members), device)
        self.outside = method.outside(world, self.streams)
        self.policy = self.outside.policy(self.inner)
        self.stride, self.source, self.spent = self.inner.stride * method.members, self.inner.source, self.inner.spent

    @property
    def resume(self) -> str:
        return self.inner.resume

    @property
    def step(self) -> int:
        return self.inner.step * self.method.members

    def iterate(self) -> dict[str, Tensor]:
        self.inner.limit, self.inner.seconds, self.inner.failures = self.limit, self.seconds, self.failures
        self.outside.before(self.inner)
        metrics = {name: value.double().view(len(self.seeds), -1).nanmean(1) for name, value in self.inner.iterate().items()}
        self.rollout, self.collecting = self.inner.rollout, self.inner.collecting
        return metrics | self.outside.after(self.inner)

    def measures(self) -> dict[str, np.ndarray]:
        return self.outside.measures()

    def probes(self) -> Mapping[str, Callable[[], object]]:
        return {} if self.outside.learner is None else self.outside.learner.probes()

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "streams": self.streams.state_dict(), "inner": self.inner.state_dict(), "outside": self.outside.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.streams.load_state_dict(state["streams"])
        self.inner.load_state_dict(state["inner"])
        if self.step != state["step"]:
            raise ValueError(f"the inner loop is at step {self.step} of each seed, the outer one at {state['step']}")
        self.outside.load_state_dict(state["outside"])

    def close(self) -> None:
        self.inner.close()
