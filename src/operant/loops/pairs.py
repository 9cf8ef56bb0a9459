"""The pairs loop: objectives over `policy.replay` on data that is given, demonstrations of actions or text, and pairs of answers of which one is preferred."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from operant.core.random import Streams
from operant.loops.learner import Learner, Spine, check_batch
from operant.loops.parts import needs_of
from operant.loops.terms import Term
from operant.loops.update import Fields, Updated, Updater
from operant.nets.sharded import shard
from operant.worlds.base import Preferred, World


@dataclass(frozen=True)
class Pairs(Spine):
    """A configured supervised loop.

    Attributes:
        terms: the objective, a list of per-step terms.
        policy: how the policy network is built; None where the world brings the policy.
        batch_size: rows an update and seed; of preferences, pairs.
        micro_batch: rows that go through the policy at once where they are tokens, 0 for all. Never changes the loss.
        reduce: how steps are weighted, a kind of `ops.step_weights`.
        updates_per_iteration: updates between two looks at the metrics.
        learning_rate: Adam's; `warmup_steps` raises it linearly from 0.
    """

    goes_on = True
    splits = True

    terms: Sequence[Term]
    policy: Any = None
    batch_size: int = 256
    micro_batch: int = 0
    reduce: Literal["token-mean", "sequence-mean"] = "token-mean"
    updates_per_iteration: int = 100
    learning_rate: float = 3e-4
    warmup_steps: int = 0
    max_grad_norm: float | None = None

    from_scratch = True
    unit = "row"  # what stays together in a micro-batch

    @property
    def needs(self) -> frozenset[str]:
        return needs_of(self.terms)

    @property
    def rows(self) -> int:
        return self.batch_size

    def check(self, world: World, seeds: Sequence[int], steps: int, episodes: int | None) -> None:
        world.check_demonstrations()
        check_batch(world, len(seeds), self.batch_size, self.policy)
        super().check(world, seeds, steps, episodes)

    def learner(self, world: World, seeds: Sequence[int], total_steps: int, device: torch.device) -> PairsLearner:
        return PairsLearner(self, world, list(seeds), total_steps, device)

    def data(self, world: World, updater: Updater, streams: Streams) -> Data:
        """Where the batches of a learner come from."""
        return _Demonstrated(world.demonstrations(updater.policy, self.batch_size, streams))


@dataclass(frozen=True)
class Preferences(Pairs):
    """A configured loop on preference pairs. Its terms see the rows of a pair side by side, the preferred one in front (`loops.preference`).

    What a term may need besides the policy's numbers is "reference_log_prob": of the policy that training starts from. It is measured once, for all pairs,
    before the first update (and again when a run goes on, so that checkpoints need not hold it).
    """

    batch_size: int = 32
    reduce: Literal["token-mean", "sequence-mean"] = "sequence-mean"

    from_scratch = False
    unit = "group"

    def check(self, world: World, seeds: Sequence[int], steps: int, episodes: int | None) -> None:
        world.check_preferences(self.policy)
        check_batch(world, len(seeds), 2 * self.batch_size, None)
        Spine.check(self, world, seeds, steps, episodes)

    def data(self, world: World, updater: Updater, streams: Streams) -> Data:
        return _Pairwise(world.preferences(streams), self.batch_size, updater, streams)


class Data(Protocol):
    """What a learner draws its batches from."""

    def draw(self) -> Fields: ...

    def begin(self) -> None:
        """Called before the first update, and before a saved state is loaded: the policy is the one that training starts from."""

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> None: ...


class PairsLearner(Learner):
    """The loop at work. A step is one update."""

    def __init__(self, method: Pairs, world: World, seeds: list[int], total_steps: int, device: torch.device):
        self.method, self.world, self.seeds, self.total_steps = method, world, seeds, total_steps
        self.step = 0
        self.streams = Streams(seeds, device)
        self.policy = world.policy(method.policy, self.streams).to(device)
        shard(self.policy)
        self.updater = Updater(
            self.policy,
            method.terms,
            seeds=len(seeds),
            stacked=world.stacked,
            learning_rate=method.learning_rate,
            reduce=method.reduce,
            unit=method.unit,
            micro_batch=method.micro_batch,
            max_grad_norm=method.max_grad_norm,
        )
        self.data = method.data(world, self.updater, self.streams)

    def iterate(self) -> dict[str, Tensor]:
        method = self.method
        updates: list[Updated] = []
        batches: list[Fields] = []
        count = min(method.updates_per_iteration, self.total_steps - self.step)
        for place in range(count):
            batches.append(self.draw())
            if method.warmup_steps:
                self.updater.optimizer.learning_rate = method.learning_rate * min(1.0, (self.step + 1) / method.warmup_steps)
            updates.append(self.updater.step(batches[-1], progress=self.progress, iteration=self.step, last=place == count - 1))
            self.step += 1
        metrics = self.updater.finish(self, updates, batches.__getitem__)
        return metrics | {name: value.cpu() for name, value in updates[-1].diagnostics.items()}

    def draw(self) -> Fields:
        """The next batch."""
        self.data.begin()
        return self.data.draw()

    def probes(self) -> Mapping[str, Callable[[], object]]:
        batch = self.draw()
        return {
            "update": lambda: self.updater.step(batch, progress=0.0, iteration=0),
            "replay": lambda: list(self.updater.micro_batches(batch)),
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "streams": self.streams.state_dict(),
            "policy": dict(self.policy.state_dict()),
            "optimizer": self.updater.optimizer.state_dict(),
            "data": self.data.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.data.begin()
        self.step = state["step"]
        self.streams.load_state_dict(state["streams"])
        self.policy.load_state_dict(state["policy"])
        self.updater.optimizer.load_state_dict(state["optimizer"])
        self.data.load_state_dict(state["data"])


class _Demonstrated:
    """Batches of what a good policy did."""

    def __init__(self, demonstrations: Any):
        self.demonstrations = demonstrations

    def begin(self) -> None:
        """Nothing is measured."""

    def draw(self) -> Fields:
        inputs, action, mask = self.demonstrations.draw()
        return {f"inputs.{name}": x for name, x in inputs.items()} | {"action": action, "mask": mask}

    def state_dict(self) -> dict:
        return self.demonstrations.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.demonstrations.load_state_dict(state)


MEASURED = 32  # pairs that the reference reads at a time


class _Pairwise:
    """Batches of preference pairs: every pair once in an order of its own for each passage and seed, before any comes again.

    Args:
        pairs: all of them.
        size: pairs a batch and seed.
        updater: whose policy is the reference as long as nothing was learned.
    """

    def __init__(self, pairs: Preferred, size: int, updater: Updater, streams: Streams):
        self._pairs, self._size, self._updater, self._streams = pairs, size, updater, streams
        self._measures = "reference_log_prob" in updater.needs
        self._reference: Tensor | None = None  # [S, 2 pairs, T]
        self._order: Tensor | None = None  # [S, pairs]
        self._place = 0

    @torch.no_grad()
    def begin(self) -> None:
        if not self._measures or self._reference is not None:
            return
        parts = []
        for index in torch.arange(self._pairs.size, device=self._streams.device).split(MEASURED):
            rows = self._pairs.rows(index.expand(len(self._streams.seeds), -1))
            parts.append(self._updater.policy.replay(rows.inputs, rows.action)["log_prob"])
        longest = max(part.shape[-1] for part in parts)
        self._reference = torch.cat([torch.nn.functional.pad(part, (0, longest - part.shape[-1])) for part in parts], 1)

    def draw(self) -> Fields:
        index = torch.cat([self._next() for _ in range(self._size)], 1)
        rows = self._pairs.rows(index)
        fields = {f"inputs.{name}": x for name, x in rows.inputs.items()} | {"action": rows.action, "mask": rows.mask}
        fields["group"] = torch.arange(self._size, device=index.device).repeat_interleave(2).expand(len(index), -1)
        if self._measures:
            row = torch.stack([2 * index, 2 * index + 1], -1).flatten(1)
            fields["reference_log_prob"] = self._reference[torch.arange(len(row), device=row.device).unsqueeze(1), row, : rows.mask.shape[-1]]
        return fields

    def _next(self) -> Tensor:
        """The next pair of each seed, `[S, 1]`."""
        if self._order is None or self._place == self._pairs.size:
            self._order, self._place = self._streams.permutations("pairs", self._pairs.size), 0
        self._place += 1
        return self._order[:, self._place - 1 : self._place]

    def state_dict(self) -> dict:
        return {"order": self._order, "place": self._place}

    def load_state_dict(self, state: dict) -> None:
        self._order, self._place = state["order"], state["place"]
