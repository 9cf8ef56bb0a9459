"""Point-maze data in the manner of OGBench, and offline tasks by name.

The collector follows the protocol of OGBench (arXiv:2410.20092, appendix on data collection; its `generate_locomaze.py`, read for the protocol): an oracle that
knows the maze walks towards the next cell of a shortest path at full speed, with Gaussian noise of standard deviation 0.5 on the action.
navigate: an episode of 1000 steps (giant: 2000) from a random free cell, towards a random corner, crossing or dead end, and towards the next one on arrival.
stitch: an episode of 200 steps from a random free cell to a cell four steps away, where it stays.
mixed (ours, not OGBench's): half of the steps as in navigate, half in demonstrations from the start of one of the five evaluation tasks, in turn, to its goal,
which end ten steps after the arrival.

Where it departs: every random number comes from a generator of the seed (OGBench draws from NumPy's global one); the action that is stored, in float32, is
the one that was taken; the last row of an episode keeps its outcome, so nothing is dropped on loading.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np

from operant.core.cache import cache_directory
from operant.core.errors import BadInput, unknown
from operant.core.random import derive_seed
from operant.worlds.data.dataset import Dataset
from operant.worlds.data.formats import load, load_minari, save_npz
from operant.worlds.gym.adapter import hear_mujoco_once

COLLECTOR_VERSION = 1
"""Raised when the same seed gives other data; a cached file of another version is made again."""

NOISE = 0.5  # standard deviation of the oracle's action noise; actions lie in [-1, 1]
_STITCH_DISTANCE = 4  # cells from start to goal
_STAY = 10  # steps at the goal that end a demonstration
_NEIGHBOURS = ((-1, 0), (0, -1), (1, 0), (0, 1))


@dataclass(frozen=True)
class _Protocol:
    environment: str  # OGBench's id of the goal-conditioned environment
    kind: str  # "navigate", "stitch" or "mixed"
    episode_steps: int


_PROTOCOLS = {
    f"pointmaze-{maze}-{kind}-v0": _Protocol(f"pointmaze-{maze}-v0", kind, 200 if kind == "stitch" else 2000 if maze == "giant" else 1000)
    for maze in ("medium", "large", "giant", "teleport")
    for kind in ("navigate", "stitch", "mixed")
}
TASKS = tuple(
    name.removesuffix("-v0") + suffix for name in _PROTOCOLS for suffix in ("-v0", "-singletask-v0", *(f"-singletask-task{task}-v0" for task in range(1, 6)))
)
"""Every name that `load_task` takes behind `ogbench:`. Without "singletask" the data have goals but no reward; `-singletask-v0` is OGBench's default task,
1."""


# -------------------------------------------------------------------------------------------------------- environments


class OGBenchEnvironment(gymnasium.Wrapper):
    """An OGBench environment that is a function of its seed.

    OGBench draws tasks, start and goal noise and teleports from NumPy's global generator. Here each environment brings its own one for the time of a call,
    seeded
    by `reset(seed=…)`, so that neither other code nor another environment moves its draws. Actions are clipped to the action space, as OGBench's evaluation
    does (the environment itself takes any action, and a larger one moves the point further).
    """

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        self._bits = np.random.PCG64()
        self._low, self._high = env.action_space.low, env.action_space.high

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        if seed is not None:
            self._bits = np.random.PCG64(derive_seed(seed, "ogbench"))
            self.unwrapped.action_space.seed(seed)
        with _global_numpy_is(self._bits):
            return self.env.reset(seed=seed, options=options)

    def step(self, action):
        with _global_numpy_is(self._bits):
            return self.env.step(np.clip(action, self._low, self._high))


@contextmanager
def _global_numpy_is(bits: np.random.BitGenerator):
    others = np.random.get_bit_generator()
    np.random.set_bit_generator(bits)
    try:
        yield
    finally:
        np.random.set_bit_generator(others)


def make_environment(environment: str, **kwargs: object) -> OGBenchEnvironment:
    """Make an environment that OGBench registers.

    Args:
        environment: id, such as `pointmaze-medium-v0` or `pointmaze-medium-singletask-task1-v0`. Episodes are cut after OGBench's number of steps (1000), and
            `info["success"]` is 1.0 in the step that finds the goal reached.
        kwargs: passed to `gymnasium.make`.

    Raises:
        BadInput: ogbench is not installed.
    """
    try:
        import ogbench  # noqa: F401  registers the environments
    except ImportError as error:
        raise BadInput(f"{environment} needs ogbench: pip install 'operant[offline]'") from error
    hear_mujoco_once()
    env = gymnasium.make(environment, disable_env_checker=True, **kwargs)
    _release_model_file(env.unwrapped.fullpath)
    return OGBenchEnvironment(env)


def _release_model_file(path: str) -> None:
    """Close and remove the temporary file that OGBench writes its maze to: it leaves both behind, and a thousand environments would exhaust the descriptors."""
    if Path(path).parent != Path(tempfile.gettempdir()):
        return
    written = os.stat(path)
    for descriptor in map(int, os.listdir("/dev/fd")):
        try:
            same = os.path.samestat(written, os.fstat(descriptor))
        except OSError:  # the descriptor of the listing itself is closed by now
            continue
        if same:
            os.close(descriptor)
    os.unlink(path)


# ----------------------------------------------------------------------------------------------------------- collector


def make_dataset(name: str, *, steps: int, seed: int, out: str | Path | None = None, progress: Callable[[int, int], None] | None = None) -> Path:
    """Collect a point-maze data set and write it as npz. The same name, steps and seed give the same bytes on the same versions.

    Args:
        name: `pointmaze-{medium,large,giant,teleport}-{navigate,stitch,mixed}-v0`, with or without `ogbench:`; a single-task name makes
            the data that it relabels.
        steps: number of transitions, at least 1. The last episode is cut where they are reached.
        seed: at least 0.
        out: the file to write. By default `NAME-seedS-N.npz` in the cache's `data`, and a whole one of this collector that is already there is kept.
        progress: called as progress(done, steps) after each episode.

    Returns:
        The file's path. Its metadata say name, seed, steps, noise, versions and the arrays' SHA-256.

    Raises:
        BadInput: unknown name (with the nearest), steps or seed out of range, ogbench missing, or the file cannot be written.
    """
    name = _collected_name(name)
    _at_least("steps", steps, 1)
    _at_least("seed", seed, 0)
    path = Path(out) if out is not None else _data_directory() / f"{name}-seed{seed}-{steps}.npz"
    if out is None and _is_current(path):
        return path
    return save_npz(collect(name, steps=steps, seed=seed, progress=progress), path)


def collect(name: str, *, steps: int, seed: int, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """The data set that `make_dataset` writes, in memory. Arguments and errors as there."""
    name = _collected_name(name)
    protocol = _PROTOCOLS[name]
    generator = np.random.default_rng(derive_seed(seed, "collect", name))
    env = make_environment(protocol.environment, terminate_at_goal=False, max_episode_steps=protocol.episode_steps)
    maze = env.unwrapped
    free, vertices = _cells(maze.maze_map)
    subgoals: dict[tuple, np.ndarray] = {}  # the oracle searches the whole maze at every call, and says the same for the same pair of cells

    def subgoal() -> np.ndarray:
        cells = maze.xy_to_ij(maze.get_xy()), maze.xy_to_ij(maze.cur_goal_xy)
        if cells not in subgoals:
            subgoals[cells] = maze.get_oracle_subgoal(*map(maze.ij_to_xy, cells))[0]
        return subgoals[cells]

    def near(cell: tuple[int, int]) -> np.ndarray:
        """A goal near a cell's centre, with OGBench's noise (cells are 4 wide)."""
        return np.asarray(maze.ij_to_xy(cell)) + generator.uniform(-1.0, 1.0, size=2)

    observation, action, following = (np.zeros((steps, 2), dtype=np.float32) for _ in range(3))
    truncated = np.zeros(steps, dtype=bool)
    done = demonstrated = task = 0
    try:
        while done < steps:
            demonstration = protocol.kind == "mixed" and demonstrated <= done / 2
            if demonstration:
                start, goal = (maze.task_infos[task % maze.num_tasks][cell] for cell in ("init_ij", "goal_ij"))
                task += 1
            else:
                start = free[generator.integers(len(free))]
                candidates = _cells_at(maze.maze_map, start, _STITCH_DISTANCE) or [start] if protocol.kind == "stitch" else vertices
                goal = candidates[generator.integers(len(candidates))]
            state, _ = env.reset(seed=int(generator.integers(2**31)), options={"task_info": {"init_ij": start, "goal_ij": goal}})
            cut, left = False, _STAY
            while not cut and left and done < steps:
                direction = subgoal() - maze.get_xy()
                direction /= np.linalg.norm(direction) + 1e-6
                chosen = np.clip(direction + generator.normal(0.0, NOISE, size=2), -1.0, 1.0).astype(np.float32)
                observation[done], action[done] = state, chosen
                state, _, _, cut, info = env.step(chosen)
                following[done] = state
                if info["success"]:
                    if demonstration:
                        left -= 1
                    elif protocol.kind != "stitch":
                        maze.set_goal(goal_xy=near(vertices[generator.integers(len(vertices))]))
                done += 1
                demonstrated += demonstration
            truncated[done - 1] = True
            if progress is not None:
                progress(done, steps)
    finally:
        env.close()
    metadata = {
        "format": "operant",
        "name": name,
        "environment": protocol.environment,
        "seed": seed,
        "steps": steps,
        "noise": NOISE,
        "episode_steps": protocol.episode_steps,
        "collector": COLLECTOR_VERSION,
        "versions": {package: importlib.metadata.version(package) for package in ("ogbench", "mujoco", "gymnasium", "numpy")},
        "reward": "none",
        "action_low": [-1.0, -1.0],
        "action_high": [1.0, 1.0],
    }
    return Dataset(observation, action, following, np.zeros(steps, dtype=np.float32), np.zeros(steps, dtype=bool), truncated, metadata)


def _cells(maze_map: np.ndarray) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The free cells of a maze, and those of them that are not the inside of a straight corridor. The border of a maze is wall."""
    free = [(int(i), int(j)) for i, j in np.argwhere(maze_map == 0)]

    def corridor(i: int, j: int) -> bool:
        up, left, down, right = (maze_map[i + di, j + dj] == 0 for di, dj in _NEIGHBOURS)
        return (up and down and not left and not right) or (left and right and not up and not down)

    return free, [cell for cell in free if not corridor(*cell)]


