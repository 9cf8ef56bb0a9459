"""Whether data belong to their environment, and its observations and actions as policies take them.

Files hold actions in the environment's own units, and `Run.policy` gives them in these. A store holds what a policy reads and puts out: flat observations
(Discrete ones as one-hot rows), and discrete actions counted from 0.
"""

from __future__ import annotations

import math

import gymnasium
import numpy as np
from gymnasium import spaces

from operant.core.errors import BadInput
from operant.worlds.data.dataset import Dataset, outside_bounds


def fit_observations(where: str, name: str, array: np.ndarray, environment: str, space: gymnasium.Space) -> np.ndarray:
    """Observations `[M, …]` as `[M, D]` float32.

    Args:
        where, name: the data and the array, for messages.
        environment: its id, for messages.
        space: Box or Discrete, or a Dict or Tuple, whose rows the data hold as a `Spec` lays them.

    Raises:
        BadInput: they are of another shape than the environment's, or are no states of a Discrete space.
    """
    rows, shape = len(array), array.shape[1:]
    if isinstance(space, spaces.Dict | spaces.Tuple):
        if shape != (size := spaces.flatdim(space),):
            raise BadInput(f"{where}: {name} has {_numbers(shape)} a row; {environment} has {size} numbers, {space}")
        return array
    if isinstance(space, spaces.Box):
        if shape != space.shape and shape != (math.prod(space.shape),) and (shape or space.shape != (1,)):
            raise BadInput(f"{where}: {name} has {_numbers(shape)} a row; {environment} has {_numbers(space.shape)}, {space}")
        return array.reshape(rows, math.prod(shape))
    if not isinstance(space, spaces.Discrete):
        raise BadInput(f"{where}: {environment} has {space}; observations of data are Box, Discrete, Dict and Tuple spaces")
    count, start = int(space.n), int(space.start)
    if shape not in ((), (1,)):
        if shape == (count,) and ((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all():
            return array
        raise BadInput(f"{where}: {name} has {_numbers(shape)} a row; {environment} has {space}: one whole number a row, or a one-hot row of {count}")
    state = array.reshape(rows)
    wrong = (state != np.floor(state)) | (state < start) | (state >= start + count)
    if wrong.any():
        row = int(wrong.argmax())
        raise BadInput(
            f"{where}: {name}: {wrong.sum()} of {rows} rows are no states of {environment}, {space}, whole numbers from {start} to {start + count - 1}: "
            f"row {row} is {state[row]:g}, the nearest is {min(max(round(float(state[row])), start), start + count - 1)}"
        )
    return np.eye(count, dtype=np.float32)[state.astype(np.int64) - start]


def fit_actions(where: str, array: np.ndarray, environment: str, space: gymnasium.Space) -> np.ndarray:
    """Actions in the environment's units as a policy's: `[M]` int64 counted from 0, or `[M, A]` float32 within the bounds of the space.

    Args:
        where, environment: the data and the environment's id, for messages.
        array: `[M, …]` int64 or float32.
        space: Box or Discrete.

    Raises:
        BadInput: they are of another kind or width than the environment's, or outside its space by more than rounding.
    """
    rows, shape, whole = len(array), array.shape[1:], array.dtype.kind == "i"
    low, high = array.min(), array.max()
    said = f"{where}: actions are {'integers' if whole else 'floats'}, {_numbers(shape)} a row, from {low:g} to {high:g}; {environment} takes {space}"
    if isinstance(space, spaces.Discrete):
        start, last = int(space.start), int(space.start + space.n - 1)
        if not whole or shape:
            raise BadInput(f"{said}: give integers, one a row, from {start} to {last}")
        wrong = (array < start) | (array > last)
        if wrong.any():
            row = int(wrong.argmax())
            shifted = f"; if they count from 0, add {start}" if start and low >= 0 and high < space.n else ""
            raise BadInput(
                f"{said}: {wrong.sum()} of {rows} are not from {start} to {last} (row {row} is {array[row]}, the nearest is "
                f"{min(max(int(array[row]), start), last)}){shifted}"
            )
        return array - start
    if not isinstance(space, spaces.Box):
        raise BadInput(f"{said}; actions of data are those of a Box or a Discrete space")
    size = math.prod(space.shape)
    if whole:
        raise BadInput(f"{said}: give floats, {size} a row, in the environment's own units")
    if shape != space.shape and shape != (size,) and (shape or size != 1):
        raise BadInput(f"{said}: give {size} a row")
    flat, least, most = array.reshape(rows, size), space.low.reshape(-1), space.high.reshape(-1)
    wrong = outside_bounds(flat, least, most)
    if wrong.any():
        row = int(wrong.argmax())
        column = int(((flat[row] < least) | (flat[row] > most)).argmax())
        value = flat[row, column]
        raise BadInput(
            f"{said}: {wrong.sum()} of {rows} rows are outside (row {row}, number {column} is {value:g}, the nearest is "
            f"{np.clip(value, least[column], most[column]):g}); clip them, or name the environment that they are from"
        )
    return np.clip(flat, least, most).astype(np.float32)


def notes(dataset: Dataset, environment: str, space: gymnasium.Space) -> list[str]:
    """What a person should know of data that can be used, a line each."""
    found = []
    if dropped := dataset.metadata.get("dropped"):
        found.append(f"{dropped} rows at the end of a recording are left out: the data do not hold what followed them ({dataset.size} transitions are left)")
    if isinstance(space, spaces.Box) and (outside := outside_bounds(dataset.observation, space.low, space.high)).any():
        row = int(outside.argmax())
        found.append(f"{outside.sum()} of {dataset.size} observations lie outside the observation space of {environment}, {space} (the first in row {row})")
    return found


def _numbers(shape: tuple[int, ...]) -> str:
    """A row's shape in words."""
    if math.prod(shape) == 1:
        return "one number"
    return f"{shape[0]} numbers" if len(shape) == 1 else f"{list(shape)} numbers"
