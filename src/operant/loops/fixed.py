"""No training at all: a policy that the world brings, evaluated like any other, so that baselines stand in the same tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class FixedPolicy:
    """A configured baseline.

    Attributes:
        policy: `(world, seeds) → policy`, what acts.
        load: `(world, folder) → policy`, the same from where a run kept it; None where `policy` makes it again.
    """

    policy: Callable[[Any, Sequence[int]], Any]
    load: Callable[[Any, Path], Any] | None = None

    def learner(self, world, seeds: Sequence[int], total_steps: int, device: torch.device) -> FixedLearner:
        return FixedLearner(self, world, list(seeds), total_steps)


class FixedLearner:
    """A loop that has nothing to learn: its one iteration ends the run."""

    resume = "bitwise"

    def __init__(self, method: FixedPolicy, world, seeds: list[int], total_steps: int):
        self.seeds, self.total_steps, self.step = seeds, total_steps, 0
        self.failures: Path | None = None
        self.policy = method.policy(world, seeds)

    def iterate(self) -> dict[str, Tensor]:
        self.step = self.total_steps
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]

    def close(self) -> None:
        pass