def _cells_at(maze_map: np.ndarray, start: tuple[int, int], distance: int) -> list[tuple[int, int]]:
    """The free cells whose shortest path from `start` has `distance` steps, in the order of a breadth-first search."""
    seen, frontier = {start}, [start]
    for _ in range(distance):
        reached = []
        for i, j in frontier:
            for di, dj in _NEIGHBOURS:
                cell = (i + di, j + dj)
                if maze_map[cell] == 0 and cell not in seen:
                    seen.add(cell)
                    reached.append(cell)
        frontier = reached
    return frontier


# --------------------------------------------------------------------------------------------------------------- tasks


def load_task(name: str, *, steps: int | None = None, seed: int | None = None) -> tuple[Dataset, Callable[[], gymnasium.Env] | None, dict]:
    """An offline task by name: its data and the environment to evaluate in.

    Args:
        name: `ogbench:NAME` (NAME one of `TASKS`; the prefix may be left out), `data:PATH` (any format that `load` reads) or `minari:ID` (the local Minari
        cache).
        steps, seed: for `ogbench:`, which of the cached data sets; by default the longest, and of these the one with the lowest seed.

    Returns:
        (data set, environment factory, info). The factory takes no argument and can be pickled; it is None where the source names no environment that is
        registered here. info: "name", "path" (None for Minari), "environment" (id or None), "score" ("success", read from the environment's info, or
        "return"), "reward" ("none", "environment" or "singletask").

    Single-task rewards follow OGBench 1.2 and later (its `relabel_utils`): r(s) = -1, or 0 with terminated where s itself, not s', lies within 1.0 of the goal.

    Raises:
        BadInput: unknown name, no such data (with the command that makes them), or a file with a fault.
    """
    scheme, colon, rest = name.partition(":")
    if not colon:
        scheme, rest = "ogbench", name
    if scheme == "ogbench":
        return _ogbench_task(rest, steps, seed)
    if steps is not None or seed is not None:
        raise BadInput(f"{name}: steps and seed choose among generated data sets (ogbench:NAME); a {scheme} task is one data set")
    if scheme == "data":
        return _with_environment(load(Path(rest)), {"name": name, "path": str(Path(rest).expanduser().absolute())})
    if scheme == "minari":
        return _with_environment(load_minari(rest), {"name": name, "path": None})
    raise unknown("scheme of an offline task", scheme, ("ogbench", "data", "minari"))


