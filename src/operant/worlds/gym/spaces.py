"""An environment's two spaces as the library sees them: a `Spec` of each, observations as packed float32 rows, actions as rows that become its own elements.

Training, evaluation, drawing and `Run.policy` all read observations and write actions by what stands here.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from operant.core.errors import BadInput, a_type, one_line
from operant.core.spec import ACTION_MASK, GOAL, Field, Spec

WIDEST = 1_000_000  # numbers in one observation or action; a hidden layer of 64 units on so many has 256 MB of weights
SUPPORTED = "Box, Discrete, MultiDiscrete, MultiBinary, and Dict and Tuple of these"
LARGEST = float(np.finfo(np.float32).max)
WHOLE = 2**24  # up to here float32 has every whole number
MOST_TEXTS = 100_000  # of a space whose texts are gone through for their words

Path = tuple[str | int, ...]  # the keys and places that lead to a part of a space


def leaves(space: gymnasium.Space, path: Path = ()) -> Iterator[tuple[Path, gymnasium.Space]]:
    """The spaces that Dict and Tuple spaces are made of, with where each stands, in the order of the space."""
    if isinstance(space, spaces.Dict):
        for key, part in space.items():
            yield from leaves(part, (*path, key))
    elif isinstance(space, spaces.Tuple):
        for place, part in enumerate(space):
            yield from leaves(part, (*path, place))
    else:
        yield path, space


def words_of(space: gymnasium.Space) -> tuple[tuple[str, ...], int] | None:
    """(the words, how many the longest text has) of a space of texts that can all be written down, as the missions of most MiniGrid tasks; None of others.

    BabyAI's missions are a space of a class of its own, which does not know its texts.
    """
    minigrid = sys.modules.get("minigrid.core.mission")
    if minigrid is None or type(space) is not minigrid.MissionSpace:
        return None
    choices = space.ordered_placeholders or []
    if math.prod(map(len, choices)) > MOST_TEXTS:
        return None
    texts = [space.mission_func(*chosen).split() for chosen in product(*choices)]
    return tuple(sorted({word for text in texts for word in text})), max(map(len, texts))


def space_text(space: gymnasium.Space) -> str:
    """A space in words that are the same in every process: without the addresses that MiniGrid's spaces of missions tell of their functions."""
    return re.sub(r"<(?:function |bound method )?(\S+).*? at 0x[0-9a-f]+>+", r"\1", str(space))


def _has_numbers(space: gymnasium.Space, kinds: str) -> bool:
    if isinstance(space, spaces.Box):
        return space.dtype.kind in kinds
    return isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary) or ("i" in kinds and words_of(space) is not None)


def _field(name: str, space: gymnasium.Space, role: str = "") -> Field:
    """One field of a supported space that is no Dict or Tuple."""

    def once(bound: np.ndarray) -> tuple[float, ...]:
        flat = bound.reshape(-1) if bound.size else np.zeros(1)
        return (flat[0].item(),) if (flat == flat[0]).all() else tuple(flat.tolist())

    if isinstance(space, spaces.Box):
        return Field(name, space.shape, str(space.dtype), low=once(space.low), high=once(space.high), role=role)
    if isinstance(space, spaces.Discrete):
        return Field(name, (), "int64", "discrete", (int(space.n),), (int(space.start),), role=role)
    if isinstance(space, spaces.MultiDiscrete):
        counts, starts = (tuple(map(int, numbers.reshape(-1))) for numbers in (space.nvec, space.start))
        return Field(name, space.shape, str(space.dtype), "multi-discrete", counts, starts, role=role)
    if (said := words_of(space)) is not None:
        words, longest = said
        return Field(name, (longest,), "int64", "multi-discrete", (len(words) + 1,) * longest, (0,) * longest, role=role)
    size = math.prod(space.shape)
    return Field(name, space.shape, "int8", "multi-binary", (2,) * size, (0,) * size, role=role)


