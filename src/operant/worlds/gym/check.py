"""What an environment has to return, and how long it may take to start: every broken rule of the Gymnasium API becomes one line that names it.

All checks are cheap enough to stay on at every step.
"""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import gymnasium
import numpy as np

from operant.core.errors import CODE, OperantError, RunFailed, one_line
from operant.core.spec import ACTION_MASK, Spec
from operant.worlds.gym.spaces import LARGEST, Observations, observation_spec

GYMNASIUM = "the Gymnasium API"
STEP_RULE = "step returns (observation, reward, terminated, truncated, info)"
RESET_RULE = "reset returns (observation, info)"
PATIENCE = 60.0  # seconds that a call of an environment may take
SUCCESS = "is_success"  # in the info of an episode's last step, as Gymnasium-Robotics and Stable-Baselines3 have it


HELD: list[int] = []
"""The run's rows that this process has, where it is a worker; empty where it has all."""


def place(name: str, row: int | None = None, step: int | None = None) -> str:
    """Start of a message: the environment, the run's row, and how many steps the rows have made."""
    return f"environment {name!r}" + ("" if row is None else f", row {HELD[row] if HELD else row}") + ("" if step is None else f", after {step} steps")


# From an environment, what came with its observation and whether an episode ended with it: the action mask, None where there is none.
Masks = Callable[[Any, dict, bool], object | None]


def from_nowhere(env: Any, info: dict, ended: bool) -> object | None:
    """No mask beside the observation."""
    return None


def from_info(env: Any, info: dict, ended: bool) -> object | None:
    return info.get(ACTION_MASK)


def from_method(env: gymnasium.Env, info: dict, ended: bool) -> object | None:
    """What the environment's `action_masks()` says, as sb3-contrib's MaskablePPO asks it; nobody acts where an episode ended."""
    return None if ended else env.get_wrapper_attr("action_masks")()


def masks_of(env: gymnasium.Env, info: dict) -> Masks:
    """Where an environment's action mask comes from, beside its observations.

    Args:
        info: of its first reset.
    """
    if env.has_wrapper_attr("action_masks"):
        return from_method
    return from_info if ACTION_MASK in info else from_nowhere


class BrokenRule(RunFailed):
    """An environment broke the rules of its API."""


def raised(where: str, doing: str, error: BaseException) -> RunFailed:
    """The error for whatever the environment's own code raised. An error of Operant's, and what stops from outside, is raised on."""
    if isinstance(error, OperantError | KeyboardInterrupt | Late):
        raise error
    return RunFailed(f"{where}: {doing} raised {type(error).__name__}: {one_line(error)}")


def too_late(where: str, seconds: float, doing: str = "step") -> RunFailed:
    """The error for a step, or another call, that `WATCH` has stopped."""
    return RunFailed(f"{where}: {doing} took longer than {seconds:g} s")


def seeded(reset: Callable[[Callable[[int], int]], Any], seed: list[int] | int) -> Any:
    """What a reset gives with its seed, or, where one that is 2³¹ or larger is refused (NumPy's older generators take 32 bits), with the remainder.

    Args:
        reset: given what makes of a seed the one that is taken.
    """
    try:
        return reset(lambda one: one)
    except OperantError:
        raise
    except CODE:
        if max(seed if isinstance(seed, list) else [seed]) < 2**31:
            raise
        return reset(lambda one: one % 2**31)


class Closing(Protocol):
    def close(self) -> object: ...


def closed(env: Closing, where: str, seconds: float = PATIENCE) -> None:
    """Close an environment; what it raises is told, and so is that it took too long. Neither spoils anything that is done."""
    try:
        with time_limit(seconds, f"{where}: close"):
            env.close()
    except OperantError as error:
        warnings.warn(str(error), RuntimeWarning, stacklevel=2)
    except BaseException as error:
        warnings.warn(str(raised(where, "close", error)), RuntimeWarning, stacklevel=2)


class Late(BaseException):
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
        raise Late

    started = time.monotonic()
    handler = signal.signal(signal.SIGALRM, late)
    before, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Late:
        raise RunFailed(f"{what} took longer than {seconds:g} s") from None
    finally:
        signal.signal(signal.SIGALRM, handler)
        if before:
            signal.setitimer(signal.ITIMER_REAL, max(before - (time.monotonic() - started), 1e-3), interval)


