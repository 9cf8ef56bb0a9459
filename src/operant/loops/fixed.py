"""No training at all: a policy that the world brings, evaluated like any other, so that baselines stand in the same tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from operant.loops.learner import Learner, Spine
from operant.worlds.base import World


@dataclass(frozen=True)
class FixedPolicy(Spine):
    """A configured baseline.

    Attributes:
        policy: `(world, seeds) → policy`, what acts.
        load: `(world, folder) → policy`, the same from where a run kept it; None where `policy` makes it again.
    """

    draws_answers = True  # a budget of answers is met by none

    policy: Callable[[World, Sequence[int]], Any]
    load: Callable[[World, Path], Any] | None = None

    def learner(self, world: World, seeds: Sequence[int], total_steps: int, device: torch.device) -> FixedLearner:
        return FixedLearner(self, world, list(seeds), total_steps)


class FixedLearner(Learner):
    """A loop that has nothing to learn: its one iteration ends the run."""

    trains = False

    def __init__(self, method: FixedPolicy, world: World, seeds: list[int], total_steps: int):
        self.seeds, self.total_steps, self.step = seeds, total_steps, 0
        self.policy = method.policy(world, seeds)

    def iterate(self) -> dict[str, Tensor]:
        self.step = self.total_steps
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