def _parts(name: str, what: str, space: gymnasium.Space) -> list[tuple[Path, str, gymnasium.Space]]:
    """(path, field's name, space) of each part of a space. Raises `BadInput` where it cannot be carried in rows."""
    kinds = "f" if what == "action" else "fiub"
    found = [(path, ".".join(map(str, path)) or what, part) for path, part in leaves(space)]
    place = f"environment {name!r}: {what} space {one_line(space_text(space))}"
    if wrong := [(path, part) for path, _, part in found if not _has_numbers(part, kinds)]:
        path, part = wrong[0]
        which = f" is not supported: {'.'.join(map(str, path))!r} is {one_line(space_text(part), 60)}" if path else " is not supported"
        boxes = " (Boxes of floats)" if what == "action" else ""
        raise BadInput(f"{place}{which}; supported are {SUPPORTED}{boxes}{_hint(what, space)}")
    if len({part for _, part, _ in found}) < len(found):
        raise BadInput(f"{place} has two parts of one name once nested keys are joined by dots")
    fields = [_field(part, leaf) for _, part, leaf in found]
    for field in fields:
        if field.size == 0 or field.numbers == 0:
            raise BadInput(f"{place} has no elements" + (f" in {field.name!r}" if len(fields) > 1 else ""))
    if not fields:
        raise BadInput(f"{place} has no elements")
    if (wide := sum(max(field.size, sum(field.counts)) for field in fields)) > WIDEST:
        raise BadInput(f"{place} is {wide:,} numbers wide once it is flat; at most {WIDEST:,} are carried")
    return found


def _hint(what: str, space: gymnasium.Space) -> str:
    """How to make a space that is supported of one that is not, in words: code that works as it stands, where there is some."""
    if what == "action":
        if isinstance(space, spaces.Box):  # of integers
            rounded = "lambda a, space=env.action_space: np.rint(a).astype(space.dtype)"
            box = "gymnasium.spaces.Box(*np.float32([env.action_space.low, env.action_space.high]))"
            return f"; gymnasium.wrappers.TransformAction(env, {rounded}, {box}) makes a Box of floats of it"
        return "; gymnasium.wrappers.TransformAction can make one of these of it"
    if isinstance(space, spaces.Dict):
        fitting = sorted(key for key, part in space.items() if all(_has_numbers(leaf, "fiub") for _, leaf in leaves(part)))
        if fitting:
            return f"; gymnasium.wrappers.FilterObservation(env, {fitting}) keeps the rest of it"
    return "; gymnasium.wrappers.TransformObservation can make one of these of it"


def action_spec(name: str, space: gymnasium.Space) -> Spec:
    """What an action consists of: what is counted, and then boxes. Raises `BadInput` for a space that is not supported, or bounds that float32 has not."""
    fields = [_field(part, leaf) for _, part, leaf in _parts(name, "action", space)]
    ends = [bound for field in fields for bound in (*field.low, *field.high) if LARGEST < abs(bound) < math.inf]
    if ends:
        nearest = math.copysign(LARGEST, ends[0])
        raise BadInput(f"environment {name!r}: actions have a bound of {ends[0]:g}, and are given as float32; nearest: {nearest:.3g}, or an infinite one")
    return Spec(tuple(sorted(fields, key=lambda field: field.kind == "box")))


def scaled(name: str, action: Spec) -> Spec:
    """The same actions, of whose numbers −1 to 1 is the whole range to whoever gives them. Raises `BadInput` where there is no such range."""
    if not action.boxes:
        raise BadInput(f"rescale_action: actions of {name} are choices, which have no range; leave it out")
    low, high = action.bounds()
    if (endless := ~(np.isfinite(low) & np.isfinite(high))).any():
        place = int(endless.argmax())
        raise BadInput(f"rescale_action: number {place} of an action of {name} is from {low[place]:g} to {high[place]:g}, which has no middle; leave it out")
    return Spec(tuple(replace(field, scaled=field.kind == "box") for field in action.fields))