class Watch:
    """Stops a step that hangs, or another call that is made as often, at the cost of two assignments each: a thread looks now and then whether the same one is
    still going on, and rings.

    As `time_limit` it works for steps on the main thread, and once control is back in Python. One step is made at a time, so all environments share one watch.

    Attributes:
        step: what is made now, another object each time; None between steps.
    """

    def __init__(self) -> None:
        self.step: object | None = None
        self._late: object | None = None
        self._limits: list[float] = []  # of those who watch
        self._wake, self._thread, self._before = threading.Event(), threading.Thread(), signal.SIG_DFL

    def open(self, seconds: float) -> bool:
        """Watch from now on: a step is stopped that goes on at two looks, of which there is one in so many seconds. Whether that can be done here."""
        if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_kill"):
            return False
        if not self._limits:
            self._before = signal.signal(signal.SIGALRM, self._ring)
        self._limits.append(seconds)
        self._wake.set()
        if not self._thread.is_alive():
            self._thread = threading.Thread(target=self._look, name="operant-watch", daemon=True)
            self._thread.start()
        return True

    def close(self, seconds: float) -> None:
        """Who has opened it watches no more."""
        self._limits.remove(seconds)
        if not self._limits and threading.current_thread() is threading.main_thread():
            self._wake.set()
            self._thread.join()
            signal.signal(signal.SIGALRM, self._before)

    def _look(self) -> None:
        seen = None
        while limits := list(self._limits):
            if self._wake.wait(min(limits)):  # somebody came or went
                self._wake.clear()
                continue
            if self.step is not None and self.step is seen:
                self._late = seen
                signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)
            seen = self.step

    def _ring(self, signum: int, frame: object) -> None:
        if self.step is not None and self.step is self._late:
            raise Late


WATCH = Watch()

_told: set[str] = set()  # environments of which it was said that observations leave their space


