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
    def of(tensors: Mapping[str, Tensor]) -> Transitions:
        """The batch whose `tensors` these are."""
        own = {item.name for item in fields(Transitions)}
        named, extras = ({name: x for name, x in tensors.items() if (name in own) is wanted} for wanted in (True, False))
        return Transitions(**named, extras=extras)

    @staticmethod
    def join(parts: Sequence[Transitions]) -> Transitions:
        """Batches side by side, in one. Where some say how many steps they span or what they weigh, the others span one and weigh 1."""
        names = {name for part in parts for name in part.tensors()}
        tables = [part.tensors() for part in parts]
        for part, table in zip(parts, tables, strict=True):
            for name in names & {"steps", "weight"}:
                table.setdefault(name, torch.ones_like(part.reward))
        return Transitions.of({name: torch.cat([table[name] for table in tables], 1) for name in sorted(names)})


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


def row_bytes(columns: Mapping[str, Column], *, frames: bool = False) -> int:
    """Memory of one transition.

    Args:
        frames: as a store with `frames` keeps it, where the last frame of each episode comes on top.
    """
    floats = sum(4 * column.float_size for column in columns.values())
    if frames and (seen := columns["observation"]).byte_size:
        others = sum(column.byte_size for name, column in columns.items() if name not in SEEN)
        return floats + others + frame_size(seen.observation) + FRAME_NOTES
    return floats + sum(column.byte_size for column in columns.values())


