"""What every group of environments offers, native, adapted or vectorised by someone else: rows that are stepped together and restart by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import gymnasium
import numpy as np

from operant.core.spec import Spec


@dataclass(slots=True)
class Step:
    """What one step of R rows gave. The arrays are the caller's own: no later step writes into them.

    Attributes:
        observation: `[R, D]` float32, what the policy acts on next (after an automatic reset).
        next_observation: `[R, D]` float32, the true outcome of this step; the same object as `observation` where no episode ended.
        reward: `[R]` float32.
        terminated: `[R]` bool, the episode ended by itself.
        truncated: `[R]` bool, the episode was cut. A row may be both at once, as Gymnasium's `TimeLimit` reports it; termination then decides.
        valid: `[R]` bool, False where the environment ignored the action (the reset transition of NEXT_STEP autoreset).
        success: `[R]` float32, of rows whose episode ended whether it succeeded, 1 or 0, as the environment says it; NaN in all others, and where it says
            nothing of one. None where nothing in the whole step tells that it says so of any.
    """

    observation: np.ndarray
    next_observation: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    valid: np.ndarray
    success: np.ndarray | None = None


def successes(rows: int, said: Mapping[int, float | None], *, told: bool) -> np.ndarray | None:
    """`Step.success` of R rows, from what was said of those whose episode ended.

    Args:
        told: success was spoken of in this step, if only of an episode that goes on.
    """
    if not told:
        return None
    found = np.full(rows, np.nan, np.float32)
    for row, success in said.items():
        if success is not None:
            found[row] = success
    return found


@runtime_checkable
class Environments(Protocol):
    """R rows, each one copy of an environment, stepped together.

    Attributes:
        rows: R.
        observation_space, action_space: of one row.
        observation_spec: what a packed observation consists of; from the first `reset` on, which tells whether an action mask is in it.
        action_spec: what an action consists of.
        resume: "bitwise" when `load_state_dict` continues bit for bit, "episode-boundary" when it starts new episodes.
        limit: steps after which an episode is cut; None where none is known.
        observation: `[R, D]` what the policy acts on next; set by `reset`, `step` and `load_state_dict`.
    """

    rows: int
    observation_space: gymnasium.Space
    action_space: gymnasium.Space
    observation_spec: Spec
    action_spec: Spec
    resume: str
    limit: int | None
    observation: np.ndarray

    def reset(self) -> np.ndarray:
        """Start a new episode in every row. Returns `[R, D]` float32. The first call seeds each row; later ones continue its random stream."""

    def step(self, action: np.ndarray) -> Step:
        """Act in every row. `action`: `[R]` int64 counted from 0 where it is one choice, `[R, K]` where it is several, `[R, A]` float32 in the space's own
        units where it is numbers, clipped to the bounds, and choices before numbers, `[R, K + A]`, where it is both."""

    def state_dict(self) -> dict:
        """Everything that `load_state_dict` of a fresh object with the same rows needs."""

    def load_state_dict(self, state: dict) -> None:
        """Continue from a state of `state_dict`. Raises `BadInput` where the state is of another environment or number of rows."""

    def close(self) -> None:
        """Release windows, processes and simulators."""