def observation_spec(name: str, space: gymnasium.Space, action: Spec, *, masked: bool = False) -> Spec:
    """What an observation consists of.

    Args:
        name: the environment, for messages.
        action: of the same environment, which an action mask speaks of.
        masked: the mask does not stand in the observation, and is its last field.

    Raises:
        BadInput: a space that is not supported, or a mask of another length than the choices.
    """
    choices = sum(action.counts)
    fields = []
    for path, part, leaf in _parts(name, "observation", space):
        masks = path == (ACTION_MASK,) and choices > 0
        field = _field(part, leaf, "action_mask" if masks else "goal" if path == (GOAL,) else "")
        if masks and (field.numbers != choices or field.kind in ("discrete", "multi-discrete")):
            raise BadInput(f"environment {name!r}: the action mask in its observation is {one_line(leaf)}; it is 1 or 0 for each of {choices} choices")
        fields.append(field)
    if masked:
        fields.append(Field(ACTION_MASK, (choices,), "int8", low=(0.0,), high=(1.0,), role="action_mask"))
    if all(field.role == "action_mask" for field in fields):
        raise BadInput(f"environment {name!r}: observation space {one_line(space)} has nothing but an action mask")
    return Spec(tuple(fields))


def coarse(spec: Spec, rows: np.ndarray) -> str:
    """In words the first field of observations `[N, D]` whose numbers are so large that float32 has not every whole one, while the environment's type has more;
    empty where there is none."""
    for field in spec.fields:
        if field.kind == "box" and not np.can_cast(field.dtype, np.float32):
            largest = np.abs(rows[:, spec.slices[field.name]]).max()
            if WHOLE < largest < np.inf:
                one = f"{np.spacing(np.float32(largest)):,.0f}"
                return f"{field.name} has numbers of up to {largest:,.0f} in size, of which float32, as it is kept, has one in {one}: shift them towards 0"
    return ""


class _Part:
    """Reads one field of an observation into its place of a row."""

    def __init__(self, field: Field, path: Path, place: slice, space: gymnasium.Space):
        self.field, self.path, self.place = field, path, place
        said = words_of(space)
        self._words = None if said is None else {word: number for number, word in enumerate(said[0], 1)}  # 0 is no word
        self.shape = field.shape if said is None else ()  # of one as the environment has it
        self._one_hot = field.kind in ("discrete", "multi-discrete")
        self._shape, self._flat = field.shape, len(field.shape) == 1
        self._counts, self._starts = np.array(field.counts), np.array(field.starts)
        self._first = np.cumsum(self._counts) - self._counts
        kind = np.dtype(field.dtype).kind
        self._kinds = "iu" if self._one_hot else "fiub" if kind == "f" or field.role == "action_mask" else "iub"
        bits = (field.kind == "multi-binary" or field.bytes) and field.role == ""
        self._most = 255 if field.dtype == "uint8" and field.kind == "box" else 1 if bits else None  # the largest byte, or bit
        self._within = np.dtype(np.uint8 if self._most == 255 else bool)  # the type that has no other numbers
        self._accepted: np.dtype | None = None  # the type seen last, so that the usual step compares two pointers

    def write(self, value: object, row: np.ndarray) -> None:
        """Write one value into `row [size]`. Raises `ValueError`, which says what is wrong with it, for a wrong shape or type."""
        if self._one_hot:
            array = np.asarray(value) if self._words is None else self._numbered(value)
            if array.shape != self._shape or array.dtype.kind not in "iu":
                raise ValueError(f"{one_line(value, 60)} is not {self._known()}")
            index = array.reshape(-1).astype(np.int64) - self._starts
            if not ((index >= 0) & (index < self._counts)).all():
                raise ValueError(f"{one_line(value, 60)} is not {self._known()}")
            row[:] = 0.0
            row[self._first + index] = 1.0
            return
        array = value if type(value) is np.ndarray else np.asarray(value)
        if array.shape != self._shape:
            raise ValueError(f"has shape {array.shape}; its observation space says {self._shape}")
        if array.dtype is not self._accepted:
            if array.dtype.kind not in self._kinds:
                raise ValueError(f"has type {array.dtype}; its observation space says {self.field.dtype}")
            self._accepted = array.dtype
        if self._most is not None and array.dtype != self._within and not ((array >= 0) & (array <= self._most)).all():
            holds = "MultiBinary" if self.field.kind == "multi-binary" else self._within
            raise ValueError(f"has numbers from {array.min()} to {array.max()}; {holds} holds 0 to {self._most}")
        row[:] = array if self._flat else array.reshape(-1)

    def _numbered(self, text: object) -> np.ndarray:
        """The numbers of a text's words, filled up with 0."""
        said = text.split() if isinstance(text, str) else None
        if said is None or len(said) > self._shape[0] or (unknown := [word for word in said if word not in self._words]):
            why = f" (the word {unknown[0]!r} is none of them)" if said and len(said) <= self._shape[0] else ""
            raise ValueError(f"{one_line(text, 60)!r} is no text of at most {self._shape[0]} words of those that its space knows{why}")
        return np.array([self._words[word] for word in said] + [0] * (self._shape[0] - len(said)))

    def _known(self) -> str:
        first, last = self._starts, self._starts + self._counts - 1
        if self.field.kind == "discrete":
            return f"an integer from {first[0]} to {last[0]}, as its Discrete observation space says"
        known = f"from {one_line(first.tolist(), 60)} to {one_line(last.tolist(), 60)}"
        return f"integers of shape {self._shape} {known}, as its MultiDiscrete observation space says"


