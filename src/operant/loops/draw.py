"""Which transitions an update sees: a draw is said once by the method, and at work it is bound to the stores, with its own state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from operant.core.errors import BadInput
from operant.core.memory import check_memory
from operant.core.random import Streams
from operant.worlds.store import Store, Transitions

Relabel = Callable[[Transitions, Store, Streams], Transitions]  # a batch as it is learned from; draws come from the streams by a name of its own


class Draw(Protocol):
    """How batches are drawn.

    Attributes:
        size: transitions of a seed in one batch.
    """

    @property
    def size(self) -> int: ...

    def bind(self, stores: Mapping[str, Store], streams: Streams, name: str, relabel: Sequence[Relabel]) -> Drawer:
        """The draw at work.

        Args:
            stores: by name: "replay" (experience of the policy), "data" (a data set), and those that a method makes.
            name: of its random stream.
            relabel: what a batch goes through, in order.
        """


class Drawer:
    """A draw at work."""

    def draw(self) -> Transitions:
        """The next batch, relabelled. No host read happens here."""
        raise NotImplementedError

    def recall(self, index: Tensor) -> Transitions:
        """The transitions of a batch that was drawn, `index [S, B]`, as they are stored."""
        raise NotImplementedError

    def prioritize(self, batch: Transitions, priority: Tensor) -> None:
        """Hear how much is to be learned from each transition of a batch, `[S, B]`, 0 or more."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


@dataclass(frozen=True)
class Uniform:
    """Every transition of a store alike, with replacement.

    Attributes:
        store: its name; None for the only one.
    """

    size: int = 256
    store: str | None = None

    def bind(self, stores: Mapping[str, Store], streams: Streams, name: str, relabel: Sequence[Relabel]) -> Drawer:
        return _UniformDrawer(_store(stores, self.store), streams, name, self.size, relabel)


@dataclass(frozen=True)
class Windows:
    """Stretches of episodes, for nets that remember: `windows` of them, each of `burn_in + length` places, side by side in one batch `[S, windows · W]`.

    Each holds a transition that is drawn uniformly, at a place of its last `length` that is drawn uniformly too, so that the ends of episodes have their share.
    A transition counts where it exists, and where as many as `burn_in` (R2D2, Kapturowski et al. 2019, section 3) or the whole episode before it are in the
    window; the others have the weight 0.

    Attributes:
        windows: of a seed in one batch.
        length: places that are learned from.
        burn_in: places before them, of which a memory takes in what it can.
    """

    windows: int
    length: int
    burn_in: int = 0
    store: str | None = None

    @property
    def width(self) -> int:
        """Places of a window, W."""
        return self.burn_in + self.length

    @property
    def size(self) -> int:
        return self.windows * self.width

    def bind(self, stores: Mapping[str, Store], streams: Streams, name: str, relabel: Sequence[Relabel]) -> Drawer:
        return _WindowsDrawer(_store(stores, self.store), streams, name, self, relabel)

    def unrolled(self, batch: Transitions) -> tuple[Tensor, Tensor]:
        """Of a batch of this draw: (all observations of each window, the last one behind its last transition, `[S, N, W + 1, D]`; where a memory is emptied
        before one, `[S, N, W + 1]`)."""
        seeds, shape = len(batch.reward), (self.windows, self.width)
        over = batch.extras["over"].view(seeds, *shape, 1)
        seen, following = batch.observation.unflatten(1, shape), batch.next_observation.unflatten(1, shape)
        seen = torch.cat([torch.where(over, following, seen), following[:, :, -1:]], 2)
        begins = batch.extras["begins"].view(seeds, *shape)
        return seen, torch.cat([begins, torch.zeros_like(begins[:, :, :1])], 2)


@dataclass(frozen=True)
class Mixed:
    """Batches that are put together from several draws, their transitions side by side in this order."""

    parts: tuple[Draw, ...]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    def bind(self, stores: Mapping[str, Store], streams: Streams, name: str, relabel: Sequence[Relabel]) -> Drawer:
        parts = [part.bind(stores, streams, f"{name}/{place}", relabel) for place, part in enumerate(self.parts)]
        return _MixedDrawer(parts, [part.size for part in self.parts])


