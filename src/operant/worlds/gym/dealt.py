"""The state of a group of environments as that of some of its rows, and back, so that a run goes on with other numbers of workers than wrote its state.

A group's state is a dict. What each row has of its own is a list or an array with one entry a row; all else is the same in every part. Groups that stand around
another one have its state under "inner".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

ROWS_LAST = ("_motion", "_coordinates")  # of native environments: an array of numbers by rows
ENDED = "ended"  # episodes with levels that ended, in whatever rows: [{"row", …}]


def deal(state: Any, rows: np.ndarray, name: str = "") -> Any:
    """The state of `rows [n]` alone, in their order."""
    if name == ENDED:
        places = {int(row): place for place, row in enumerate(rows)}
        return [item | {"row": places[item["row"]]} for item in state if item["row"] in places]
    if name == "rows":
        return len(rows)
    if isinstance(state, dict):
        return {key: deal(value, rows, key) for key, value in state.items()}
    if isinstance(state, list):
        return [state[row] for row in rows]
    if isinstance(state, np.ndarray) and state.ndim:
        return state[..., rows] if name in ROWS_LAST else state[rows]
    return state


def join(states: Sequence[Any], places: Sequence[np.ndarray], name: str = "") -> Any:
    """The state of all rows from those of parts, of which each has the rows `places [n]`."""
    first, total = states[0], sum(map(len, places))
    if name == ENDED:
        return [item | {"row": int(rows[item["row"]])} for state, rows in zip(states, places, strict=True) for item in state]
    if name == "rows":
        return total
    if name == "resume":
        return "bitwise" if set(states) == {"bitwise"} else "episode-boundary"
    if any(state is None for state in states):  # one that could not give its own makes all begin anew
        return None
    if isinstance(first, dict):
        return {key: join([state[key] for state in states], places, key) for key in first}
    if isinstance(first, list):
        found: list = [None] * total
        for state, rows in zip(states, places, strict=True):
            for row, item in zip(rows, state, strict=True):
                found[row] = item
        return found
    if isinstance(first, np.ndarray) and first.ndim:
        axis = first.ndim - 1 if name in ROWS_LAST else 0
        return np.concatenate(states, axis).take(np.argsort(np.concatenate(places)), axis)
    return first
