"""Small tasks to learn from logged data in: four rooms walked cell by cell, a halved room and a winding corridor that a point moves in."""

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
AROUND = tuple(".....#....." if row > 3 else "..........." for row in range(11))
CORRIDOR = tuple("..........." if row % 5 == 0 else "##########." if row < 5 else ".##########" for row in range(11))
FREE, HALVED, WINDING = (np.array([[mark == "." for mark in row] for row in drawn]) for drawn in (MAP, AROUND, CORRIDOR))
CELLS = np.argwhere(FREE)
CLOSED = CELLS[(CELLS[:, 0] > 5) & (CELLS[:, 1] < 5)]  # the room at the lower left
OPEN = CELLS[(CELLS[:, 0] <= 5) | (CELLS[:, 1] >= 5)]
OPEN = OPEN[~((OPEN == (5, 2)).all(1) | (OPEN == (8, 5)).all(1))]  # without the doors into that room
MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])
START, GOAL = (0, 0), (10, 10)
NAME, HALF, LONG = "OperantFourRooms-v0", "OperantHalves-v0", "OperantCorridor-v0"

COST = 3.0  # of a step of the point, as in the antmaze data of arXiv:2402.00348: more than the 2 (2 - 1 / balance) that its chi-square forgives a step


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


def moved(cell: tuple[int, int], action: int, free: np.ndarray = FREE) -> tuple[int, int]:
    row, column = cell[0] + int(MOVES[action][0]), cell[1] + int(MOVES[action][1])
    return (row, column) if 0 <= row < 11 and 0 <= column < 11 and free[row, column] else cell


def distances(goal: tuple[int, int], cells: np.ndarray, free: np.ndarray = FREE) -> dict[tuple[int, int], int]:
    """Steps to a goal from each of the cells that reach it within them."""
    inside = {tuple(map(int, cell)) for cell in cells}
    found, frontier = {goal: 0}, [goal]
    while frontier:
        cell = frontier.pop(0)
        for action in range(4):
            beside = moved(cell, action, free)
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


class Halves(gymnasium.Env):
    """A point in a room that a wall halves but for its upper third, from the left half's lower part to the right half's lower corner: the action is a move of
    at most a cell along either axis, and a wall stops the axis that meets it. Each step costs 3 until the goal ends the episode, which is cut after 50.
    """

    observation_space = spaces.Box(-1.1, 1.1, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.place, self.steps = np.array([8.0, 2.0]) + self.np_random.uniform(-2, 2, 2), 0
        return seen(self.place), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.place, self.steps = slid(self.place, action, HALVED), self.steps + 1
        return seen(self.place), -COST, cell_of(self.place) == GOAL, self.steps == 50, {}


class Corridor(gymnasium.Env):
    """The same point in a corridor of 41 cells that winds through the map, from within five cells of one end to a cell within five of the other, which it sees.

    The return is 1 where it gets there within 100 steps; the way takes 32 to 40.
    """

    observation_space = spaces.Dict({"observation": Halves.observation_space, "desired_goal": Halves.observation_space})
    action_space = Halves.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, np.ndarray], dict]:
        super().reset(seed=seed)
        first, last = self.np_random.integers(5, size=2)
        ends = [ALONG[first], ALONG[-1 - last]]
        start, self.goal = ends[:: 1 - 2 * int(self.np_random.integers(2))]
        self.place, self.steps = np.array(start, float), 0
        return self._seen(), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict]:
        self.place, self.steps = slid(self.place, action, WINDING), self.steps + 1
        there = cell_of(self.place) == self.goal
        return self._seen(), float(there), there, self.steps == 100, {}

    def _seen(self) -> dict[str, np.ndarray]:
        return {"observation": seen(self.place), "desired_goal": seen(self.goal)}


def cell_of(place: np.ndarray) -> tuple[int, int]:
    return round(float(place[0])), round(float(place[1]))