def frame_size(observation: Spec) -> int:
    """Bytes of the newest frame of everything in an observation that is kept as bytes."""
    return sum(field.size // field.stack for field in observation.fields if field.bytes)


SEEN = ("observation", "next_observation")
FRAME_NOTES = 9  # bytes that say of a transition where its frames are
BLOCK_BYTES = 2**23  # of a store's block in a checkpoint, about


class _Blocks:
    """Ring-shaped tensors `[S, places, …]` cut in blocks, with when each was written last: a checkpoint writes those alone that changed."""

    def __init__(self, tensors: Mapping[str, Tensor]):
        self._tensors, self._places = tensors, next(iter(tensors.values())).shape[1]
        row = sum(tensor[:, :1].nbytes for tensor in tensors.values())
        self._block = min(max(BLOCK_BYTES // row, 256), 16_384)  # places a block
        self.written = [0] * -(-self._places // self._block)  # the stamp of the last write to each block

    def touch(self, place: int, count: int, stamp: int) -> None:
        """`count` places from `place` on, round the ring, were written."""
        for block in {where % self._places // self._block for where in (*range(place, place + count, self._block), place + count - 1)}:
            self.written[block] = stamp

    def state(self, size: int) -> list[Block]:
        """The first `size` places."""
        starts = range(0, size, self._block)
        return [
            Block({name: tensor[:, start : min(start + self._block, size)] for name, tensor in self._tensors.items()}, f"{place}-{self.written[place]}")
            for place, start in enumerate(starts)
        ]

    def load(self, blocks: list[Block], written: list[int]) -> None:
        self.written[: len(blocks)] = written[: len(blocks)]  # a run that goes on for longer than planned has more room
        start = 0
        for block in blocks:
            end = start + next(iter(block.values())).shape[1]
            for name, tensor in self._tensors.items():
                tensor[:, start:end] = block[name].to(tensor.device)
            start = end


class Frames:
    """One copy of each frame of what environments show as bytes: observations, and the outcomes that follow them, stacked or not, are put together again.

    The frames of a lane stand one behind the other, as they were seen. A transition's own is the newest of its observation; the one behind it is the newest of
    its outcome, but where its episode ends: such a frame is kept apart, for what stands behind is then another episode's first. Before its first frame an
    episode shows that one again, as `gymnasium.wrappers.FrameStackObservation` does.

    Args:
        turns: transitions of a lane that are kept.

    Attributes:
        age: how many frames before a transition's own are of its episode, at most as many as are stacked, `[S, capacity]`.
        final: the number of the frame that was kept apart for a transition, `[S, capacity]`, -1 for none.
    """

    def __init__(self, spec: Spec, stores: int, turns: int, lanes: int, device: torch.device | str):
        self.turns, self.lanes, self.spec = turns, lanes, spec
        self._fields: list[tuple[int, slice, slice]] = []  # (frames that are stacked, place in the bytes of a row, place in those of a frame)
        at = of_frame = 0
        for part in (part for part in spec.fields if part.bytes):
            one = part.size // part.stack
            self._fields.append((part.stack, slice(at, at + part.size), slice(of_frame, of_frame + one)))
            at, of_frame = at + part.size, of_frame + one
        self.depth = max(stack for stack, _, _ in self._fields)
        self._slots = turns + self.depth  # the oldest transition's stack goes back so far, and the newest one's outcome is one ahead
        self.data = torch.zeros(stores, self._slots * lanes, of_frame, dtype=torch.uint8, device=device)
        self.age = torch.zeros(stores, turns * lanes, dtype=torch.uint8, device=device)
        self.final = torch.full((stores, turns * lanes), -1, dtype=torch.int64, device=device)
        self.ends = torch.zeros(0, of_frame, dtype=torch.uint8, device=device)  # a ring that grows: the frame of number n is at n modulo its length
        self._first = self._last = 0  # numbers of those in use, the last excluded
        self._age = torch.zeros(stores, lanes, dtype=torch.uint8, device=device)  # of the next transitions
        self._blocks = _Blocks({"frames": self.data})

    def append(self, seen: Tensor, following: Tensor, ends: Tensor, apart: Tensor, turn: int) -> None:
        """Take in one turn through the lanes.

        Args:
            seen, following: bytes of the observations and of their outcomes, `[S, lanes, …]`.
            ends: `[S, lanes]` bool, what comes next is another episode's.
            apart: of which of these the outcome is kept, `[S, lanes]` bool.
            turn: how many there were before it.
        """
        place = turn % self.turns * self.lanes
        here = slice(place, place + self.lanes)
        self._first += int((self.final[:, here] >= 0).sum())
        self.final[:, here] = -1
        self.age[:, here] = self._age
        newest = self._newest(following)
        self._put(turn, self._newest(seen))
        self._put(turn + 1, newest)
        self._age = torch.where(ends, 0, (self._age + 1).clamp(max=self.depth - 1))
        self._keep(apart, here, newest)

    def cut(self, turn: int) -> None:
        """The last turn, which was number `turn`, is not followed by what is taken in next."""
        place = turn % self.turns * self.lanes
        here = slice(place, place + self.lanes)
        slot = (turn + 1) % self._slots * self.lanes
        self._keep(self.final[:, here] < 0, here, self.data[:, slot : slot + self.lanes])
        self._age = torch.zeros_like(self._age)

    def gather(self, flat: Tensor, index: Tensor, turn: int) -> tuple[Tensor, Tensor]:
        """Bytes of the observations and of the outcomes of transitions, `[N, …]` each.

        Args:
            flat: their places among those of all stores, `[N]`.
            index: their places in their own store, `[N]`.
            turn: how many turns there were.
        """
        age, final = self.age.view(-1).index_select(0, flat).long(), self.final.view(-1).index_select(0, flat)
        store = (flat - index) // (self.turns * self.lanes)
        ago = (turn - 1 - index // self.lanes) % self.turns
        back = torch.arange(self.depth - 1, -2, -1, device=flat.device)
        number = turn - 1 - ago.unsqueeze(-1) - torch.minimum(back, age.unsqueeze(-1))  # [N, depth + 1], of turns
        slot = number % self._slots * self.lanes + (index % self.lanes).unsqueeze(-1) + (store * self.data.shape[1]).unsqueeze(-1)
        found = self.data.view(-1, self.data.shape[-1]).index_select(0, slot.view(-1)).view(*slot.shape, -1)
        if len(self.ends):
            apart = self.ends.index_select(0, final.clamp(min=0) % len(self.ends))
            found[:, -1] = torch.where((final >= 0).unsqueeze(-1), apart, found[:, -1])
        seen, following = (
            torch.cat([found[:, self.depth - stack + later : self.depth + later, part].flatten(1) for stack, _, part in self._fields], -1) for later in (0, 1)
        )
        return seen, following

    def _newest(self, pixels: Tensor) -> Tensor:
        return torch.cat([pixels[..., place.stop - (part.stop - part.start) : place.stop] for _, place, part in self._fields], -1)

    def _put(self, turn: int, frames: Tensor) -> None:
        slot = turn % self._slots * self.lanes
        self.data[:, slot : slot + self.lanes] = frames
        self._blocks.touch(slot, self.lanes, turn + 1)

    def _keep(self, which: Tensor, here: slice, frames: Tensor) -> None:
        """Keep frames `[S, lanes, …]` apart, those of transitions `which [S, lanes]`."""
        count = int(which.sum())
        if not count:
            return
        if self._last + count - self._first > len(self.ends):
            self._grow(max(16, 2 * len(self.ends), self._last + count - self._first))
        number = self._last + torch.arange(count, device=which.device)
        self.ends[number % len(self.ends)] = frames[which]
        self.final[:, here] = self.final[:, here].masked_scatter(which, number)
        self._last += count

    def _grow(self, length: int) -> None:
        number = torch.arange(self._first, self._last, device=self.ends.device)
        grown = torch.zeros(length, self.ends.shape[1], dtype=torch.uint8, device=self.ends.device)
        if len(self.ends):
            grown[number % length] = self.ends[number % len(self.ends)]
        self.ends = grown

    def state_dict(self, turn: int) -> dict:
        number = torch.arange(self._first, self._last, device=self.ends.device)
        kept = self.ends[number % max(len(self.ends), 1)]
        return {
            "blocks": self._blocks.state(min(turn + 1, self._slots) * self.lanes),
            "written": list(self._blocks.written),
            "ends": Block({"frames": kept}, f"{self._first}-{self._last}"),
            "first": self._first,
            "age": self._age,
        }

    def load_state_dict(self, state: dict) -> None:
        self._blocks.load(state["blocks"], state["written"])
        kept = state["ends"]["frames"].to(self.ends.device)
        self._first, self._last = state["first"], state["first"] + len(kept)
        self.ends = self.ends[:0]
        if len(kept):
            self.ends = torch.zeros(len(kept), kept.shape[1], dtype=torch.uint8, device=kept.device)
            self.ends[torch.arange(self._first, self._last, device=kept.device) % len(kept)] = kept
        self._age = state["age"].to(self._age.device)


class _Holes:
    """Which places of a ring hold transitions, and these in the order in which they came, of stores in which some places hold none.

    Attributes:
        there: `[S, capacity]` bool.
        count: how many there are, `[S, 1]`.
    """

    def __init__(self, stores: int, capacity: int, size: int, following: int, device: torch.device):
        place = (torch.arange(capacity, device=device) + (following if size == capacity else 0)) % capacity
        self._places = place.repeat(stores, 1)
        self.there = (torch.arange(capacity, device=device) < size).repeat(stores, 1)
        self._first = torch.zeros(stores, 1, dtype=torch.int64, device=device)
        self.count = torch.full((stores, 1), size, dtype=torch.int64, device=device)

    def write(self, place: int, valid: Tensor) -> None:
        """The places from `place` on, round the ring, are written over; `valid [S, n]`: which of them hold a transition now."""
        capacity = self.there.shape[1]
        for number, there in enumerate(valid.to(self.there.device).unbind(1)):
            at, there = (place + number) % capacity, there.unsqueeze(1)
            gone = self.there[:, at : at + 1]
            self._first, self.count = (self._first + gone) % capacity, self.count - gone.long()
            last = (self._first + self.count) % capacity
            self._places.scatter_(1, last, torch.where(there, at, self._places.gather(1, last)))
            self.count = self.count + there.long()
            self.there[:, at : at + 1] = there

    def pick(self, share: Tensor) -> Tensor:
        number = torch.minimum((share * self.count).long(), self.count - 1)
        return self._places.gather(1, (self._first + number) % self.there.shape[1])

    def state_dict(self, size: int) -> dict:
        order = (self._first + torch.arange(size, device=self.there.device)) % self.there.shape[1]
        return {"places": self._places.gather(1, order), "there": self.there[:, :size], "count": self.count}

    def load_state_dict(self, state: dict) -> None:
        device, size = self.there.device, state["there"].shape[1]
        self._places[:, :size], self.there[:, :size] = state["places"].to(device), state["there"].to(device)
        self._first, self.count = torch.zeros_like(self._first), state["count"].to(device)


class _Episodes:
    """Where the episodes of a store's transitions end, so far: made of what is stored, and kept in step with what is appended.

    Episodes are numbered in their lane. Those of which something is stored are at most as many as there are turns: numbers modulo these tell them apart.
    """

    def __init__(self, ends: Tensor, lanes: int, size: int, added: int):
        self.lanes, stores = lanes, len(ends)
        self.turns = turns = ends.shape[1] // lanes
        kept = size // lanes
        turn = torch.arange(added // lanes - kept, added // lanes, device=ends.device)
        over = ends.view(stores, turns, lanes)[:, turn % turns].long()
        number = over.cumsum(1) - over
        self._number = torch.zeros(stores, turns, lanes, dtype=torch.int64, device=ends.device)  # of each transition's episode
        self._last = torch.zeros_like(self._number)  # turn of the last transition of the episode of each number
        self._number[:, turn % turns] = number
        self._last.scatter_reduce_(1, number, turn.view(1, -1, 1).expand_as(number), "amax")
        self._next = over.sum(1)  # number of the episode that goes on or begins, `[S, lanes]`

    def append(self, ends: Tensor, turn: int) -> None:
        """Take in `ends [S, n]` of transitions, the first of which are of this turn."""
        for now, over in enumerate(ends.reshape(len(ends), -1, self.lanes).unbind(1), turn):
            self._number[:, now % self.turns] = self._next
            self._last.scatter_(1, (self._next % self.turns).unsqueeze(1), now)
            self._next = self._next + over

    def left(self, flat: Tensor, index: Tensor, turn: int) -> Tensor:
        """As `Store.left`.

        Args:
            flat: the places of `index` among those of all stores.
            turn: how many turns there were.
        """
        own = turn - 1 - (turn - 1 - index // self.lanes) % self.turns
        number = self._number.view(-1).index_select(0, flat).view(index.shape) % self.turns
        place = flat.view(index.shape) - index + number * self.lanes + index % self.lanes
        return self._last.view(-1).index_select(0, place.view(-1)).view(index.shape) - own


class Store:
    """Transitions of up to `capacity` a seed, ring-shaped once it is full. Columns stand in one float matrix, pixels in one of bytes: a batch is one gather.

    Args:
        stores: S where each seed has its own (replay), 1 where all share one (a data set).
        columns: what a transition holds, by name; see `transition_columns`.
        lanes: how many episodes are recorded side by side, in turns (environments of a seed): a transition is followed by the one `lanes` behind it.
        frames: episodes are recorded from their first step on, one turn at a time, so that one copy of each frame will do (`Frames`).
    """

    def __init__(
        self,
        stores: int,
        capacity: int,
        columns: Mapping[str, Column],
        *,
        lanes: int = 1,
        device: torch.device | str = "cpu",
        frames: bool = False,
    ):
        self.stores, self.lanes, self.columns = stores, lanes, dict(columns)
        self.capacity = -(-capacity // lanes) * lanes
        seen = self.columns["observation"]
        self.frames = Frames(seen.observation, stores, self.capacity // lanes, lanes, device) if frames and seen.byte_size else None
        self._sizes = [column.float_size for column in self.columns.values()]
        self._byte_sizes = [0 if self.frames is not None and name in SEEN else column.byte_size for name, column in self.columns.items()]
        self.rows = torch.zeros(stores, self.capacity, sum(self._sizes), device=device)
        self.bytes = torch.zeros(stores, self.capacity, sum(self._byte_sizes), dtype=torch.uint8, device=device)
        self.ends = torch.zeros(stores, self.capacity, dtype=torch.bool, device=device)
        self.size = 0
        self.added = 0  # transitions a seed, since the beginning
        self._episodes: _Episodes | None = None  # from the first time on that they are asked for
        self._holes: _Holes | None = None  # from the first place on that holds no transition
        tensors = {"rows": self.rows, "bytes": self.bytes, "ends": self.ends}
        self._blocks = _Blocks(tensors if self.frames is None else tensors | {"age": self.frames.age, "final": self.frames.final})

    @property
    def _next(self) -> int:
        return self.added % self.capacity

    @property
    def count(self) -> int | Tensor:
        """How many transitions a seed there are to draw; `[S, 1]` where they are not as many in each."""
        return self.size if self._holes is None else self._holes.count

    def pick(self, share: Tensor) -> Tensor:
        """Places of transitions, `[S, B]`, by shares from 0 to 1 of all that there are. No host read happens here."""
        return (share * self.size).long().clamp_(max=self.size - 1) if self._holes is None else self._holes.pick(share)

    def there(self, index: Tensor) -> Tensor | None:
        """Which places `index [S, B]` hold a transition; None where all do."""
        return None if self._holes is None else self._holes.there.gather(1, index)

    def append(self, columns: Mapping[str, Tensor], *, ends: Tensor | None = None, valid: Tensor | None = None) -> None:
        """Append n transitions a store, a whole number of turns through the lanes.

        Args:
            columns: `[S, n, …]` by name, on any device.
            ends: whether an episode's recording ends behind a transition, `[S, n]` bool; None for terminated or truncated.
            valid: which of them are transitions, `[S, n]` bool: a lane in which nothing happened has a place all the same, which is never drawn. None for all.
        """
        ends = columns["terminated"] | columns["truncated"] if ends is None else ends
        if valid is not None:
            ends = ends | ~valid
            if self._holes is None:
                self._holes = _Holes(self.stores, self.capacity, self.size, self._next, self.rows.device)
        floats, pixels, of_frames = [], [], []
        for name, column in self.columns.items():
            value = (columns[name].flatten(2) if column.shape else columns[name].unsqueeze(-1)).to(self.rows.device)
            if column.byte_size:
                value, kept = column.observation.split(value)
                (of_frames if self.frames is not None and name in SEEN else pixels).append(kept)
            floats.append(value.float())
        rows = torch.cat(floats, -1)
        self._write(self.rows, rows)
        self._write(self.ends, ends)
        if pixels:
            self._write(self.bytes, torch.cat(pixels, -1))
        if self.frames is not None:
            for turn, start in enumerate(range(0, rows.shape[1], self.lanes), self.added // self.lanes):
                apart = (ends if valid is None else ends & valid).to(self.ends.device)
                seen, following, over, apart = (x[:, start : start + self.lanes] for x in (*of_frames, ends.to(self.ends.device), apart))
                self.frames.append(seen, following, over, apart, turn)
        if self._episodes is not None:
            self._episodes.append(ends.to(self.ends.device), self.added // self.lanes)
        count, place = rows.shape[1], self._next
        if self._holes is not None:
            self._holes.write(place, torch.ones_like(ends) if valid is None else valid)
        self.added += count
        self._blocks.touch(place, count, self.added)
        self.size = min(self.size + count, self.capacity)

    def cut(self) -> None:
        """The newest transition of each lane is the last of its episode: what is appended next is not what followed it."""
        self._episodes = None
        if self.frames is not None and self.size:
            self.frames.cut(self.added // self.lanes - 1)
        for lane in range(min(self.lanes, self.size)):
            place = (self._next - 1 - lane) % self.capacity
            self.ends[:, place] = True
            self._blocks.touch(place, 1, -self.added)  # no longer what was written

    def _write(self, kept: Tensor, new: Tensor) -> None:
        over = max(0, new.shape[1] - self.capacity)  # what would be written over at once
        new, place = new[:, over:], (self._next + over) % self.capacity
        count = new.shape[1]
        first = min(count, self.capacity - place)
        kept[:, place : place + first] = new[:, :first].to(kept.device)
        if count > first:
            kept[:, : count - first] = new[:, first:].to(kept.device)

    def gather(self, index: Tensor) -> Transitions:
        """The transitions at `index [S, B]` (or `[S, B, L]`, windows)."""
        flat = self._flat(index)
        rows = self.rows.view(-1, self.rows.shape[-1]).index_select(0, flat).view(*index.shape, -1)
        parts = rows.split(self._sizes, -1)
        pixels: dict[str, Tensor] = {}
        if self.bytes.shape[-1]:
            found = self.bytes.view(-1, self.bytes.shape[-1]).index_select(0, flat).view(*index.shape, -1).split(self._byte_sizes, -1)
            pixels = dict(zip(self.columns, found, strict=True))
        if self.frames is not None:
            shown = self.frames.gather(flat, index.reshape(-1), self.added // self.lanes)
            pixels |= {name: x.view(*index.shape, -1) for name, x in zip(SEEN, shown, strict=True)}
        found = {}
        for place, (name, column) in enumerate(self.columns.items()):
            found[name] = _values(column, column.observation.join(parts[place], pixels[name]) if column.byte_size else parts[place])
        own = {item.name for item in fields(Transitions)}
        extras = {name: found.pop(name) for name in list(found) if name not in own}
        return Transitions(**found, index=index, extras=extras)

    def column(self, name: str, index: Tensor) -> Tensor:
        """One column of the transitions at `index [S, B, …]`, which is no observation: no pixels are read."""
        place = list(self.columns).index(name)
        start = sum(self._sizes[:place])
        rows = self.rows.view(-1, self.rows.shape[-1])[:, start : start + self._sizes[place]]
        return _values(self.columns[name], rows.index_select(0, self._flat(index)).view(*index.shape, -1))

    def _flat(self, index: Tensor) -> Tensor:
        if self.stores > 1:
            seeds = torch.arange(index.shape[0], device=index.device).view(-1, *[1] * (index.ndim - 1))
            index = index + seeds * self.capacity
        return index.reshape(-1)

    def window(self, index: Tensor, length: int, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Transitions side by side in the episode of each of `index [S, B]`: (their index `[S, B, L]`, which of them there are `[S, B, L]`).

        A window never goes beyond its episode's bounds, nor beyond the oldest or the newest transition; the places without one name the nearest that there is.

        Args:
            before: how many of the L places come before that of `index`, `[S, B]`, 0 to L − 1; None: the window begins with it.
        """
        start = self._next if self.size == self.capacity else 0
        first = torch.zeros_like(index) if before is None else before
        step = torch.arange(length, device=index.device)
        offset = (step - first.unsqueeze(-1)) * self.lanes
        age = (index.unsqueeze(-1) - start) % self.capacity + offset
        place = (index.unsqueeze(-1) + offset) % self.capacity
        ended = self.ends.view(-1).index_select(0, self._flat(place)).view(place.shape)
        episode = torch.cat([torch.zeros_like(ended[..., :1]), ended[..., :-1]], -1).cumsum(-1)
        there = (age >= 0) & (age < self.size) & (episode == episode.gather(-1, first.unsqueeze(-1)))
        begin = there.long().argmax(-1, keepdim=True)
        return place.gather(-1, step.clamp(begin, begin + there.sum(-1, keepdim=True) - 1)), there

    def before(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The transitions before each of `index [S, B]` in its episode: (their index `[S, B]`, which of them there are); where there is none, itself."""
        start = self._next if self.size == self.capacity else 0
        behind = (index - self.lanes) % self.capacity
        inside = (index - start) % self.capacity >= self.lanes
        ended = self.ends.view(-1).index_select(0, self._flat(behind)).view(behind.shape)
        there = inside & ~ended
        return torch.where(there, behind, index), there

    def begins(self, index: Tensor) -> Tensor:
        """Where an episode begins with the transition, `[S, B]`; False for one whose episode may have begun before the oldest."""
        _, there = self.before(index)
        oldest = (index - self._next) % self.capacity < self.lanes
        return ~there & ~oldest if self.added > self.capacity else ~there

    def left(self, index: Tensor) -> Tensor:
        """How many transitions follow each of `index [S, B]` in its episode, `[S, B]`: as far as it was recorded, for it may still go on."""
        if self._episodes is None:
            self._episodes = _Episodes(self.ends, self.lanes, self.size, self.added)
        return self._episodes.left(self._flat(index), index, self.added // self.lanes)

    def later(self, index: Tensor, count: Tensor) -> Tensor:
        """The transitions `count [S, B]` behind each of `index [S, B]`, at most as many as are `left`."""
        return (index + count * self.lanes) % self.capacity

    def state_dict(self) -> dict:
        """In blocks, so that a checkpoint writes those alone that were appended to."""
        state = {"blocks": self._blocks.state(self.size), "written": list(self._blocks.written), "size": self.size, "added": self.added}
        if self._holes is not None:
            state["holes"] = self._holes.state_dict(self.size)
        return state if self.frames is None else state | {"frames": self.frames.state_dict(self.added // self.lanes)}

    def load_state_dict(self, state: dict) -> None:
        self.size, self.added, self._episodes = state["size"], state["added"], None
        self._blocks.load(state["blocks"], state["written"])
        self._holes = None
        if "holes" in state:
            self._holes = _Holes(self.stores, self.capacity, self.size, self._next, self.rows.device)
            self._holes.load_state_dict(state["holes"])
        if self.frames is not None:
            self.frames.load_state_dict(state["frames"])


def _values(column: Column, values: Tensor) -> Tensor:
    """A column's values, of the numbers that they are kept as."""
    values = values.unflatten(-1, column.shape) if len(column.shape) > 1 else values if column.shape else values.squeeze(-1)
    return values > 0.5 if column.dtype == torch.bool else values if column.dtype == torch.float32 else values.to(column.dtype)
