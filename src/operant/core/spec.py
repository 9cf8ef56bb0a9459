"""What an observation or an action consists of: named fields, and where each of them lies in one packed row.

An observation travels as one row `[…, D]` of float32 numbers, from environments through chunks, replay and data sets into networks: one copy, one gather and
one matrix product serve all of its fields. A `Spec` says what lies where, so that whoever has to tell fields apart can.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

ACTION_MASK = "action_mask"
GOAL, ACHIEVED = "desired_goal", "achieved_goal"
Kind = Literal["box", "discrete", "multi-discrete", "multi-binary"]
Role = Literal["", "action_mask", "goal", "agent", "state"]


@dataclass(frozen=True)
class Field:
    """One named part of an observation or an action.

    Attributes:
        name: of a space that is no Dict or Tuple "observation" or "action", else the key or the place, nested ones joined by a dot.
        shape: as the environment has it; `()` of one choice.
        dtype: NumPy's name of the environment's type.
        kind: "box" holds numbers, "discrete" one choice, "multi-discrete" several, "multi-binary" bits, each a choice of two.
        counts: how many choices each number has; empty of a box.
        starts: what the environment calls the first choice of each number.
        low, high: bounds of a box's numbers, flat; one for all where they are the same.
        role: "action_mask" says which choices are allowed, "goal" what is to be reached, "agent" which of several it is, "state" what of a game of several
            agents a critic may see and no actor does.
        stack: it is so many observations one after the other, the newest last, along its first axis.
        scaled: of an action's box: whoever acts gives numbers in which −1 to 1 is its whole range.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    kind: Kind = "box"
    counts: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    low: tuple[float, ...] = (-math.inf,)
    high: tuple[float, ...] = (math.inf,)
    role: Role = ""
    stack: int = 1
    scaled: bool = False

    @property
    def numbers(self) -> int:
        """How many numbers the environment has in it: what an action takes of an action's row."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """How many numbers it takes in an observation's row: choices are one-hot, bits and boxes as they are."""
        return sum(self.counts) if self.kind in ("discrete", "multi-discrete") else self.numbers

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape that `Spec.unpack` gives it: its own, or `(size,)` where choices are one-hot."""
        return (self.size,) if self.kind in ("discrete", "multi-discrete") else self.shape

    @property
    def picture(self) -> bool:
        """It is laid out in two dimensions: three axes or more, or two of bytes."""
        return self.kind == "box" and self.role == "" and (len(self.shape) in (3, 4) or (len(self.shape) == 2 and self.dtype == "uint8"))

    @property
    def bytes(self) -> bool:
        """Its numbers are bytes in the environment, or the bits of a picture."""
        return self.kind == "box" and (self.dtype == "uint8" or (self.dtype == "bool" and self.picture))

    @property
    def top(self) -> float:
        """What networks divide bytes by: the largest that the space allows, 255 of pixels."""
        return max(1.0, max(self.high)) if self.bytes else 1.0

    @property
    def normalizable(self) -> bool:
        """A running mean and deviation mean something: numbers that are no pixels, bits or choices."""
        return self.kind == "box" and self.role != "action_mask" and self.dtype not in ("uint8", "bool") and not self.picture

    @property
    def form(self) -> str:
        """What of it a network hangs on, in words: `position (box of shape (3,))`, `observation (discrete of 4)`; no bounds, and no types but bytes."""
        size = f" of {' '.join(map(str, self.counts))}" if self.counts else f" of shape {self.shape}"
        return f"{self.name} ({self.kind}{size}{' of bytes' * self.bytes}{' as -1 to 1' * self.scaled})"

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) `[numbers]` in the environment's type."""
        low, high = (np.broadcast_to(np.array(bound, self.dtype), self.numbers).copy() for bound in (self.low, self.high))
        return low, high

    def to_json(self) -> dict[str, Any]:
        """What is not as by default, for JSON: bounds that are not finite as text."""

        def number(value: float) -> float | str:
            return int(value) if isinstance(value, bool) else str(value) if value in (math.inf, -math.inf) else value

        def plain(value: Any) -> Any:
            return [number(part) for part in value] if isinstance(value, tuple) else value

        return {item.name: plain(value) for item in fields(self) if (value := getattr(self, item.name)) != item.default}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Field:
        """What `to_json` gave."""

        def read(value: Any) -> Any:
            return tuple(float(part) if isinstance(part, str) else part for part in value) if isinstance(value, list) else value

        return cls(**{item.name: read(found[item.name]) for item in fields(cls) if item.name in found})


