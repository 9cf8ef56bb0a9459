"""What an environment has to return, and how long it may take to start: every broken rule of the Gymnasium API becomes one line that names it.

All checks are cheap enough to stay on at every step.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import gymnasium
import numpy as np
from gymnasium import spaces

from operant.core.errors import BadInput, RunFailed

STEP_RULE = "step returns (observation, reward, terminated, truncated, info)"
RESET_RULE = "reset returns (observation, info)"


def one_line(value: object, limit: int = 200) -> str:
    """Text of a value or an exception on one line, shortened to `limit` characters."""
    text = " ".join(str(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def place(name: str, row: int | None = None, step: int | None = None) -> str:
    """Start of a message: the environment, the row, and how many steps the rows have made."""
    return f"environment {name!r}" + ("" if row is None else f", row {row}") + ("" if step is None else f", after {step} steps")


def raised(where: str, doing: str, error: BaseException) -> RunFailed:
    """The error for an exception of the environment's own."""
    return RunFailed(f"{where}: {doing} raised {type(error).__name__}: {one_line(error)}")


def supported(name: str, what: str, space: gymnasium.Space) -> None:
    """Raise `BadInput` unless rows with this space can be carried as arrays.

    Args:
        name: the environment.
        what: "observation" or "action".
        space: Box of real numbers (actions: of floats) or Discrete.
    """
    if isinstance(space, spaces.Discrete):
        return
    kinds, words = ("f", "a Box of floats") if what == "action" else ("fiub", "Box")
    if isinstance(space, spaces.Box) and space.dtype.kind in kinds:
        return
    hint = "; gymnasium.wrappers.FlattenObservation makes a Box of it" if what == "observation" and not isinstance(space, spaces.Box) else ""
    raise BadInput(f"environment {name!r}: {what} space {one_line(space)} is not supported; supported are {words} and Discrete{hint}")


class _Late(BaseException):
    """Raised by the alarm inside the environment's code; not an `Exception`, so that the environment's own handlers let it pass."""


@contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Stop Python code that runs for too long.

    The alarm works on the main thread alone, where signals are delivered, and once control is back in Python: a C call that never returns is not
    interrupted. An alarm that was already set is put back with the time that it has left.

    Args:
        seconds: the limit.
        what: start of the message, for example "environment 'X', row 0: reset".

    Raises:
        RunFailed: the limit passed.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def late(signum, frame):
        raise _Late

    started = time.monotonic()
    handler = signal.signal(signal.SIGALRM, late)
    before, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Late:
        raise RunFailed(f"{what} took longer than {seconds:g} s") from None
    finally:
        signal.signal(signal.SIGALRM, handler)
        if before:
            signal.setitimer(signal.ITIMER_REAL, max(before - (time.monotonic() - started), 1e-3), interval)


class Reader:
    """Reads what the rows of one environment return into float32 arrays, and says which rule a wrong value breaks.

    Args:
        name: the environment, for messages.
        space: its observation space, Box or Discrete.

    Attributes:
        size: D, numbers in one flat observation.
    """

    def __init__(self, name: str, space: spaces.Box | spaces.Discrete):
        self.name = name
        self._discrete = isinstance(space, spaces.Discrete)
        self.size = int(space.n) if self._discrete else math.prod(space.shape)
        self._start = int(space.start) if self._discrete else 0
        self._shape = space.shape
        self._flat = len(space.shape) == 1
        self._kinds = "fiub" if space.dtype.kind == "f" else "iub"
        self._declared = space.dtype
        self._accepted: np.dtype | None = None  # the type seen last, so that the usual step compares two pointers

    def broken(self, row: int | None, step: int, what: str) -> RunFailed:
        """The error for a broken rule."""
        return RunFailed(f"{place(self.name, row, step)}: breaks the Gymnasium API: {what}")

    def observation(self, value: object, into: np.ndarray, row: int, step: int) -> None:
        """Write one row's observation into `into[row]` (`[R, D]` float32). Raises `RunFailed` for a wrong shape or type."""
        if self._discrete:
            array = np.asarray(value)
            index = int(array) - self._start if array.shape == () and array.dtype.kind in "iu" else -1
            if not 0 <= index < self.size:
                known = f"an integer from {self._start} to {self._start + self.size - 1}"
                raise self.broken(row, step, f"observation {one_line(value, 60)} is not {known}, as its Discrete observation space says")
            into[row] = 0.0
            into[row, index] = 1.0
            return
        array = value if type(value) is np.ndarray else np.asarray(value)
        if array.shape != self._shape:
            raise self.broken(row, step, f"observation has shape {array.shape}; its observation space says {self._shape}")
        if array.dtype is not self._accepted:
            if array.dtype.kind not in self._kinds:
                raise self.broken(row, step, f"observation has type {array.dtype}; its observation space says {self._declared}")
            self._accepted = array.dtype
        into[row] = array if self._flat else array.reshape(-1)

    def finite(self, observation: np.ndarray, step: int) -> None:
        """Raise `RunFailed` where an observation `[R, D]` has a NaN or an infinite number."""
        fine = np.isfinite(observation)
        if not fine.all():
            row, column = np.argwhere(~fine)[0].tolist()
            raise self.broken(row, step, f"observation element {column} is {observation[row, column]}; every element is a finite number")

    def reset_result(self, result: object, row: int | None, step: int) -> object:
        """The observation out of what `reset` returned."""
        if type(result) is not tuple or len(result) != 2 or not isinstance(result[1], dict):
            raise self.broken(row, step, f"{RESET_RULE}, with info a dict; got {_described(result)}")
        return result[0]

    def step_result(self, result: object, row: int | None, step: int) -> tuple:
        """The five values that `step` returned."""
        if type(result) is not tuple or len(result) != 5:
            raise self.broken(row, step, f"{STEP_RULE}; got {_described(result)}")
        return result

    def reward(self, value: object, row: int, step: int) -> float:
        """One finite number."""
        if type(value) is not float:
            try:
                if np.ndim(value):
                    raise TypeError
                value = float(value)
            except (TypeError, ValueError):
                raise self.broken(row, step, f"reward {one_line(value, 60)} ({type(value).__name__}) is not one number") from None
        if not math.isfinite(value):
            raise self.broken(row, step, f"reward is {value}; it is one finite number")
        return value

    def flag(self, value: object, which: str, row: int, step: int) -> bool:
        """`terminated` or `truncated`: a bool, or NumPy's."""
        if value is True or value is False:
            return value
        array = np.asarray(value)
        if array.shape != () or array.dtype != bool:
            raise self.broken(row, step, f"{which} is {one_line(value, 60)} ({type(value).__name__}); it is True or False")
        return bool(array)


def _described(result: object) -> str:
    """What was returned instead of the tuple that the API asks for."""
    if type(result) is tuple:
        return f"{len(result)} values ({', '.join(type(value).__name__ for value in result)})"
    return f"one {type(result).__name__}"