class Reader:
    """Reads what the rows of one environment return into float32 arrays, and says which rule a wrong value breaks.

    Args:
        name: the environment, for messages.
        space: its observation space.
        action: what its actions consist of.
        api: what it breaks by wrong values, for messages.
        tells: it says once where an observation leaves its space.

    Attributes:
        size: D, numbers in one packed observation.
        spec: what it consists of.
    """

    def __init__(self, name: str, space: gymnasium.Space, action: Spec, api: str = GYMNASIUM, *, tells: bool = True):
        self.name, self._api, self._tells = name, api, tells
        self._space, self._action = space, action
        self._masks: Masks = from_nowhere
        self._lay(masked=False)

    def _lay(self, *, masked: bool) -> None:
        self.spec = observation_spec(self.name, self._space, self._action, masked=masked)
        self._observations = Observations(self.name, self._space, self.spec, self._action)
        self.size = self.spec.size
        self._bounds = None
        fields = [field for field in self.spec.fields if field.kind == "box" and field.role != "action_mask"]
        if self._tells and self.name not in _told and any(np.isfinite(bound).any() for field in fields for bound in field.bounds()):
            low, high = np.full(self.size, -np.inf, np.float32), np.full(self.size, np.inf, np.float32)
            for field in fields:
                with np.errstate(over="ignore"):  # a bound that float32 has not is none
                    low[self.spec.slices[field.name]], high[self.spec.slices[field.name]] = field.bounds()
            self._bounds = low, high

    def find_mask(self, masks: Masks) -> None:
        """Take the action mask from `masks`, where an environment gives one beside its observations."""
        if masks is not from_nowhere and self._action.counts and self.spec.mask is None:
            self._masks = masks
            self._lay(masked=True)

    @property
    def mask_place(self) -> str:
        """Where the action mask is read from, in words."""
        if self.spec.mask is None:
            return "none"
        return {from_info: f"info[{ACTION_MASK!r}]", from_method: "its method action_masks()"}.get(self._masks, f"{ACTION_MASK!r} of its observation")

    def mask(self, source: object, info: dict, into: np.ndarray, row: int, step: int, *, ended: bool = False) -> None:
        """Write one row's action mask into `into[row]`, where it stands beside the observation.

        Of an outcome that `ended` an episode it may be missing, or allow nothing: it then allows everything, for what is cut still has a value, which is that
        of some action.

        Args:
            source: the environment, which may have it.
            info: what came with the observation, which may have it.
        """
        if self.spec.mask is None:
            return
        if self._observations.beside:
            found = self._masks(source, info, ended)
            if found is None:
                if not ended:
                    raise self.broken(row, step, "info['action_mask'] was there at the first reset, and is missing now")
                self._observations.allow_all(into[row])
                return
            try:
                self._observations.write_mask(found, into[row])
            except ValueError as error:
                raise self.broken(row, step, f"the action mask {error}") from None
        if ended and self._observations.stuck(into[row : row + 1])[0]:
            self._observations.allow_all(into[row])

    def release(self, observation: np.ndarray, ended: np.ndarray) -> None:
        """As `mask` does, of outcomes `[R, D]` whose masks are written already: those that `ended` and allow nothing allow everything."""
        if self.spec.mask is not None:
            for row in (ended & self._observations.stuck(observation)).nonzero()[0]:
                self._observations.allow_all(observation[row])

    def playable(self, observation: np.ndarray, step: int) -> None:
        """Raise `RunFailed` where a mask in observations `[R, D]` that are acted on is no mask, or forbids everything."""
        if self.spec.mask is not None and (found := self._observations.forbidden(observation)) is not None:
            raise self.broken(found[0], step, f"the action mask {found[1]}")

    def broken(self, row: int | None, step: int, what: str) -> BrokenRule:
        """The error for a broken rule."""
        return BrokenRule(f"{place(self.name, row, step)}: breaks {self._api}: {what}")

    def observation(self, value: object, into: np.ndarray, row: int, step: int) -> None:
        """Write one row's observation into `into[row]` (`[R, D]` float32). Raises `RunFailed` for a wrong shape or type."""
        try:
            self._observations.write(value, into[row])
        except ValueError as error:
            raise self.broken(row, step, f"observation {error}") from None

    def finite(self, observation: np.ndarray, step: int) -> None:
        """Raise `RunFailed` where an observation `[R, D]` has a NaN or an infinite number; tell once where one is outside its space."""
        if self._bounds is not None:
            self._within(observation, step)
        fine = np.isfinite(observation)
        if not fine.all():
            row, column = np.argwhere(~fine)[0].tolist()
            found = f"observation element {column} is {observation[row, column]}"
            raise self.broken(row, step, f"{found}; every element is a finite number, at most {LARGEST:.3g} in size")

    def _within(self, observation: np.ndarray, step: int) -> None:
        low, high = self._bounds
        outside = (observation < low) | (observation > high)
        if outside.any():
            self._bounds = None
            _told.add(self.name)
            row, column = np.argwhere(outside)[0].tolist()
            found = f"observation element {column} is {observation[row, column]:g}, outside [{low[column]:g}, {high[column]:g}]"
            warnings.warn(f"{place(self.name, row, step)}: {found}, as its observation space says; told once", RuntimeWarning, stacklevel=2)

    def reset_result(self, result: object, row: int | None, step: int) -> tuple[object, dict]:
        """(observation, info) out of what `reset` returned."""
        if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], dict):
            raise self.broken(row, step, f"{RESET_RULE}, with info a dict; got {_described(result)}")
        return result

    def step_result(self, result: object, row: int | None, step: int) -> tuple:
        """The five values that `step` returned."""
        if not isinstance(result, tuple) or len(result) != 5 or not isinstance(result[4], dict):
            raise self.broken(row, step, f"{STEP_RULE}, with info a dict; got {_described(result)}")
        return result

    def reward(self, value: object, row: int, step: int) -> float:
        """One finite number."""
        if type(value) is not float:
            try:
                if np.ndim(value) or isinstance(value, str | bytes):
                    raise TypeError
                value = float(value)
            except OverflowError:  # an integer that no float holds
                value = np.inf
            except (TypeError, ValueError):
                raise self.broken(row, step, f"reward {one_line(value, 60)} ({type(value).__name__}) is not one number") from None
        if not -LARGEST <= value <= LARGEST:  # a NaN is not, either
            raise self.broken(row, step, f"reward is {value:g}; it is one finite number, at most {LARGEST:.3g} in size")
        return value

    def flag(self, value: object, which: str, row: int, step: int) -> bool:
        """`terminated` or `truncated`: a bool, or NumPy's."""
        if value is True or value is False:
            return value
        array = array_of(value)
        if array.shape != () or array.dtype != bool:
            raise self.broken(row, step, f"{which} is {one_line(value, 60)} ({type(value).__name__}); it is True or False")
        return bool(array)

    def success(self, info: dict, row: int, step: int) -> float | None:
        """Whether an episode that ended succeeded, where its last info says so: True or False, or a number from 0 to 1."""
        if (said := info.get(SUCCESS)) is None:
            return None
        value = array_of(said)
        if value.size != 1 or value.dtype.kind not in "biufO" or not isinstance(number := value.item(), bool | int | float) or not 0 <= number <= 1:
            raise self.broken(row, step, f"info['{SUCCESS}'] is {one_line(said, 60)}; it is True or False, or a number from 0 to 1")
        return float(number)


def array_of(value: object) -> np.ndarray:
    """A value as an array; an empty one where it is none, as of lists of different lengths."""
    try:
        return np.asarray(value)
    except (TypeError, ValueError):
        return np.empty(0)


def _described(result: object) -> str:
    """What was returned instead of the tuple that the API asks for."""
    if isinstance(result, tuple):
        return f"{len(result)} values ({', '.join(type(value).__name__ for value in result)})"
    return f"one {type(result).__name__}"
