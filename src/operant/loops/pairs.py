"""The pairs loop: supervised objectives over `policy.replay`, on demonstrations of actions or of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from operant.core.random import Streams
from operant.loops.learner import Learner, Spine, check_batch
from operant.loops.terms import Term
from operant.loops.update import Fields, Updated, Updater
from operant.worlds.base import World


@dataclass(frozen=True)
class Pairs(Spine):
    """A configured supervised loop.

    Attributes:
        terms: the objective, a list of per-step terms.
        policy: how the policy network is built; None where the world brings the policy.
        batch_size: rows an update and seed.
        reduce: how steps are weighted, a kind of `ops.step_weights`.
        updates_per_iteration: updates between two looks at the metrics.
        learning_rate: Adam's; `warmup_steps` raises it linearly from 0.
    """

    terms: Sequence[Term]
    policy: Any = None
    batch_size: int = 256
    reduce: Literal["token-mean", "sequence-mean"] = "token-mean"
    updates_per_iteration: int = 100
    learning_rate: float = 3e-4
    warmup_steps: int = 0
    max_grad_norm: float | None = None

    from_scratch = True

    def check(self, world: World, seeds: Sequence[int], steps: int, episodes: int | None) -> None:
        world.check_demonstrations()
        check_batch(world, len(seeds), self.batch_size, self.policy)
        super().check(world, seeds, steps, episodes)

    def learner(self, world: World, seeds: Sequence[int], total_steps: int, device: torch.device) -> PairsLearner:
        return PairsLearner(self, world, list(seeds), total_steps, device)


class PairsLearner(Learner):
    """The loop at work. A step is one update."""

    def __init__(self, method: Pairs, world: World, seeds: list[int], total_steps: int, device: torch.device):
        self.method, self.world, self.seeds, self.total_steps = method, world, seeds, total_steps
        self.step = 0
        self.streams = Streams(seeds, device)
        self.policy = world.policy(method.policy, self.streams).to(device)
        self.updater = Updater(
            self.policy,
            method.terms,
            seeds=len(seeds),
            stacked=world.stacked,
            learning_rate=method.learning_rate,
            reduce=method.reduce,
            max_grad_norm=method.max_grad_norm,
        )
        self.demonstrations = world.demonstrations(self.policy, method.batch_size, self.streams)

    def iterate(self) -> dict[str, Tensor]:
        method = self.method
        updates: list[Updated] = []
        batches: list[Fields] = []
        for _ in range(min(method.updates_per_iteration, self.total_steps - self.step)):
            batches.append(self.draw())
            if method.warmup_steps:
                self.updater.optimizer.learning_rate = method.learning_rate * min(1.0, (self.step + 1) / method.warmup_steps)
            updates.append(self.updater.step(batches[-1], progress=self.step / self.total_steps, iteration=self.step))
            self.step += 1
        return self.updater.finish(self, updates, batches.__getitem__)

    def draw(self) -> Fields:
        """The next batch."""
        inputs, action, mask = self.demonstrations.draw()
        return {f"inputs.{name}": x for name, x in inputs.items()} | {"action": action, "mask": mask}

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "streams": self.streams.state_dict(),
            "policy": dict(self.policy.state_dict()),
            "optimizer": self.updater.optimizer.state_dict(),
            "demonstrations": self.demonstrations.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.streams.load_state_dict(state["streams"])
        self.policy.load_state_dict(state["policy"])
        self.updater.optimizer.load_state_dict(state["optimizer"])
        self.demonstrations.load_state_dict(state["demonstrations"])