class Observations:
    """Reads observations as an environment gives them into packed float32 rows (see `Spec`).

    Args:
        name: the environment, for messages.
        space: of its observations.
        spec: what a row consists of.
        action: what an action consists of, whose choices masks speak of.

    Attributes:
        size: D, numbers in one row.
        beside: the action mask does not stand in the observation.
    """

    def __init__(self, name: str, space: gymnasium.Space, spec: Spec, action: Spec):
        self._name, self._space, self.spec, self.size = name, space, spec, spec.size
        self._choosing = [field.name for field in action.fields if field.counts]
        self._counts = np.array(action.counts, np.int64)
        self._parts = [_Part(field, path, spec.slices[field.name], leaf) for (path, leaf), field in zip(leaves(space), spec.fields, strict=False)]
        self._whole = self._parts[0] if len(self._parts) == 1 and self._parts[0].path == () else None
        self.beside = len(spec.fields) > len(self._parts)
        self._observed = self.size if not self.beside else spec.mask.start

    def write(self, value: object, row: np.ndarray) -> None:
        """Write one observation into `row [D]`. Raises `ValueError`, which says what is wrong with it, for a wrong shape or type."""
        if self._whole is not None:
            self._whole.write(value, row[: self._observed])
            return
        for part in self._parts:
            try:
                part.write(_at(value, part.path), row[part.place])
            except ValueError as error:
                raise ValueError(f"{part.field.name!r} {error}") from None

    def write_mask(self, mask: object, row: np.ndarray) -> None:
        """Write an action mask that does not stand in the observation into `row [D]`: 1 for what is allowed, else 0, in one array or one for each choice (by
        their names, where the action space is a Dict). Raises `ValueError`."""
        if isinstance(mask, dict):
            if missing := [name for name in self._choosing if name not in mask]:
                raise ValueError(f"has no {missing[0]!r}")
            mask = [mask[name] for name in self._choosing]
        flat = _flat(mask)
        choices = self.size - self._observed
        if flat.shape != (choices,) or flat.dtype.kind not in "fiub":
            raise ValueError(f"has {flat.size} entries of type {flat.dtype}; it is 1 or 0 for each of {choices} choices")
        row[self._observed :] = flat

    def allow_all(self, row: np.ndarray) -> None:
        """Write a mask that forbids nothing into `row [D]`: of an outcome in which nobody acts again, where it is not known or allows nothing."""
        row[self.spec.mask] = 1.0

    def rows(self, values: object, mask: object = None) -> tuple[np.ndarray, bool]:
        """One observation, or several with an axis in front (of a Dict or Tuple space in each part, or as a list), as (`[N, D]` float32, whether it was one).

        Args:
            mask: the action mask, or as many, where it does not stand in the observation.

        Raises:
            BadInput: another shape or type, a number that is not finite, or a mask that is missing, in vain or forbids everything.
        """
        elements, one = self._elements(values)
        seen = np.empty((len(elements), self.size), np.float32)
        for place, value in enumerate(elements):
            try:
                self.write(value, seen[place])
            except ValueError as error:
                raise BadInput(f"{self._name}: observation {error}") from None
        self._mask_rows(mask, seen, one)
        if not np.isfinite(seen).all():
            raise BadInput(f"{self._name}: observation {int(np.argwhere(~np.isfinite(seen))[0, 0])} has a NaN or an infinite number")
        if self.spec.mask is not None and (found := self.forbidden(seen)) is not None:
            raise BadInput(f"{self._name}: the action mask of observation {found[0]} {found[1]}")
        return seen, one

    def _mask_rows(self, mask: object, seen: np.ndarray, one: bool) -> None:
        if not self.beside:
            if mask is not None:
                raise BadInput(f"{self._name}: action_mask is given, and this environment has none" + (" beside its observations" if self.spec.mask else ""))
            return
        if mask is None:
            raise BadInput(f"{self._name}: give its action mask too: policy(observation, action_mask=…), as info['action_mask'] or env.action_masks() has it")
        masks = [mask] if one else list(mask)
        if len(masks) != len(seen):
            raise BadInput(f"{self._name}: {len(masks)} action masks for {len(seen)} observations")
        for row, value in zip(seen, masks, strict=True):
            try:
                self.write_mask(value, row)
            except ValueError as error:
                raise BadInput(f"{self._name}: the action mask {error}") from None

    def _elements(self, values: object) -> tuple[list[Any] | np.ndarray, bool]:
        if self._whole is None:
            return self._nested_elements(values)
        try:
            array = np.empty((), object) if isinstance(values, dict) else np.asarray(values)
        except ValueError:  # rows of different lengths
            array = np.empty((), object)
        shape = self._whole.shape
        one = array.shape == shape
        if not one and (array.ndim == 0 or array.shape[1:] != shape):
            batch = ", ".join(["N", *map(str, shape)])
            found = f"a dict of {one_line(', '.join(map(str, values)), 60)}" if isinstance(values, dict) else f"observations of shape {array.shape}"
            raise BadInput(f"{found}; {self._name} has one of shape {shape}, or several of shape ({batch})")
        return (array[None] if one else array), one

    def _nested_elements(self, values: object) -> tuple[list[Any], bool]:
        """Elements of a Dict or Tuple space: one, a list of some, or one whose every part has an axis in front."""
        if isinstance(values, list) and all(isinstance(value, dict | tuple) for value in values):
            return values, False
        shapes = []
        for part in self._parts:
            try:
                shapes.append((part, np.shape(_at(values, part.path))))
            except ValueError as error:
                raise BadInput(f"{self._name}: observation {part.field.name!r} {error}; {self._wanted()}") from None
        if all(shape == part.shape for part, shape in shapes):
            return [values], True
        lengths = {shape[0] if shape[1:] == part.shape and shape else None for part, shape in shapes}
        if len(lengths) == 1 and None not in lengths:
            return [_take(values, place) for place in range(lengths.pop())], False
        part, shape = next(((part, shape) for part, shape in shapes if shape != part.shape and shape[1:] != part.shape), shapes[-1])
        batch = ", ".join(["N", *map(str, part.shape)])
        said = f"one of shape {part.shape}, or several of shape ({batch}), of all parts alike"
        raise BadInput(f"observations whose {part.field.name!r} has shape {shape}; {self._name} has {said}; {self._wanted()}")

    def _wanted(self) -> str:
        """The keys, or places, and shapes of one observation, in words."""
        parts = ", ".join(f"{'.'.join(map(str, part.path))}: {part.shape}" for part in self._parts)
        return f"the parts of one observation and their shapes are {{{one_line(parts, 300)}}}, and several have an axis in front of each"

    def forbidden(self, rows: np.ndarray) -> tuple[int, str] | None:
        """The first of `rows [N, D]` in which nobody can act, and why: its mask is no mask, or forbids all of a choice. None where all can."""
        mask = rows[:, self.spec.mask]
        no_mask = ((mask != 0) & (mask != 1)).any(1)
        wrong = no_mask | self.stuck(rows)
        if not wrong.any():
            return None
        row = int(wrong.argmax())
        found = one_line(mask[row].tolist(), 80)
        return row, f"is {found}; it is 1 or 0 for each choice" if no_mask[row] else f"forbids every action: {found}"

    def stuck(self, rows: np.ndarray) -> np.ndarray:
        """In which of `rows [N, D]` the mask forbids all of a choice, `[N]` bool."""
        return (np.add.reduceat(rows[:, self.spec.mask], np.cumsum(self._counts) - self._counts, axis=1) == 0).any(1)