def slid(place: np.ndarray, action: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Where a point's move leads, at most a cell along one axis after the other."""
    for axis in (0, 1):
        there = place.copy()
        there[axis] = np.clip(there[axis] + np.clip(action[axis], -1, 1), -0.499, 10.499)
        place = there if free[cell_of(there)] else place
    return place


Walked = list[tuple[np.ndarray, np.ndarray, np.ndarray]]


def walk(rng: np.random.Generator, place: np.ndarray, way: dict[tuple[int, int], int], steps: int, free: np.ndarray, ends: tuple[int, int]) -> Walked:
    """Places, moves and outcomes of a point that goes down a map of distances, at most a cell along either axis a step, with Gaussian noise of deviation 0.5.

    It never leaves the cells of the map, and stops where it aims, at `ends`, or after `steps`.
    """
    rows: Walked = []
    while len(rows) < steps and way[cell_of(place)] and cell_of(place) != ends:
        beside = [moved(cell_of(place), action, free) for action in range(4)]
        ahead = np.array(min((cell for cell in beside if cell in way), key=way.__getitem__)) - place
        action = np.clip(ahead + rng.normal(0.0, 0.5, 2), -1, 1)
        following = slid(place, action, free)
        if cell_of(following) in way:
            rows.append((place, action, following))
            place = following
    return rows


def halves(path: Path, *, steps: int = 20_000, aimed: float = 0.5, seed: int = 0) -> str:
    """A task (`data:PATH`) of a point's walks of mixed worth: a share `aimed` of them is for the task's goal, the others for random cells. A walk begins
    anywhere and lasts at most 30 steps."""
    if HALF not in gymnasium.registry:
        gymnasium.register(HALF, entry_point=Halves)
    rng = np.random.default_rng(seed)
    inside = np.argwhere(HALVED)
    cells = [tuple(map(int, cell)) for cell in inside]
    maps, walks = {cell: distances(cell, inside, HALVED) for cell in cells}, []
    while sum(map(len, walks)) < steps:
        start, other = (cells[rng.integers(len(cells))] for _ in range(2))
        walks.append(walk(rng, start + rng.uniform(-0.499, 0.499, 2), maps[GOAL if rng.random() < aimed else other], 30, HALVED, GOAL))
    return _saved(path, walks, steps, HALF, GOAL)


def corridor(path: Path, *, steps: int = 30_000, seed: int = 0) -> str:
    """A task (`data:PATH`) of a point's walks in the winding corridor, between random cells and of at most 15 steps: nobody went from one end to the other."""
    if LONG not in gymnasium.registry:
        gymnasium.register(LONG, entry_point=Corridor)
    rng = np.random.default_rng(seed)
    maps, walks = [distances(cell, np.array(ALONG), WINDING) for cell in ALONG], []
    while sum(map(len, walks)) < steps:
        start, aim = rng.integers(len(ALONG), size=2)
        walks.append(walk(rng, ALONG[start] + rng.uniform(-0.499, 0.499, 2), maps[aim], 15, WINDING, ALONG[aim]))
    return _saved(path, walks, steps, LONG, None)


def _saved(path: Path, walks: list[Walked], steps: int, environment: str, goal: tuple[int, int] | None) -> str:
    """The first steps of walks as data of an environment, which a goal ends; without one they have no rewards."""
    places, actions, followings = (np.array(column)[:steps] for column in zip(*(row for rows in walks for row in rows), strict=True))
    over = np.array([cell_of(place) == goal for place in followings])
    cut = np.zeros(steps, bool)
    cut[np.minimum(np.cumsum([len(rows) for rows in walks if rows]), steps) - 1] = True
    data = Dataset(
        seen(places),
        actions.astype(np.float32),
        seen(followings),
        np.full(steps, 0.0 if goal is None else -COST, np.float32),
        over,
        cut & ~over,
        {"environment": environment, "reward": "none" if goal is None else "environment", "action_low": [-1.0, -1.0], "action_high": [1.0, 1.0]},
    )
    return f"data:{save_npz(data, path)}"


ALONG = sorted(((int(row), int(column)) for row, column in np.argwhere(WINDING)), key=distances((0, 0), np.argwhere(WINDING), WINDING).__getitem__)