def symmetric(size: int) -> Mixed:
    """Symmetric sampling (RLPD, arXiv:2302.02948, section 4.1): half of a batch from replay, and behind it half, rounded up, from a data set."""
    return Mixed((Uniform(max(1, size // 2), store="replay"), Uniform(size - size // 2, store="data")))


@dataclass(frozen=True)
class Prioritized:
    """Transitions in proportion to priority^alpha, with weights that undo the bias as beta goes to 1 (arXiv:1511.05952, section 3.3 and 3.4, proportional).
    A batch has one draw from each of `size` equal ranges of the sum of priorities (appendix B.2.1 there).

    A transition is new at the highest priority so far. Weights are divided by the largest of their batch.

    Attributes:
        alpha: 0 draws uniformly.
        beta: share of the bias that is undone, at the start; it grows linearly to 1 within `updates` updates.
        epsilon: added to every priority.
    """

    size: int = 256
    alpha: float = 0.6
    beta: float = 0.4
    updates: int = 100_000
    epsilon: float = 1e-6
    store: str | None = None

    def bind(self, stores: Mapping[str, Store], streams: Streams, name: str, relabel: Sequence[Relabel]) -> Drawer:
        return _PrioritizedDrawer(_store(stores, self.store), streams, name, self, relabel)


def _store(stores: Mapping[str, Store], name: str | None) -> Store:
    if name is None and len(stores) == 1:
        return next(iter(stores.values()))
    if name not in stores:
        raise BadInput(f"a draw asks for the store {name!r}; there {'is' if len(stores) == 1 else 'are'} {', '.join(stores)}")
    return stores[name]


class _UniformDrawer(Drawer):
    def __init__(self, store: Store, streams: Streams, name: str, size: int, relabel: Sequence[Relabel]):
        self.store, self.streams, self.name, self.size, self.relabel = store, streams, name, size, relabel

    def draw(self) -> Transitions:
        return self._gather(self.store.pick(self.streams.uniform(self.name, self.size)))

    def recall(self, index: Tensor) -> Transitions:
        return self.store.gather(index)

    def _gather(self, index: Tensor) -> Transitions:
        batch = self.store.gather(index)
        for relabel in self.relabel:
            batch = relabel(batch, self.store, self.streams)
        return batch


class _WindowsDrawer(_UniformDrawer):
    def __init__(self, store: Store, streams: Streams, name: str, draw: Windows, relabel: Sequence[Relabel]):
        super().__init__(store, streams, name, draw.windows, relabel)
        self.how = draw

    def draw(self) -> Transitions:
        how = self.how
        index = self.store.pick(self.streams.uniform(self.name, how.windows))
        before = how.burn_in + self.streams.integers(f"{self.name}/place", how.length, how.windows)
        index, there = self.store.window(index, how.width, before)
        place = torch.arange(how.width, device=index.device)
        first = there.long().argmax(-1, keepdim=True)
        whole = self.store.begins(index.gather(-1, first).squeeze(-1)).unsqueeze(-1)  # the episode up to here
        counts = there & (whole | (place - first >= how.burn_in))
        batch = self._gather(index.flatten(1))
        weight = counts.flatten(1).float()
        batch.weight = weight * (how.size / weight.sum(1, keepdim=True).clamp(min=1))  # few windows of a full ring may hold nothing that counts
        batch.extras |= {"begins": (place == first).flatten(1), "over": (~there & (place > first)).flatten(1)}
        return batch


class _MixedDrawer(Drawer):
    def __init__(self, parts: list[Drawer], sizes: list[int]):
        self.parts, self.sizes = parts, sizes

    def draw(self) -> Transitions:
        return Transitions.join([part.draw() for part in self.parts])

    def recall(self, index: Tensor) -> Transitions:
        return Transitions.join([part.recall(own) for part, own in zip(self.parts, index.split(self.sizes, 1), strict=True)])

    def prioritize(self, batch: Transitions, priority: Tensor) -> None:
        for part, index, own in zip(self.parts, batch.index.split(self.sizes, 1), priority.split(self.sizes, 1), strict=True):
            part.prioritize(replace(batch, index=index), own)

    def state_dict(self) -> dict[str, Any]:
        return {str(place): part.state_dict() for place, part in enumerate(self.parts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for place, part in enumerate(self.parts):
            part.load_state_dict(state[str(place)])


class _PrioritizedDrawer(_UniformDrawer):
    """A binary tree of sums a store: the leaves are priorities, every node is the sum of its two children, the root stands at 1."""

    def __init__(self, store: Store, streams: Streams, name: str, draw: Prioritized, relabel: Sequence[Relabel]):
        super().__init__(store, streams, name, draw.size, relabel)
        self.how = draw
        self.leaves = 1 << max(store.capacity - 1, 1).bit_length()
        self.levels = self.leaves.bit_length() - 1
        device = store.rows.device
        self.seeds = len(streams.seeds)  # a data set is shared, its priorities are each seed's own
        self.tree = torch.zeros(self.seeds, 2 * self.leaves, dtype=torch.float64, device=device)
        self.highest = torch.ones(self.seeds, 1, dtype=torch.float64, device=device)
        self.seen = 0  # transitions that have a priority, of all that were added
        self.draws = 0

    def draw(self) -> Transitions:
        self._take_in()
        tree, node = self.tree, torch.ones(self.seeds, self.size, dtype=torch.int64, device=self.tree.device)
        place = torch.arange(self.size, device=tree.device)
        mass = (place + self.streams.uniform(self.name, self.size).double()) / self.size * tree[:, 1:2]
        for _ in range(self.levels):
            left = tree.gather(1, 2 * node)
            right = (mass >= left) & (tree.gather(1, 2 * node + 1) > 0)
            mass = mass - left * right
            node = 2 * node + right
        index = node - self.leaves
        beta = min(1.0, self.how.beta + (1 - self.how.beta) * self.draws / self.how.updates)
        self.draws += 1
        weight = (tree.gather(1, node) / tree[:, 1:2] * self.store.count).pow(-beta)
        batch = self._gather(index)
        batch.weight = (weight / weight.amax(1, keepdim=True)).float()
        return batch

    def prioritize(self, batch: Transitions, priority: Tensor) -> None:
        priority = (priority.double() + self.how.epsilon).pow(self.how.alpha)
        torch.maximum(self.highest, priority.amax(1, keepdim=True), out=self.highest)  # in place: a captured update writes the same memory
        self._set(batch.index, priority)

    def _take_in(self) -> None:
        new = min(self.store.added - self.seen, self.store.capacity)
        if new:
            index = torch.arange(self.store.added - new, self.store.added, device=self.tree.device) % self.store.capacity
            index, priority = index.expand(self.seeds, -1), self.highest.expand(-1, new)
            there = self.store.there(index)
            self._set(index, priority if there is None else priority * there)
            self.seen = self.store.added

    def _set(self, index: Tensor, priority: Tensor) -> None:
        node = index + self.leaves
        self.tree.scatter_(1, node, priority)
        for _ in range(self.levels):
            node = node // 2
            self.tree.scatter_(1, node, self.tree.gather(1, 2 * node) + self.tree.gather(1, 2 * node + 1))

    def state_dict(self) -> dict[str, Any]:
        leaves = self.tree[:, self.leaves : self.leaves + self.store.capacity]
        return {"priority": leaves[:, : self.store.size], "highest": self.highest, "seen": self.seen, "draws": self.draws}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen, self.draws = state["seen"], state["draws"]
        self.highest.copy_(state["highest"])
        self.tree.zero_()
        index = torch.arange(state["priority"].shape[1], device=self.tree.device).expand(self.seeds, -1)
        self._set(index, state["priority"].to(self.tree.device))


STEP_BYTES = 48  # of a transition's window: where each step lies, whether it is there, what it paid, how it counts


@dataclass(frozen=True)
class NStep:
    """Relabels a transition as `n` steps in one, fewer where its episode ends before: the discounted sum of rewards, and what came behind the last.

    The batch's `steps` say how many there are, so that `Update.bellman` discounts what follows by gamma to that power.
    """

    n: int
    gamma: float

    def check_memory(self, transitions: int) -> None:
        """Raise `BadInput` where the steps behind a batch of so many transitions, of all seeds, take more than the machine's memory."""
        check_memory(f"{self.n:,} steps behind each of {transitions:,} transitions of a batch", self.n * transitions * STEP_BYTES, "take a smaller --n-step")

    def __call__(self, batch: Transitions, store: Store, streams: Streams) -> Transitions:
        if self.n == 1:
            return batch
        index, there = store.window(batch.index, self.n)
        reward, terminated = store.column("reward", index), store.column("terminated", index)
        over = terminated.cumsum(-1) - terminated.long()  # data that were relabelled with a goal's reward go on behind it
        there = there & (over == 0)
        steps = there.sum(-1)
        discount = self.gamma ** torch.arange(self.n, device=index.device)
        last = store.gather(index.gather(-1, steps.unsqueeze(-1) - 1).squeeze(-1))
        return replace(
            batch,
            reward=(reward * discount * there).sum(-1),
            next_observation=last.next_observation,
            terminated=last.terminated,
            truncated=last.truncated,
            steps=steps,
        )
