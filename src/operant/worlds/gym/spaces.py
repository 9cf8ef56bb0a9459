"""An environment's two spaces as networks see them: flat float32 observations, and actions that are counted from 0 or flat floats.

Training, evaluation, drawing and `Run.policy` all read observations and write actions by what stands here.
"""

from __future__ import annotations

import math

import gymnasium
import numpy as np
from gymnasium import spaces

from operant.core.errors import BadInput

MOST_CHOICES = 4_096  # combinations that are still offered as one choice among so many
WIDEST = 1_000_000  # numbers in one observation or action; a hidden layer of 64 units on so many has 256 MB of weights


def one_line(value: object, limit: int = 200) -> str:
    """Text of a value or an exception on one line, shortened to `limit` characters."""
    text = " ".join(str(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def width(space: spaces.Box | spaces.Discrete) -> int:
    """Numbers in one flat observation or action; a Discrete one counts as one-hot."""
    return int(space.n) if isinstance(space, spaces.Discrete) else math.prod(space.shape)


def supported(name: str, what: str, space: gymnasium.Space) -> None:
    """Raise `BadInput` unless rows with this space can be carried as arrays.

    Args:
        name: the environment.
        what: "observation" or "action".
        space: Box of real numbers (actions: of floats) or Discrete.
    """
    kinds, words = ("f", "a Box of floats") if what == "action" else ("fiub", "Box")
    if not isinstance(space, spaces.Discrete) and not (isinstance(space, spaces.Box) and space.dtype.kind in kinds):
        hint = _flattening(space) if what == "observation" else f"; {_transforming(space)}"
        raise BadInput(f"environment {name!r}: {what} space {one_line(space)} is not supported; supported are {words} and Discrete{hint}")
    if not 0 < width(space) <= WIDEST:
        found = "has no elements" if width(space) == 0 else f"is {width(space):,} numbers wide once it is flat; at most {WIDEST:,} are carried"
        raise BadInput(f"environment {name!r}: {what} space {one_line(space)} {found}")


def _flattening(space: gymnasium.Space) -> str:
    """How to make a Box of an observation space, in words; empty where no wrapper of Gymnasium's does."""

    def flattens(part: gymnasium.Space) -> bool:
        try:
            return isinstance(spaces.flatten_space(part), spaces.Box)
        except (NotImplementedError, ValueError):
            return False

    if flattens(space):
        return "; gymnasium.wrappers.FlattenObservation makes a Box of it"
    if isinstance(space, spaces.Dict) and (fitting := sorted(key for key, part in space.items() if flattens(part))):
        return f"; gymnasium.wrappers.FlattenObservation(FilterObservation(env, {fitting})) makes a Box of what is numbers in it"
    return "; gymnasium.wrappers.TransformObservation can make a Box of it"


def _transforming(space: gymnasium.Space) -> str:
    """How to make a Discrete or a Box of floats of an action space, in words: code that works as it stands, where there is some."""
    shaped = "" if len(space.shape or ()) == 1 else ".reshape(space.shape)"

    def wrapped(function: str, kind: str, made: str) -> str:
        return f"gymnasium.wrappers.TransformAction(env, {function}, gymnasium.spaces.{made}) makes a {kind} of it"

    if isinstance(space, spaces.MultiBinary):
        size = math.prod(space.shape)
        if 2**size <= MOST_CHOICES:
            bits = f"np.array(np.unravel_index(i, [2] * {size}), np.int8){shaped}"
            return wrapped(f"lambda i, space=env.action_space: {bits}", "Discrete", f"Discrete({2**size})")
        return wrapped("lambda a: (a > 0).astype(np.int8)", "Box", "Box(-1, 1, env.action_space.shape)")
    if isinstance(space, spaces.MultiDiscrete):
        start, choices = " + space.start" if space.start.any() else "", math.prod(map(int, space.nvec.ravel()))
        if choices <= MOST_CHOICES:
            kept = f"np.array(np.unravel_index(i, space.nvec.ravel())){shaped}{start}"
            return wrapped(f"lambda i, space=env.action_space: {kept}", "Discrete", f"Discrete({choices})")
        cut = f"lambda a, space=env.action_space: np.minimum(a * space.nvec, space.nvec - 1).astype(int){start}"
        return wrapped(cut, "Box", "Box(0, 1, env.action_space.shape)")
    if isinstance(space, spaces.Box):  # of integers
        rounded = "lambda a, space=env.action_space: np.rint(a).astype(space.dtype)"
        return wrapped(rounded, "Box", "Box(*np.float32([env.action_space.low, env.action_space.high]))")
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = list(space.values() if isinstance(space, spaces.Dict) else space)
        if parts and all(isinstance(part, spaces.Discrete) and part.start == 0 for part in parts):
            counts = [int(part.n) for part in parts]
            if math.prod(counts) <= MOST_CHOICES:
                parted = f"np.unravel_index(i, {counts})"
                made = f"dict(zip(space, {parted}))" if isinstance(space, spaces.Dict) else f"tuple({parted})"
                return wrapped(f"lambda i, space=env.action_space: {made}", "Discrete", f"Discrete({math.prod(counts)})")
        if parts and all(isinstance(part, spaces.Box) and part.dtype.kind == "f" for part in parts):
            return wrapped("lambda a, space=env.action_space: gymnasium.spaces.unflatten(space, a)", "Box", "flatten_space(env.action_space)")
    return "gymnasium.wrappers.TransformAction can make a Discrete or a Box of it"


class Observations:
    """Reads observations as an environment gives them into flat float32 rows: a Box row by row of its elements, Discrete as one-hot.

    Args:
        name: the environment, for messages.
        space: Box or Discrete.

    Attributes:
        size: D, numbers in one flat observation.
    """

    def __init__(self, name: str, space: spaces.Box | spaces.Discrete):
        self._name = name
        self._discrete = isinstance(space, spaces.Discrete)
        self.size = width(space)
        self._start = int(space.start) if self._discrete else 0
        self._shape = space.shape
        self._flat = len(space.shape) == 1
        self._kinds = "fiub" if space.dtype.kind == "f" else "iub"
        self._declared = space.dtype
        self._accepted: np.dtype | None = None  # the type seen last, so that the usual step compares two pointers

    def write(self, value: object, row: np.ndarray) -> None:
        """Write one observation into `row [D]`. Raises `ValueError`, which says what is wrong with it, for a wrong shape or type."""
        if self._discrete:
            array = np.asarray(value)
            index = int(array) - self._start if array.shape == () and array.dtype.kind in "iu" else -1
            if not 0 <= index < self.size:
                known = f"an integer from {self._start} to {self._start + self.size - 1}"
                raise ValueError(f"{one_line(value, 60)} is not {known}, as its Discrete observation space says")
            row[:] = 0.0
            row[index] = 1.0
            return
        array = value if type(value) is np.ndarray else np.asarray(value)
        if array.shape != self._shape:
            raise ValueError(f"has shape {array.shape}; its observation space says {self._shape}")
        if array.dtype is not self._accepted:
            if array.dtype.kind not in self._kinds:
                raise ValueError(f"has type {array.dtype}; its observation space says {self._declared}")
            self._accepted = array.dtype
        row[:] = array if self._flat else array.reshape(-1)

    def rows(self, values: object) -> tuple[np.ndarray, bool]:
        """One observation, or several with an axis in front, as (`[N, D]` float32, whether it was one).

        Raises:
            BadInput: another shape or type, a number that is not finite.
        """
        try:
            array = np.asarray(values)
        except ValueError:  # rows of different lengths
            array = np.empty((), object)
        one = array.shape == self._shape
        if not one and (array.ndim == 0 or array.shape[1:] != self._shape):
            batch = ", ".join(["N", *map(str, self._shape)])
            raise BadInput(f"observations of shape {array.shape}; {self._name} has one of shape {self._shape}, or several of shape ({batch})")
        seen = np.empty((1 if one else len(array), self.size), np.float32)
        for place, value in enumerate(array[None] if one else array):
            try:
                self.write(value, seen[place])
            except ValueError as error:
                raise BadInput(f"{self._name}: observation {error}") from None
        if not np.isfinite(seen).all():
            raise BadInput(f"{self._name}: observation {int(np.argwhere(~np.isfinite(seen))[0, 0])} has a NaN or an infinite number")
        return seen, one


class Actions:
    """Turns actions as policies give them into the environment's own: counted from the space's start, or clipped to its bounds in its own type and shape.

    Args:
        name: the environment, for messages.
        space: Discrete, or a Box of floats.
    """

    def __init__(self, name: str, space: spaces.Box | spaces.Discrete):
        self._name = name
        self._discrete = isinstance(space, spaces.Discrete)
        if self._discrete:
            self._count, self._start = int(space.n), space.start
        else:
            self._low, self._high, self._type, self._shape = space.low.reshape(-1), space.high.reshape(-1), space.dtype, space.shape

    def to_environment(self, action: np.ndarray, rows: int) -> np.ndarray:
        """`[N]` integers from 0, or `[N, A]` floats, as `[N, *shape]` elements of the space; `of_row` takes one out.

        Raises:
            BadInput: not `rows` actions, an integer out of range, or a number that is not finite.
        """
        action = np.asarray(action)
        if self._discrete:
            if action.shape != (rows,) or action.dtype.kind not in "iu":
                raise BadInput(f"environment {self._name!r}: actions of shape {action.shape} and type {action.dtype}; expected ({rows},) integers")
            # Seen as unsigned, a negative number is larger than any count: one comparison for both ends.
            if np.count_nonzero(action.astype(np.int64, copy=False).view(np.uint64) >= self._count):
                raise BadInput(f"environment {self._name!r}: actions {one_line(action.tolist())} are not all from 0 to {self._count - 1}")
            return action + self._start
        if action.shape != (rows, self._low.size):
            raise BadInput(f"environment {self._name!r}: actions of shape {action.shape}; expected ({rows}, {self._low.size})")
        if not np.isfinite(action).all():
            raise BadInput(f"environment {self._name!r}, row {int(np.argwhere(~np.isfinite(action))[0, 0])}: the action has a NaN or an infinite number")
        return np.minimum(np.maximum(action, self._low), self._high).astype(self._type, copy=False).reshape(rows, *self._shape)

    def of_row(self, actions: np.ndarray, row: int) -> np.ndarray | np.integer:
        """One row's action: a NumPy integer (which can be a key), or an array of the space's shape, `()` too."""
        return actions[row] if self._discrete else actions[row, ...]
