"""A small task to learn from logged data in: four rooms, one of which the data never enter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from operant.worlds.data.dataset import Dataset
from operant.worlds.data.formats import save_npz

MAP = (
    ".....#.....",
    ".....#.....",
    "...........",
    ".....#.....",
    ".....#.....",
    "##.#####.##",
    ".....#.....",
    ".....#.....",
    "...........",
    ".....#.....",
    ".....#.....",
)
FREE = np.array([[mark == "." for mark in row] for row in MAP])
CELLS = np.argwhere(FREE)
CLOSED = CELLS[(CELLS[:, 0] > 5) & (CELLS[:, 1] < 5)]  # the room at the lower left
OPEN = CELLS[(CELLS[:, 0] <= 5) | (CELLS[:, 1] >= 5)]
OPEN = OPEN[~((OPEN == (5, 2)).all(1) | (OPEN == (8, 5)).all(1))]  # without the doors into that room
MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])
START, GOAL = (0, 0), (10, 10)
NAME = "OperantFourRooms-v0"


def seen(cells: np.ndarray) -> np.ndarray:
    """Cells `[…, 2]` as they are observed: row and column in [-1, 1]."""
    return (np.asarray(cells) / 5.0 - 1.0).astype(np.float32)


class FourRooms(gymnasium.Env):
    """From one corner of four rooms to the one across, up, right, down or left a step; walls stop. Each step costs 1 until the goal ends the episode.

    Two ways of 20 steps lead there, one through each of the rooms between; an episode is cut after 100 steps.
    """

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.cell, self.steps = START, 0
        return seen(self.cell), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.cell, self.steps = moved(self.cell, int(action)), self.steps + 1
        return seen(self.cell), -1.0, self.cell == GOAL, self.steps == 100, {}


def moved(cell: tuple[int, int], action: int) -> tuple[int, int]:
    row, column = cell[0] + int(MOVES[action][0]), cell[1] + int(MOVES[action][1])
    return (row, column) if 0 <= row < 11 and 0 <= column < 11 and FREE[row, column] else cell


def distances(goal: tuple[int, int], cells: np.ndarray) -> dict[tuple[int, int], int]:
    """Steps to a goal from each of the cells that reach it within them."""
    inside = {tuple(map(int, cell)) for cell in cells}
    found, frontier = {goal: 0}, [goal]
    while frontier:
        cell = frontier.pop(0)
        for action in range(4):
            beside = moved(cell, action)
            if beside in inside and beside not in found:
                found[beside] = found[cell] + 1
                frontier.append(beside)
    return found


def four_rooms(path: Path, *, steps: int = 20_000, noise: float = 0.4, seed: int = 0) -> str:
    """A task (`data:PATH`) of walks between random cells of three rooms, a share `noise` of their moves at random; nobody enters the fourth.

    Walks start at random cells of these rooms and end where they meant to go, after at most 40 steps, or at the task's goal.
    """
    if NAME not in gymnasium.registry:
        gymnasium.register(NAME, entry_point=FourRooms)
    rng = np.random.default_rng(seed)
    open_cells = [tuple(map(int, cell)) for cell in OPEN]
    inside, maps = set(open_cells), {cell: distances(cell, OPEN) for cell in open_cells}
    rows: list[tuple[tuple[int, int], int, tuple[int, int], bool, bool]] = []
    while len(rows) < steps:
        cell, aim = open_cells[rng.integers(len(open_cells))], open_cells[rng.integers(len(open_cells))]
        for step in range(40):
            if cell in (aim, GOAL):
                break
            allowed = [action for action in range(4) if moved(cell, action) in inside]
            nearer = [action for action in allowed if maps[aim][moved(cell, action)] < maps[aim][cell]]
            action = int(rng.choice(allowed if rng.random() < noise else nearer))
            following = moved(cell, action)
            over = following == GOAL
            rows.append((cell, action, following, over, not over and (following == aim or step == 39)))
            cell = following
    rows = rows[:steps]
    cells, actions, followings, over, cut = (np.array(column) for column in zip(*rows, strict=True))
    cut[-1] = not over[-1]
    data = Dataset(
        seen(cells),
        actions.astype(np.int64),
        seen(followings),
        np.full(steps, -1.0, np.float32),
        over.astype(bool),
        cut.astype(bool),
        {"environment": NAME, "reward": "environment", "action_count": 4},
    )
    return f"data:{save_npz(data, path)}"
