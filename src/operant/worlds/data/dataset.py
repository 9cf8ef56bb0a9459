"""One offline data set in memory: transitions in the order in which they were recorded, and where they came from."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

import numpy as np

from operant.core.errors import BadInput, a_type

ARRAYS = ("observation", "action", "next_observation", "reward", "terminated", "truncated")
"""The arrays of a `Dataset`, in the order of the content hash and of files."""

_FLAGS = ("terminated", "truncated")
_BINS = 20  # a side of the grid of state coverage


@dataclass
class Dataset:
    """Transitions (s, a, r, s') in recorded order, episode after episode.

    Attributes:
        observation: `[M, …]` float32 in the shape of the environment's observations; `[M]` where they are single numbers or states that are counted.
        action: in the environment's own units: `[M, …]` float32, or int64 for discrete actions (`[M]`, counted from the start of the environment's space).
        next_observation: `[M, …]` float32, the true outcome of the row's action.
        reward: `[M]` float32.
        terminated: `[M]` bool, the episode ended at this row by itself: no value is bootstrapped from next_observation. In data relabelled with the reward of a
            goal (OGBench's single tasks, D4RL's ant mazes) the recording may go on behind such a row.
        truncated: `[M]` bool, the recording was cut behind this row.
        metadata: JSON values: provenance, "reward" ("none", "environment" or "singletask"), "environment" (id of the matching environment), the bounds of
            actions as "action_low" and "action_high" (length A) or "action_count" and "action_start" (discrete; 0 where it is absent),
            and whatever the file said.
    """

    observation: np.ndarray
    action: np.ndarray
    next_observation: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    metadata: dict = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of transitions M."""
        return len(self.observation)

    @property
    def discrete(self) -> bool:
        """Whether actions are integers."""
        return self.action.dtype.kind == "i"

    @property
    def episode_starts(self) -> np.ndarray:
        """`[E]` int64, the first row of each episode.

        An episode ends where the recording was cut, and where it terminated unless the next row goes on from the very state that was reached.
        """
        moved = (self.next_observation[:-1] != self.observation[1:]).any(axis=tuple(range(1, self.observation.ndim)))
        ended = self.truncated[:-1] | (self.terminated[:-1] & moved)
        return np.concatenate([[0], np.flatnonzero(ended) + 1]).astype(np.int64)

    @property
    def returns(self) -> np.ndarray:
        """`[E]` float64, the undiscounted sum of rewards of each episode."""
        return np.add.reduceat(self.reward.astype(np.float64), self.episode_starts)

    def validate(self, where: str = "data set") -> None:
        """Check shapes, types, finite values and the bounds of actions.

        Args:
            where: what to call the data in the message (a file's name).

        Raises:
            BadInput: one line that names the field and its first bad row.
        """
        for name in ARRAYS:
            if not isinstance(getattr(self, name), np.ndarray):
                raise BadInput(f"{where}: {name} is {a_type(getattr(self, name))}, it must be a NumPy array")
        rows, sizes = len(self.observation), self.observation.shape[1:]
        if 0 in self.observation.shape:
            raise BadInput(f"{where}: no transitions (observation has shape {list(self.observation.shape)})")
        shapes = {name: (rows,) for name in ARRAYS} | dict.fromkeys(("observation", "next_observation"), (rows, *sizes))
        shapes["action"] = (rows, *self.action.shape[1:])
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or 0 in array.shape:
                raise BadInput(f"{where}: {name} has shape {list(array.shape)}, it must be {list(shape)}: observation has {rows} rows of shape {list(sizes)}")
            dtype = np.bool_ if name in _FLAGS else np.int64 if name == "action" and self.discrete else np.float32
            if array.dtype != dtype:
                raise BadInput(f"{where}: {name} is {array.dtype}, it must be {np.dtype(dtype).name}")
            if dtype == np.float32:
                require_finite(where, name, array)
        self._validate_bounds(where)

    def _validate_bounds(self, where: str) -> None:
        if self.discrete:
            count, start = self.metadata.get("action_count"), self.metadata.get("action_start", 0)
            if count is None:
                return
            for name, number, least in (("action_count", count, 1), ("action_start", start, -(2**62))):
                if not isinstance(number, int) or not least <= number < 2**62:
                    raise BadInput(f"{where}: metadata {name} is {number!r}, it must be a whole number" + " of at least 1" * (least == 1))
            outside = ((self.action < start) | (self.action >= start + count)).reshape(self.size, -1).any(axis=1)
            if outside.any():
                row = int(outside.argmax())
                raise BadInput(f"{where}: action row {row} is {self.action[row].tolist()}, it must be in [{start}, {start + count - 1}], as the metadata say")
            return
        if "action_low" not in self.metadata or "action_high" not in self.metadata:
            return
        try:
            low, high = (np.asarray(self.metadata[name], dtype=np.float64) for name in ("action_low", "action_high"))
        except (TypeError, ValueError) as error:
            raise BadInput(f"{where}: metadata action_low and action_high must be lists of {math.prod(self.action.shape[1:])} numbers") from error
        size = math.prod(self.action.shape[1:])
        if not low.size == high.size == size:
            raise BadInput(f"{where}: the metadata bounds {low.size} and {high.size} action dimensions, the data have {size}")
        outside = outside_bounds(self.action, low, high)
        if outside.any():
            row = int(outside.argmax())
            raise BadInput(f"{where}: action row {row} is {self.action[row].tolist()}, outside [{low.tolist()}, {high.tolist()}], the bounds of the metadata")

    def quality(self) -> dict:
        """What the data hold, in a few numbers.

        Returns:
            "transitions", "episodes", "terminated" (rows), "return_mean", "return_std" (population), "return_min", "return_max" over episodes, "action_low" and
            "action_high" (lists of length A, of the data) or "action_counts" (how often each discrete action was taken, from the first), and "coverage" in
            (0, 1]: the share of visited cells of a grid of 20 cells a side over the two observation dimensions that vary most (one, where there is only one),
            between their extremes.
        """
        returns = self.returns
        said: dict = {
            "transitions": self.size,
            "episodes": len(returns),
            "terminated": int(self.terminated.sum()),
            "return_mean": float(returns.mean()),
            "return_std": float(returns.std()),
            "return_min": float(returns.min()),
            "return_max": float(returns.max()),
        }
        if self.discrete:
            start = self.metadata.get("action_start", 0)
            said["action_counts"] = np.bincount(self.action.reshape(-1) - start, minlength=self.metadata.get("action_count", 0)).tolist()
        else:
            said["action_low"], said["action_high"] = self.action.min(axis=0).tolist(), self.action.max(axis=0).tolist()
        states = self.observation.reshape(self.size, -1).astype(np.float64)
        states = states[:, np.argsort(-states.var(axis=0), kind="stable")[:2]]
        low, span = states.min(axis=0), np.ptp(states, axis=0)
        cells = np.minimum((states - low) / np.where(span > 0, span, 1.0) * _BINS, _BINS - 1).astype(np.int64)
        said["coverage"] = len(np.unique(cells, axis=0)) / _BINS ** states.shape[1]
        return said

    def content_hash(self) -> str:
        """SHA-256 (hexadecimal) over name, type, shape and little-endian bytes of every array. Metadata do not enter."""
        digest = hashlib.sha256()
        for name in ARRAYS:
            array = np.ascontiguousarray(getattr(self, name))
            array = array.astype(array.dtype.newbyteorder("<"), copy=False)
            digest.update(f"{name} {array.dtype.str} {list(array.shape)}\n".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


def require_finite(where: str, name: str, array: np.ndarray) -> None:
    """Raise BadInput that names the first row (of axis 0) with a value that is NaN or infinite."""
    finite = np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
    if not finite.all():
        row = int(finite.argmin())
        raise BadInput(f"{where}: {name} row {row} is {'NaN' if np.isnan(array[row]).any() else 'infinite'}; every value must be finite")


def outside_bounds(action: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """`[M]` bool: which rows of `action [M, …]` have a number beyond `low` or `high` by more than rounding.

    An action that was clipped and then stored in few digits may lie a rounding beyond a bound; where every number is one of float16, its rounding counts.
    """
    rows = action.reshape(len(action), -1).astype(np.float64)
    low, high = np.ravel(low).astype(np.float64), np.ravel(high).astype(np.float64)
    with np.errstate(over="ignore"):
        half = (rows.astype(np.float16) == rows).all()
    digits = 2.0**-10 if half else 1e-5
    with np.errstate(invalid="ignore"):  # infinite bounds
        slack = [digits * np.maximum(0.0 if half else 1.0, np.where(np.isfinite(bound), np.abs(bound), 0.0)) for bound in (low, high)]
    return ((rows < low - slack[0]) | (rows > high + slack[1])).any(axis=1)
