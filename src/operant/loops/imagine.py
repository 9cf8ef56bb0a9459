"""What a learned model imagines: short rollouts from replayed states, kept in a store of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from operant.core.random import Streams
from operant.loops.draw import Uniform
from operant.worlds.store import Store, Transitions

if TYPE_CHECKING:
    from operant.loops.value_learning import Update

IMAGINED = "imagined"


@dataclass(frozen=True)
class Imagine:
    """Rollouts of a model, branched from replayed states (MBPO, arXiv:1906.08253, section 4), into the store "imagined".

    Attributes:
        step: `(update, observation [S, N, D]) → {"action", "next_observation", "reward", "terminated"}`, what the policy does and the model answers.
        rows: rollouts a seed that are branched at a time, N.
        every: updates between two such times.
        starts: the update of the first.
        length: steps of a rollout: (at first, in the end, the share of training where it begins to grow, and where it has grown), linear between.
        capacity: transitions kept a seed.
    """

    step: Callable[[Update, Tensor], Mapping[str, Tensor]]
    rows: int = 400
    every: int = 250
    starts: int = 1
    length: tuple[int, int, float, float] = (1, 1, 0.0, 1.0)
    capacity: int = 400_000

    def steps(self, progress: float) -> int:
        """Steps of a rollout once this share of training is done."""
        first, last, begin, end = self.length
        share = min(max((progress - begin) / (end - begin), 0.0), 1.0) if end > begin else float(progress >= begin)
        return int(first + share * (last - first))


class Imagination:
    """`Imagine` at work; it adds its store to the others."""

    def __init__(self, how: Imagine, stores: dict[str, Store], streams: Streams):
        self.how, replay = how, stores["replay"]
        self.store = stores[IMAGINED] = Store(replay.stores, how.capacity, replay.columns, lanes=how.rows, device=replay.rows.device)
        self._drawer = Uniform(how.rows, "replay").bind(stores, streams, "imagine", ())

    def due(self, update: int) -> bool:
        return update >= self.how.starts and (update - self.how.starts) % self.how.every == 0

    @torch.no_grad()
    def run(self, update_of: Callable[[Transitions], Update], progress: float) -> None:
        """Branch off replayed states. A rollout that ends on its way goes on from another replayed state. No host read happens here."""
        batch = self._drawer.draw()
        steps = self.how.steps(progress)
        for step in range(steps):
            found = dict(self.how.step(update_of(batch), batch.observation))
            over = found["terminated"]
            found["truncated"] = torch.full_like(over, step == steps - 1) & ~over
            self.store.append({"observation": batch.observation} | found)
            if step < steps - 1:
                batch = self._drawer.draw()
                batch.observation = torch.where(over.unsqueeze(-1), batch.observation, found["next_observation"])

    def state_dict(self) -> dict[str, Any]:
        return self.store.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.store.load_state_dict(state)