def as_given(field: Field, rows: np.ndarray) -> np.ndarray:
    """Rows `[N, size]` of a field as the environment has it, `[N, *shape]`."""
    if field.kind in ("discrete", "multi-discrete"):
        parts = np.split(rows, np.cumsum(field.counts)[:-1], axis=1)
        rows = np.stack([part.argmax(1) + start for part, start in zip(parts, field.starts, strict=True)], 1)
    return rows.astype(field.dtype).reshape(len(rows), *field.shape)


def _at(value: Any, path: Path) -> Any:
    """A part of an element of a Dict or Tuple space. Raises `ValueError` where there is none."""
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            if isinstance(value, dict | tuple):
                raise ValueError(f"is missing: {one_line(value, 60)} has no {key!r}") from None
            raise ValueError(f"is missing: a {'dict' if isinstance(key, str) else 'tuple'} is expected, and {one_line(value, 60)} is {a_type(value)}") from None
    return value


def _take(value: Any, place: int) -> Any:
    """Element `place` of a batch of elements."""
    if isinstance(value, dict):
        return {key: _take(part, place) for key, part in value.items()}
    return tuple(_take(part, place) for part in value) if isinstance(value, tuple) else np.asarray(value)[place]


def _flat(mask: Any) -> np.ndarray:
    """A mask in one array or several as `[choices]`."""
    if isinstance(mask, tuple | list):
        parts = [_flat(part) for part in mask]
        return np.concatenate(parts) if parts else np.zeros(0)
    return np.asarray(mask).reshape(-1)


