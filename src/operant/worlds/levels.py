"""Levels: the numbers that an environment's physics are made of, chosen anew for every episode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Levels:
    """The levels that there are: a box.

    Attributes:
        names: of their numbers, d of them.
        low, high: bounds of each.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def holds(self, levels: np.ndarray) -> bool:
        """Whether all of `[…, d]` are within the bounds."""
        return bool(((levels >= self.low) & (levels <= self.high)).all())


@dataclass(frozen=True)
class Outcomes:
    """Episodes that ended, in the order in which they did.

    Attributes:
        row: `[E]` int64, of the environments; rows of all seeds are seed-major.
        level: `[E, d]`.
        total: `[E]`, the sum of rewards, undiscounted.
    """

    row: np.ndarray
    level: np.ndarray
    total: np.ndarray
