"""One offline data set in memory: transitions in the order in which they were recorded, and where they came from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from operant.core.errors import BadInput

ARRAYS = ("observation", "action", "next_observation", "reward", "terminated", "truncated")
"""The arrays of a `Dataset`, in the order of the content hash and of files."""

_FLAGS = ("terminated", "truncated")
_BINS = 20  # a side of the grid of state coverage


@dataclass
class Dataset:
    """Transitions (s, a, r, s') in recorded order, episode after episode.

    Attributes:
        observation: `[M, D]` float32.
        action: `[M, A]` float32 in the environment's units, or `[M]` int64 for discrete actions.
        next_observation: `[M, D]` float32, the true outcome of the row's action.
        reward: `[M]` float32.
        terminated: `[M]` bool, the episode ended at this row by itself: no value is bootstrapped from next_observation. In data relabelled with the reward of a
            goal (OGBench's single tasks, D4RL's ant mazes) the recording may go on behind such a row.
        truncated: `[M]` bool, the recording was cut behind this row.
        metadata: JSON values: provenance, "reward" ("none", "environment" or "singletask"), "environment" (id of the matching environment), the bounds of
            actions as "action_low" and "action_high" (length A) or "action_count" (discrete), and whatever the file said.
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
        return self.action.ndim == 1

    @property
    def episode_starts(self) -> np.ndarray:
        """`[E]` int64, the first row of each episode.

        An episode ends where the recording was cut, and where it terminated unless the next row goes on from the very state that was reached.
        """
        moved = (self.next_observation[:-1] != self.observation[1:]).any(axis=1)
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
                raise BadInput(f"{where}: {name} is a {type(getattr(self, name)).__name__}, it must be a NumPy array")
        if self.observation.ndim != 2:
            raise BadInput(f"{where}: observation has shape {list(self.observation.shape)}, it must be [M, D]")
        rows, width = self.observation.shape
        if rows == 0 or width == 0:
            raise BadInput(f"{where}: no transitions (observation has shape {[rows, width]})")
        shapes = {name: [rows] for name in ARRAYS} | {"observation": [rows, width], "next_observation": [rows, width]}
        if self.action.ndim == 2 and self.action.shape[1] > 0:
            shapes["action"] = [rows, self.action.shape[1]]
        for name, shape in shapes.items():
            array = getattr(self, name)
            if list(array.shape) != shape:
                hint = " (continuous: [M, A])" if name == "action" else ""
                raise BadInput(f"{where}: {name} has shape {list(array.shape)}, it must be {shape}{hint}, as observation has {rows} rows of {width}")
            dtype = np.bool_ if name in _FLAGS else np.int64 if name == "action" and self.discrete else np.float32
            if array.dtype != dtype:
                raise BadInput(f"{where}: {name} is {array.dtype}, it must be {np.dtype(dtype).name}")
            if dtype == np.float32:
                require_finite(where, name, array)
        self._validate_bounds(where)

    def _validate_bounds(self, where: str) -> None:
        if self.discrete:
            count = self.metadata.get("action_count")
            outside = self.action < 0
            if count is not None:
                if not isinstance(count, int) or count < 1:
                    raise BadInput(f"{where}: metadata action_count is {count!r}, it must be a whole number of at least 1")
                outside |= self.action >= count
            if outside.any():
                row = int(outside.argmax())
                allowed = "at least 0" if count is None else f"in [0, {count - 1}]"
                raise BadInput(f"{where}: action row {row} is {self.action[row]}, it must be {allowed}")
            return
        if "action_low" not in self.metadata or "action_high" not in self.metadata:
            return
        try:
            low, high = (np.asarray(self.metadata[name], dtype=np.float64) for name in ("action_low", "action_high"))
        except (TypeError, ValueError) as error:
            raise BadInput(f"{where}: metadata action_low and action_high must be lists of {self.action.shape[1]} numbers") from error
        if not low.shape == high.shape == (self.action.shape[1],):
            raise BadInput(f"{where}: the metadata bounds {low.size} and {high.size} action dimensions, the data have {self.action.shape[1]}")
        slack = 1e-5 * np.maximum(1.0, high - low)  # float32 rounding of a clipped action is not a fault
        outside = ((self.action < low - slack) | (self.action > high + slack)).any(axis=1)
        if outside.any():
            row = int(outside.argmax())
            raise BadInput(f"{where}: action row {row} is {self.action[row].tolist()}, outside [{low.tolist()}, {high.tolist()}]")

    def quality(self) -> dict:
        """What the data hold, in a few numbers.

        Returns:
            "transitions", "episodes", "terminated" (rows), "return_mean", "return_std" (population), "return_min", "return_max" over episodes, "action_low" and
            "action_high" (lists of length A, of the data) or "action_counts" (how often each discrete action was taken), and "coverage" in (0, 1]: the share of
            visited cells of a grid of 20 cells a side over the two observation dimensions that vary most (one, where there is only one), between their
            extremes.
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
            said["action_counts"] = np.bincount(self.action, minlength=self.metadata.get("action_count", 0)).tolist()
        else:
            said["action_low"], said["action_high"] = self.action.min(axis=0).tolist(), self.action.max(axis=0).tolist()
        states = self.observation.astype(np.float64)
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