class Actions:
    """Turns actions as policies give them into the environment's own: counted from the space's start, or clipped to its bounds, each in its own type and shape.

    Args:
        name: the environment, for messages.
        space: of its actions.
    """

    def __init__(self, name: str, space: gymnasium.Space):
        self._name, self._space, self.spec = name, space, action_spec(name, space)
        paths = {".".join(map(str, path)) or "action": path for path, _ in leaves(space)}
        self._parts: list[tuple[Path, slice, Callable[[np.ndarray], np.ndarray]]] = []
        at = 0
        for field in self.spec.fields:
            make = self._numbers if field.kind == "box" else self._choices
            self._parts.append((paths[field.name], slice(at, at + field.numbers), make(field)))
            at += field.numbers
        self._width = at
        self._counted = not self.spec.boxes

    def to_environment(self, action: np.ndarray, rows: int) -> Any:
        """Actions of `rows` rows as a batch of elements of the space, arrays `[N, *shape]` (of a Dict or Tuple space one in each part); `of_row` takes one out.

        Args:
            action: `[N]` integers from 0 where it is one choice, `[N, K]` integers where it is several, else `[N, K + A]`: choices, and then numbers.

        Raises:
            BadInput: not `rows` actions, an integer out of range, or a number that is not finite.
        """
        action = np.asarray(action)
        wanted = (rows,) if self.spec.one_choice else (rows, self._width)
        if action.shape != wanted or (self._counted and action.dtype.kind not in "iu"):
            found = f"actions of shape {action.shape}" + (f" and type {action.dtype}" if self._counted else "")
            expected = f"({rows},) integers" if self.spec.one_choice else f"({rows}, {self._width})" + " integers" * self._counted
            raise BadInput(f"environment {self._name!r}: {found}; expected {expected}")
        if self.spec.one_choice:
            return self._placed([self._parts[0][2](action)])
        if not self._counted and not np.isfinite(action).all():
            raise BadInput(f"environment {self._name!r}, row {int(np.argwhere(~np.isfinite(action))[0, 0])}: the action has a NaN or an infinite number")
        return self._placed([make(action[:, place]) for _, place, make in self._parts])

    def of_row(self, actions: Any, row: int) -> Any:
        """One row's action, an element of the space: a NumPy integer (which can be a key) of a Discrete part, else an array of its shape, `()` too."""

        def taken(space: gymnasium.Space, value: Any) -> Any:
            if isinstance(space, spaces.Dict):
                return {key: taken(part, value[key]) for key, part in space.items()}
            if isinstance(space, spaces.Tuple):
                return tuple(taken(part, one) for part, one in zip(space, value, strict=True))
            return value[row] if isinstance(space, spaces.Discrete) else value[row, ...]

        return taken(self._space, actions)

    def _placed(self, values: list[np.ndarray]) -> Any:
        """Values of all parts where they stand in the space."""
        if not isinstance(self._space, spaces.Dict | spaces.Tuple):
            return values[0]
        by_path = {path: value for (path, _, _), value in zip(self._parts, values, strict=True)}

        def placed(space: gymnasium.Space, path: Path) -> Any:
            if isinstance(space, spaces.Dict):
                return {key: placed(part, (*path, key)) for key, part in space.items()}
            if isinstance(space, spaces.Tuple):
                return tuple(placed(part, (*path, place)) for place, part in enumerate(space))
            return by_path[path]

        return placed(self._space, ())

    def _choices(self, field: Field) -> Callable[[np.ndarray], np.ndarray]:
        counts, starts, dtype = np.array(field.counts, np.uint64), np.array(field.starts, np.int64), field.dtype
        if field.kind == "discrete":
            counts, starts = counts[0], starts[0]

        def made(action: np.ndarray) -> np.ndarray:
            whole = action.astype(np.int64, copy=False)
            # Seen as unsigned, a negative number is larger than any count: one comparison for both ends.
            if np.count_nonzero(whole.view(np.uint64) >= counts):
                known = f"0 to {int(counts) - 1}" if field.kind == "discrete" else f"0 to {one_line([count - 1 for count in counts.tolist()], 60)}"
                raise BadInput(f"environment {self._name!r}: actions {one_line(action.tolist())} are not all from {known}")
            if field.kind == "discrete":
                return (whole[:, 0] if whole.ndim == 2 else whole) + starts
            return (whole + starts).astype(dtype).reshape(len(whole), *field.shape)

        return made

    def _numbers(self, field: Field) -> Callable[[np.ndarray], np.ndarray]:
        (low, high), dtype, shape = field.bounds(), np.dtype(field.dtype), field.shape

        def made(action: np.ndarray) -> np.ndarray:
            return np.minimum(np.maximum(action, low), high).astype(dtype, copy=False).reshape(len(action), *shape)

        return made
