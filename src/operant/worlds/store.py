"""Where transitions are kept, for replay and data sets alike: columns of their own type, with the bounds of episodes, so that a batch is one gather."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import prod

import torch
from torch import Tensor

from operant.core.checkpoint import Block
from operant.core.spec import Spec


@dataclass
class Transitions:
    """A batch of transitions, `[S, B, …]`.

    Attributes:
        observation, next_observation: `[S, B, D]`.
        action: in the policy's units, `[S, B, A]` float or `[S, B]` int64.
        reward: `[S, B]`; terminated, truncated: `[S, B]` bool.
        index: which transition of its store each one is, `[S, B]`.
        steps: environment steps from `observation` to `next_observation`, `[S, B]`; None where it is one.
        weight: what each transition's loss counts, `[S, B]`; None where all count alike.
        extras: further columns of the store, or what a relabel adds, by name.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    next_observation: Tensor
    terminated: Tensor
    truncated: Tensor
    index: Tensor
    steps: Tensor | None = None
    weight: Tensor | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the batch by name."""
        own = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "extras"}
        return {name: value for name, value in own.items() if value is not None} | self.extras

    @staticmethod
    def join(parts: Sequence[Transitions]) -> Transitions:
        """Batches side by side, in one. Where some say how many steps they span or what they weigh, the others span one and weigh 1."""
        names = {name for part in parts for name in part.tensors()}
        tables = [part.tensors() for part in parts]
        for part, table in zip(parts, tables, strict=True):
            for name in names & {"steps", "weight"}:
                table.setdefault(name, torch.ones_like(part.reward))
        joined = {name: torch.cat([table[name] for table in tables], 1) for name in sorted(names)}
        own = {item.name for item in fields(Transitions)}
        return Transitions(**{name: x for name, x in joined.items() if name in own}, extras={name: x for name, x in joined.items() if name not in own})


@dataclass(frozen=True)
class Column:
    """One column of a store.

    Attributes:
        shape: of an element.
        dtype: of its numbers. Integers must be below 2**24, for they stand among floats.
        observation: what an element consists of, where it is a row of an observation: its pixels are kept as bytes.
    """

    shape: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32
    observation: Spec | None = None

    @property
    def byte_size(self) -> int:
        """Numbers of an element that are kept as bytes."""
        return 0 if self.observation is None else self.observation.byte_size

    @property
    def float_size(self) -> int:
        """Numbers of an element that are kept as floats."""
        return prod(self.shape) - self.byte_size


def transition_columns(observation: Spec, action_shape: tuple[int, ...], action_type: torch.dtype = torch.float32) -> dict[str, Column]:
    """The columns that every store of transitions has."""
    seen, flag = Column((observation.size,), observation=observation), Column(dtype=torch.bool)
    return {
        "observation": seen,
        "action": Column(action_shape, action_type),
        "reward": Column(),
        "next_observation": seen,
        "terminated": flag,
        "truncated": flag,
    }


def row_bytes(columns: Mapping[str, Column]) -> int:
    """Memory of one transition."""
    return sum(4 * column.float_size + column.byte_size for column in columns.values())


BLOCK_BYTES = 2**23  # of a store's block in a checkpoint, about


class Store:
    """Transitions of up to `capacity` a seed, ring-shaped once it is full. Columns stand in one float matrix, pixels in one of bytes: a batch is one gather.

    Args:
        stores: S where each seed has its own (replay), 1 where all share one (a data set).
        columns: what a transition holds, by name; see `transition_columns`.
        lanes: how many episodes are recorded side by side, in turns (environments of a seed): a transition is followed by the one `lanes` behind it.
    """

    def __init__(self, stores: int, capacity: int, columns: Mapping[str, Column], *, lanes: int = 1, device: torch.device | str = "cpu"):
        self.stores, self.lanes, self.columns = stores, lanes, dict(columns)
        self.capacity = -(-capacity // lanes) * lanes
        self._sizes = [column.float_size for column in self.columns.values()]
        self._byte_sizes = [column.byte_size for column in self.columns.values()]
        self.rows = torch.zeros(stores, self.capacity, sum(self._sizes), device=device)
        self.bytes = torch.zeros(stores, self.capacity, sum(self._byte_sizes), dtype=torch.uint8, device=device)
        self.ends = torch.zeros(stores, self.capacity, dtype=torch.bool, device=device)
        self.size = 0
        self.added = 0  # transitions a seed, since the beginning
        self._bounds: tuple[Tensor, Tensor] | None = None  # of episodes, until something is written
        row = sum(tensor[:, :1].nbytes for tensor in self._tensors().values())
        self._block = min(max(BLOCK_BYTES // row, 256), 16_384)  # transitions a block
        self._written = [0] * -(-self.capacity // self._block)  # `added` behind the last write to each block

    @property
    def _next(self) -> int:
        return self.added % self.capacity

    def append(self, columns: Mapping[str, Tensor], *, ends: Tensor | None = None) -> None:
        """Append n transitions a store, a whole number of turns through the lanes.

        Args:
            columns: `[S, n, …]` by name, on any device.
            ends: whether an episode's recording ends behind a transition, `[S, n]` bool; None for terminated or truncated.
        """
        ends = columns["terminated"] | columns["truncated"] if ends is None else ends
        floats, pixels = [], []
        for name, column in self.columns.items():
            value = (columns[name].flatten(2) if column.shape else columns[name].unsqueeze(-1)).to(self.rows.device)
            if column.byte_size:
                value, kept = column.observation.split(value)
                pixels.append(kept)
            floats.append(value.float())
        rows = torch.cat(floats, -1)
        self._write(self.rows, rows)
        self._write(self.ends, ends)
        if pixels:
            self._write(self.bytes, torch.cat(pixels, -1))
        self._bounds = None
        count, place = rows.shape[1], self._next
        self.added += count
        for block in {where % self.capacity // self._block for where in (*range(place, place + count, self._block), place + count - 1)}:
            self._written[block] = self.added
        self.size = min(self.size + count, self.capacity)

    def cut(self) -> None:
        """The newest transition of each lane is the last of its episode: what is appended next is not what followed it."""
        self._bounds = None
        for lane in range(min(self.lanes, self.size)):
            place = (self._next - 1 - lane) % self.capacity
            self.ends[:, place] = True
            self._written[place // self._block] = -self.added  # no longer what was written

    def _write(self, kept: Tensor, new: Tensor) -> None:
        count, place = new.shape[1], self._next
        first = min(count, self.capacity - place)
        kept[:, place : place + first] = new[:, :first].to(kept.device)
        if count > first:
            kept[:, : count - first] = new[:, first:].to(kept.device)

    def gather(self, index: Tensor) -> Transitions:
        """The transitions at `index [S, B]` (or `[S, B, L]`, windows)."""
        flat = self._flat(index)
        rows = self.rows.view(-1, self.rows.shape[-1]).index_select(0, flat).view(*index.shape, -1)
        parts = rows.split(self._sizes, -1)
        if self.bytes.shape[-1]:
            pixels = self.bytes.view(-1, self.bytes.shape[-1]).index_select(0, flat).view(*index.shape, -1).split(self._byte_sizes, -1)
        found = {}
        for place, (name, column) in enumerate(self.columns.items()):
            values = column.observation.join(parts[place], pixels[place]) if column.byte_size else parts[place]
            values = values.unflatten(-1, column.shape) if len(column.shape) > 1 else values if column.shape else values.squeeze(-1)
            found[name] = values > 0.5 if column.dtype == torch.bool else values if column.dtype == torch.float32 else values.to(column.dtype)
        own = {item.name for item in fields(Transitions)}
        extras = {name: found.pop(name) for name in list(found) if name not in own}
        return Transitions(**found, index=index, extras=extras)

    def _flat(self, index: Tensor) -> Tensor:
        if self.stores > 1:
            seeds = torch.arange(index.shape[0], device=index.device).view(-1, *[1] * (index.ndim - 1))
            index = index + seeds * self.capacity
        return index.reshape(-1)

    def window(self, index: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """The transitions that follow each of `index [S, B]` in its episode, itself first: (their index `[S, B, L]`, which of them there are `[S, B, L]`).

        A window never goes beyond its episode's end, nor beyond the newest transition; the places behind name the last one that there is.
        """
        start = self._next if self.size == self.capacity else 0
        offset = torch.arange(length, device=index.device) * self.lanes
        inside = (index.unsqueeze(-1) - start) % self.capacity + offset < self.size
        ahead = (index.unsqueeze(-1) + offset) % self.capacity
        ended = self.ends.view(-1).index_select(0, self._flat(ahead)).view(ahead.shape)
        before = torch.cat([torch.zeros_like(ended[..., :1]), ended[..., :-1]], -1).cumsum(-1) > 0
        there = inside & ~before
        last = there.sum(-1, keepdim=True) - 1
        return torch.where(there, ahead, ahead.gather(-1, last)), there

    def episodes(self) -> tuple[Tensor, Tensor]:
        """(first, last) transition of the episode of every transition, `[S, size]` int64 each, for stores that are not ring-shaped yet (data sets)."""
        if self.added > self.capacity or self.lanes > 1:
            raise ValueError("the episodes of a ring of transitions, or of several lanes, are not whole")
        if self._bounds is not None:
            return self._bounds
        place = torch.arange(self.size, device=self.ends.device)
        ends = self.ends[:, : self.size].clone()
        ends[:, -1] = True
        last = torch.where(ends, place, self.size).flip(1).cummin(1).values.flip(1)
        begins = torch.cat([torch.ones_like(ends[:, :1]), ends[:, :-1]], 1)
        first = torch.where(begins, place, -1).cummax(1).values
        self._bounds = first, last
        return self._bounds

    def _tensors(self) -> dict[str, Tensor]:
        return {"rows": self.rows, "bytes": self.bytes, "ends": self.ends}

    def state_dict(self) -> dict:
        """In blocks, so that a checkpoint writes those alone that were appended to."""
        starts = range(0, self.size, self._block)
        blocks = [
            Block({name: tensor[:, start : min(start + self._block, self.size)] for name, tensor in self._tensors().items()}, f"{place}-{self._written[place]}")
            for place, start in enumerate(starts)
        ]
        return {"blocks": blocks, "written": list(self._written), "size": self.size, "added": self.added}

    def load_state_dict(self, state: dict) -> None:
        self.size, self.added, self._bounds = state["size"], state["added"], None
        self._written[: len(state["blocks"])] = state["written"][: len(state["blocks"])]  # a run that goes on for longer than planned has more room
        start = 0
        for block in state["blocks"]:
            end = start + block["ends"].shape[1]
            for name, tensor in self._tensors().items():
                tensor[:, start:end] = block[name].to(tensor.device)
            start = end
