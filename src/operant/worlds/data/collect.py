"""Point-maze data in the manner of OGBench, and OGBench's environments.

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
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np

from operant.core.cache import cache_directory
from operant.core.errors import BadInput, unknown
from operant.core.files import check_target, given_path
from operant.core.seeds import derive_seed
from operant.worlds.data.dataset import Dataset
from operant.worlds.data.formats import load, save_npz
from operant.worlds.gym.adapter import hear_mujoco_once
from operant.worlds.names import COLLECTIONS, MAZES, OGBENCH

COLLECTOR_VERSION = 1
"""Raised when the same seed gives other data; a cached file of another version is made again."""

NOISE = 0.5  # standard deviation of the oracle's action noise; actions lie in [-1, 1]
_STITCH_DISTANCE = 4  # cells from start to goal
_STAY = 10  # steps at the goal that end a demonstration
_SINGLE_TASK = re.compile(r"-singletask(-task\d)?")
_OGBENCH_URL = "https://rail.eecs.berkeley.edu/datasets/ogbench"
_NEIGHBOURS = ((-1, 0), (0, -1), (1, 0), (0, 1))


@dataclass(frozen=True)
class _Protocol:
    environment: str  # OGBench's id of the goal-conditioned environment
    kind: str  # "navigate", "stitch" or "mixed"
    episode_steps: int


PROTOCOLS = {
    f"pointmaze-{maze}-{kind}-v0": _Protocol(f"pointmaze-{maze}-v0", kind, 200 if kind == "stitch" else 2000 if maze == "giant" else 1000)
    for maze in MAZES
    for kind in COLLECTIONS
}


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

    def state_dict(self) -> dict:
        return {"bits": self._bits.state}

    def load_state_dict(self, state: dict) -> None:
        self._bits.state = state["bits"]


class WithGoal(gymnasium.Wrapper):
    """An OGBench environment whose observations say what is to be reached: a Dict of `observation` and `desired_goal`, a whole observation too."""

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        self.observation_space = gymnasium.spaces.Dict({"observation": env.observation_space, "desired_goal": env.observation_space})
        self._goal: np.ndarray | None = None

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        observation, info = self.env.reset(seed=seed, options=options)
        self._goal = np.asarray(info["goal"], dtype=self.env.observation_space.dtype)
        return self._seen(observation), info

    def step(self, action):
        observation, *rest = self.env.step(action)
        return self._seen(observation), *rest

    def _seen(self, observation: np.ndarray) -> dict[str, np.ndarray]:
        return {"observation": observation, "desired_goal": self._goal}

    def state_dict(self) -> dict:
        return {"goal": self._goal}

    def load_state_dict(self, state: dict) -> None:
        self._goal = state["goal"]


def make_task_environment(environment: str, **kwargs: object) -> gymnasium.Env:
    """As `make_environment`; where the goal is another one each episode, observations say which."""
    env = make_environment(environment, **kwargs)
    return env if "singletask" in environment else WithGoal(env)


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
    if (path := getattr(env.unwrapped, "fullpath", None)) is not None:
        _release_model_file(path)
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
    name = collected_name(name)
    _at_least("steps", steps, 1)
    _at_least("seed", seed, 0)
    path = given_path(os.path.expanduser(out), "--out") if out is not None else data_directory() / f"{name}-seed{seed}-{steps}.npz"
    check_target(path)
    if out is None and _is_current(path):
        return path
    return save_npz(collect(name, steps=steps, seed=seed, progress=progress), path)


def collect(name: str, *, steps: int, seed: int, progress: Callable[[int, int], None] | None = None) -> Dataset:
    """The data set that `make_dataset` writes, in memory. Arguments and errors as there."""
    name = collected_name(name)
    protocol = PROTOCOLS[name]
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


def collected_name(name: str) -> str:
    """The data set's name behind a task's name.

    Raises:
        BadInput: it is unknown (with the nearest), or one of OGBench's own (with where it is to be had and how it is given).
    """
    name = name.removeprefix("ogbench:")
    if name not in OGBENCH:
        if re.fullmatch(r"(visual-|ant|humanoid|cube-|scene-|puzzle-|powderworld-)[a-z0-9-]+-v\d+", name):
            raise BadInput(_published(name))
        raise unknown("ogbench data set", name, OGBENCH, "`operant tasks` lists them")
    return _SINGLE_TASK.sub("", name)


def _published(name: str) -> str:
    """What a data set that OGBench publishes needs, in a line."""
    base, environment = _SINGLE_TASK.sub("", name), re.sub(r"-(play|noisy|navigate|stitch|explore)(?=-)", "", name)
    kept = f"it is kept as ~/.ogbench/data/{base}.npz"
    said = f"{base} is not made here (operant data make collects point mazes): OGBench publishes it. "
    if "-singletask" in name:
        return (
            f"{said}Save it with its task's rewards: python -c \"import numpy, ogbench; numpy.savez('{name}.npz', "
            f"**ogbench.make_env_and_datasets('{name}')[1])\", then --task data:{name}.npz --environment {environment}"
        )
    return (
        f"{said}Download {_OGBENCH_URL}/{base}.npz (python -c \"import ogbench; ogbench.download_datasets(['{base}'])\" does, and {kept}), "
        f"then --task data:~/.ogbench/data/{base}.npz --environment {environment}"
    )


def data_directory() -> Path:
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
