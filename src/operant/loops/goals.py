"""Relabels for observations that say what is to be reached: data hold what was reached, and any of it may have been the goal."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from operant.core.random import Streams
from operant.nets.goals import Parts
from operant.worlds.store import Store, Transitions


def _last(batch: Transitions, store: Store) -> Tensor:
    """The last transition of each one's episode, `[S, B]`."""
    return store.episodes()[1].expand(len(batch.index), -1).gather(1, batch.index)


def _parts(store: Store) -> Parts:
    return Parts(store.columns["observation"].observation)


@dataclass(frozen=True)
class HindsightGoals:
    """Relabels a transition with a goal: its own state, a state behind it in its episode, or any state of the data (arXiv:1707.01495; shares as OGBench's,
    arXiv:2410.20092, appendix).

    The reward is -1, or 0 where the goal is the state itself, which ends the episode.

    Attributes:
        current, future: shares of the first two; the others are random ones.
        gamma: a state behind it lies a geometrically distributed number of steps ahead, with a mean of 1 / (1 - gamma), at most at the end of the episode.
    """

    current: float = 0.2
    future: float = 0.5
    gamma: float = 0.99

    def __call__(self, batch: Transitions, store: Store, streams: Streams) -> Transitions:
        parts, size = _parts(store), batch.index.shape[1]
        kind, far, anywhere = (streams.uniform(f"goal/{name}", size) for name in ("kind", "steps", "random"))
        ahead = (torch.log1p(-far) / math.log(self.gamma)).long()  # transitions beyond its own
        future = store.gather(torch.minimum(batch.index + ahead, _last(batch, store))).next_observation[..., parts.state]
        place = (anywhere * store.size).long().clamp_(max=store.size - 1)
        other = store.gather(place).observation[..., parts.state]
        own = batch.observation[..., parts.state]
        current, later = (kind < self.current).unsqueeze(-1), (kind < self.current + self.future).unsqueeze(-1)
        goal = torch.where(current, own, torch.where(later, future, other))
        reached = current.squeeze(-1) | (~later.squeeze(-1) & (place == batch.index))
        return replace(
            batch,
            observation=parts.row(own, goal),
            next_observation=parts.row(batch.next_observation[..., parts.state], goal),
            reward=reached.float() - 1,
            terminated=reached,
        )


@dataclass(frozen=True)
class Subgoals:
    """Adds to a transition what two levels of a policy learn from, states `[S, B, D]` (HIQL, arXiv:2307.11949, section 4.2).

    `subgoal` lies `steps` ahead, `goal` anywhere ahead, and `way` on the way to that goal, at most `steps` ahead; none beyond the episode's end. Where `goal`
    is any state of the data, `way` is `subgoal`.

    Attributes:
        steps: k, at least 1.
        random: share of goals that are any state of the data.
    """

    steps: int
    random: float = 0.0

    def __call__(self, batch: Transitions, store: Store, streams: Streams) -> Transitions:
        parts, last, size = _parts(store), _last(batch, store), batch.index.shape[1]
        share, kind, anywhere = (streams.uniform(f"goal/{name}", size) for name in ("policy", "policy kind", "policy random"))
        goal = batch.index + (share * (last - batch.index + 1)).long()
        near = torch.minimum(batch.index + self.steps - 1, last)
        other = kind < self.random
        way = torch.where(other, near, torch.minimum(near, goal))
        goal = torch.where(other, (anywhere * store.size).long().clamp_(max=store.size - 1), goal)
        found = {name: store.gather(place).next_observation[..., parts.state] for name, place in {"subgoal": near, "goal": goal, "way": way}.items()}
        return replace(batch, extras=batch.extras | found)