def _ogbench_task(name: str, steps: int | None, seed: int | None) -> tuple[Dataset, Callable[[], gymnasium.Env], dict]:
    base = _collected_name(name)
    made = []
    for file in _data_directory().glob(f"{base}-seed*-*.npz"):
        match = re.fullmatch(re.escape(base) + r"-seed(\d+)-(\d+)\.npz", file.name)
        if match and seed in (None, int(match[1])) and steps in (None, int(match[2])):
            made.append((-int(match[2]), int(match[1]), file))
    if not made:
        command = f"operant data make ogbench:{base} --steps {100000 if steps is None else steps} --seed {0 if seed is None else seed}"
        raise BadInput(f"no data for ogbench:{name} in {_data_directory()}; make them with: {command}")
    path = min(made)[2]
    dataset = load(path)
    environment = _PROTOCOLS[base].environment
    if "singletask" in name:
        environment = re.sub(r"-(navigate|stitch|mixed)-", "-", name)
        dataset = _relabel(dataset, environment)
    dataset.metadata["task"] = name
    info = {"name": f"ogbench:{name}", "path": str(path), "environment": environment, "score": "success", "reward": dataset.metadata["reward"]}
    return dataset, partial(make_environment, environment), info


def _relabel(dataset: Dataset, environment: str) -> Dataset:
    """Rewards and terminations of a single task from the states of goal-conditioned data."""
    env = make_environment(environment)
    env.reset(seed=0)
    goal, tolerance = np.asarray(env.unwrapped.cur_goal_xy, dtype=np.float64), float(env.unwrapped._goal_tol)
    env.close()
    reached = np.linalg.norm(dataset.observation[:, :2] - goal, axis=-1) <= tolerance
    metadata = {key: value for key, value in dataset.metadata.items() if key != "sha256"}
    metadata |= {"reward": "singletask", "environment": environment, "goal": goal.tolist(), "data_sha256": dataset.content_hash()}
    return replace(dataset, reward=reached.astype(np.float32) - np.float32(1.0), terminated=reached, metadata=metadata)