@dataclass(frozen=True)
class Spec:
    """The fields of an observation or an action, in the order in which they lie in a row.

    An observation's row `[…, size]` holds boxes and bits as they are (pixels 0 to 255) and choices as one-hot. An action's row `[…, numbers]` holds choices
    counted from 0, and then boxes; a single choice has no axis of its own.
    """

    fields: tuple[Field, ...]

    @cached_property
    def size(self) -> int:
        """D: numbers of an observation's row."""
        return sum(field.size for field in self.fields)

    @cached_property
    def slices(self) -> Mapping[str, slice]:
        """Where each field lies in an observation's row."""
        found, at = {}, 0
        for field in self.fields:
            found[field.name] = slice(at, at + field.size)
            at += field.size
        return found

    def unpack(self, rows: Tensor) -> dict[str, Tensor]:
        """The fields of rows `[…, D]`, `[…, *row_shape]` each, sharing their memory where that can be."""
        return {field.name: rows[..., self.slices[field.name]].reshape(*rows.shape[:-1], *field.row_shape) for field in self.fields}

    @property
    def form(self) -> list[str]:
        """What of its fields a network hangs on, in words each."""
        return [field.form for field in self.fields]

    def to_json(self) -> list[dict[str, Any]]:
        """Its fields for JSON."""
        return [field.to_json() for field in self.fields]

    @classmethod
    def from_json(cls, found: Sequence[Mapping[str, Any]]) -> Spec:
        """What `to_json` gave."""
        return cls(tuple(map(Field.from_json, found)))

    # Roles

    def role(self, role: Role) -> Field | None:
        """The field of a role; None where there is none."""
        return next((field for field in self.fields if field.role == role), None)

    @cached_property
    def mask(self) -> slice | None:
        """Where a row says which choices are allowed; None where all always are."""
        field = self.role("action_mask")
        return None if field is None else self.slices[field.name]

    def allowed(self, rows: Tensor) -> Tensor | None:
        """Which choices rows `[…, D]` allow, `[…, choices]` bool; None where all always are."""
        return None if self.mask is None else rows[..., self.mask] > 0.5

    # Storage

    @cached_property
    def byte_size(self) -> int:
        """Numbers of a row that a byte each holds exactly (pixels)."""
        return sum(field.size for field in self.fields if field.bytes)

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows `[…, D]` as what is to be kept of them: (floats `[…, D - byte_size]`, bytes `[…, byte_size]` uint8)."""
        if not self.byte_size:
            return rows, rows[..., :0].to(torch.uint8)
        kept: tuple[list[Tensor], list[Tensor]] = ([rows[..., :0]], [rows[..., :0]])
        for field in self.fields:
            kept[field.bytes].append(rows[..., self.slices[field.name]])
        floats, pixels = (torch.cat(parts, -1) for parts in kept)
        return floats, pixels.to(torch.uint8)

    def join(self, floats: Tensor, pixels: Tensor) -> Tensor:
        """The inverse of `split`."""
        if not self.byte_size:
            return floats
        parts, at = [], [0, 0]
        for field in self.fields:
            start = at[field.bytes]
            part = (floats, pixels)[field.bytes][..., start : start + field.size]
            parts.append(part.to(floats.dtype))
            at[field.bytes] += field.size
        return torch.cat(parts, -1)

    # Actions

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """How many choices each counted number of an action has."""
        return tuple(count for field in self.fields for count in field.counts)

    @cached_property
    def boxes(self) -> tuple[Field, ...]:
        return tuple(field for field in self.fields if field.kind == "box")

    @property
    def one_choice(self) -> bool:
        """An action is one integer, without an axis of its own."""
        return len(self.fields) == 1 and self.fields[0].kind == "discrete"

    @cached_property
    def numbers(self) -> int:
        """Numbers of an action's row."""
        return sum(field.numbers for field in self.fields)

    @cached_property
    def kinds(self) -> frozenset[str]:
        """What a method has to be able to give: of "discrete" (one choice), "multi-discrete" (several at a time) and "continuous"."""
        found = {"discrete" if self.one_choice else "multi-discrete"} if self.counts else set()
        return frozenset(found | ({"continuous"} if self.boxes else set()))

    @property
    def kinds_in_words(self) -> str:
        """The kinds of an action as a person sees them, for messages: `discrete ones`, `continuous and discrete ones side by side`."""
        if not (self.counts and self.boxes):
            return f"{''.join(self.kinds)} ones"
        return f"continuous and {'discrete' if len(self.counts) == 1 else 'multi-discrete'} ones side by side"

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) of all numbers of an action's boxes, `[A]` each, in the environment's type."""
        pairs = [field.bounds() for field in self.boxes]
        return np.concatenate([low for low, _ in pairs]), np.concatenate([high for _, high in pairs])