def _with_environment(dataset: Dataset, info: dict) -> tuple[Dataset, Callable[[], gymnasium.Env] | None, dict]:
    """Find the environment that the metadata name. Only ids of the registry are taken: an id with a module in it would import what a stranger's file says."""
    environment, kwargs = dataset.metadata.get("environment"), dataset.metadata.get("environment_kwargs", {})
    if not isinstance(environment, str | None) or not isinstance(kwargs, dict):
        raise BadInput(f"{info['name']}: the metadata's environment must be an id and environment_kwargs an object")
    factory, score = None, "return"
    ours = {task.environment for task in _PROTOCOLS.values()} | {re.sub(r"-(navigate|stitch|mixed)-", "-", task) for task in TASKS if "singletask" in task}
    if environment in ours:
        factory, score = partial(make_environment, environment), "success"
    elif environment in gymnasium.registry:
        factory = partial(gymnasium.make, environment, **kwargs)
    return dataset, factory, info | {"environment": environment, "score": score, "reward": dataset.metadata.get("reward", "environment")}


def _collected_name(name: str) -> str:
    """The data set's name behind a task's name."""
    name = name.removeprefix("ogbench:")
    if name not in TASKS:
        raise unknown("ogbench data set", name, TASKS)
    return re.sub(r"-singletask(-task\d)?", "", name)


def _data_directory() -> Path:
    return cache_directory() / "data"


def _is_current(path: Path) -> bool:
    """Whether a whole file of this collector is there. A damaged or older one is made again."""
    if not path.is_file():
        return False
    try:
        return load(path).metadata.get("collector") == COLLECTOR_VERSION
    except BadInput:
        return False


def _at_least(what: str, value: int, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise BadInput(f"{what} is {value!r}, it must be a whole number of at least {low}")
