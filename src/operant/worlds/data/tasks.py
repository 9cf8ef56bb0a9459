"""Offline tasks by name: the data, and the environment that they are from."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from operant.core.errors import BadInput, RunFailed, unknown
from operant.worlds.data.collect import PROTOCOLS, collected_name, data_directory, make_environment, make_task_environment
from operant.worlds.data.dataset import Dataset
from operant.worlds.data.formats import load, load_minari, minari_names
from operant.worlds.gym.adapter import hear_mujoco_once
from operant.worlds.gym.ids import registered
from operant.worlds.gym.native import NATIVE
from operant.worlds.gym.world import GymWorld

_OGBENCH = re.compile(r"(visual-)?(pointmaze|antmaze|humanoidmaze|antsoccer|cube|scene|puzzle|powderworld)-[a-z0-9-]+-v\d+")


@dataclass
class OfflineTask:
    """What an offline task's name stands for.

    Attributes:
        name: the whole name, of a file its absolute path.
        dataset: in the environment's own units.
        environment: its id.
        world: to evaluate in.
        score: "success" (of OGBench's environments, whose episodes end at the goal) or "return".
        reward: "none", "environment" or "singletask".
        files: of the cache, what was read.
    """

    name: str
    dataset: Dataset
    environment: str
    world: GymWorld
    score: str
    reward: str
    files: tuple[Path, ...] = ()


def load_task(name: str, *, environment: str | None = None, steps: int | None = None, seed: int | None = None) -> OfflineTask:
    """An offline task by name.

    Args:
        name: `ogbench:NAME` (NAME one of `worlds.names.OGBENCH`; the prefix may be left out), `data:PATH` (any format that `load` reads) or
            `minari:ID` (of the local Minari cache; or the path of a data set's folder or file).
        environment: Gymnasium id in the place of the one that the data name.
        steps, seed: for `ogbench:`, which of the cached data sets; by default the longest, and of these the one with the lowest seed.

    Single-task rewards follow OGBench 1.2 and later (its `relabel_utils`): r(s) = -1, or 0 with terminated where s itself, not s', lies within 1.0 of the goal.

    Raises:
        BadInput: unknown name, no such data (with the command that makes them), a file with a fault, or no environment that is registered here.
    """
    scheme, colon, rest = name.partition(":")
    if not colon:
        scheme, rest = "ogbench", name
    if scheme == "ogbench":
        if environment is not None:
            raise BadInput(f"{name} brings its environment; --environment is for files (data:PATH, minari:ID)")
        return _ogbench_task(rest, steps, seed)
    if steps is not None or seed is not None:
        raise BadInput(f"{name}: steps and seed choose among generated data sets (ogbench:NAME); a {scheme} task is one data set")
    placed = rest.startswith(("/", ".", "~")) or (rest not in minari_names() and os.path.exists(rest))
    if scheme == "data" or (scheme == "minari" and placed):
        path = Path(os.path.expanduser(rest)).absolute()
        return _with_environment(f"{scheme}:{path}", load(path), environment)
    if scheme == "minari":
        return _with_environment(name, load_minari(rest), environment)
    raise unknown("scheme of an offline task", scheme, ("ogbench", "data", "minari"))


def _ogbench_task(name: str, steps: int | None, seed: int | None) -> OfflineTask:
    base = collected_name(name)
    made = []
    for file in data_directory().glob(f"{base}-seed*-*.npz"):
        match = re.fullmatch(re.escape(base) + r"-seed(\d+)-(\d+)\.npz", file.name)
        if match and seed in (None, int(match[1])) and steps in (None, int(match[2])):
            made.append((-int(match[2]), int(match[1]), file))
    if not made:
        command = f"operant data make ogbench:{base} --steps {100000 if steps is None else steps} --seed {0 if seed is None else seed}"
        raise BadInput(f"no data for ogbench:{name} in {data_directory()}; make them with: {command}")
    file = min(made)[2]
    dataset = load(file)
    environment = PROTOCOLS[base].environment
    if "singletask" in name:
        environment = re.sub(r"-(navigate|stitch|mixed)-", "-", name)
        dataset = _relabel(dataset, environment)
    dataset.metadata["task"] = name
    world = GymWorld(_of_ogbench(environment, {}))
    return OfflineTask(f"ogbench:{name}", dataset, environment, world, "success", dataset.metadata["reward"], (file,))


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


# --------------------------------------------------------------------------------------------------- a file's environment


@dataclass(frozen=True)
class Registered:
    """Makes an environment of Gymnasium's registry whose observations become rows as data sets hold them: the parts of a Dict space in the order of their keys.

    Attributes:
        id: as it is registered, or `module:id`.
        kwargs: of the environment's constructor.
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "__qualname__", self.id)  # what messages call a callable

    def __call__(self, **kwargs: Any) -> gymnasium.Env:
        name = registered(self.id)
        if "mujoco" in str(gymnasium.registry[name].entry_point):
            hear_mujoco_once()
        env = gymnasium.make(name, **{"disable_env_checker": True} | dict(self.kwargs) | kwargs)
        if not isinstance(env.observation_space, spaces.Dict | spaces.Tuple):
            return env
        return gymnasium.wrappers.TransformObservation(env, _as_it_is, _by_key(env.observation_space))


def _as_it_is(observation: Any) -> Any:
    return observation


def _by_key(space: gymnasium.Space) -> gymnasium.Space:
    """A space whose Dict parts are in the order of their keys."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict({key: _by_key(space[key]) for key in sorted(space)})
    return spaces.Tuple([_by_key(part) for part in space]) if isinstance(space, spaces.Tuple) else space


def _with_environment(name: str, dataset: Dataset, given: str | None) -> OfflineTask:
    """Find the environment that is given or that the metadata name.

    Of the file's own only ids of the registry are taken: an id with a module in it would import what a stranger's file says.
    """
    said, kwargs = dataset.metadata.get("environment"), dataset.metadata.get("environment_kwargs", {})
    if not isinstance(said, str | None) or not isinstance(kwargs, dict):
        raise BadInput(f"{name}: the metadata's environment must be an id and environment_kwargs an object")
    if given is None and not said:
        raise BadInput(f"{name} names no environment to evaluate in: give its Gymnasium id, --environment ID (for example --environment HalfCheetah-v5)")
    environment = given or said
    if environment != said:
        kwargs = {}
    if given is None and ":" in said:
        raise BadInput(f"{name} names its environment {said!r}, which would import a module that the file chose: if you trust it, give --environment {said}")
    try:
        make = _make(environment, kwargs)
        world = GymWorld(make)
    except (BadInput, RunFailed) as error:
        if given is not None:
            raise
        raise BadInput(f"{name} names its environment {said!r}: {error}; or give one that is here, --environment ID") from error
    goal = isinstance(make, partial)
    return OfflineTask(name, dataset, environment, world, "success" if goal else "return", dataset.metadata.get("reward", "environment"))


def _of_ogbench(environment: str, kwargs: dict) -> partial:
    """What makes an environment of OGBench's, under its own name in messages."""
    make = partial(make_task_environment, environment, **kwargs)
    make.__qualname__ = environment
    return make


def _make(environment: str, kwargs: dict) -> str | Callable[..., gymnasium.Env]:
    """What a `GymWorld` is made of: OGBench's environments are made in their own way, native ones by their id, all others as data sets hold them."""
    if _OGBENCH.fullmatch(environment):
        return _of_ogbench(environment, kwargs)
    spec = gymnasium.registry[registered(environment)]
    if kwargs.get("max_episode_steps") == spec.max_episode_steps:
        kwargs = {key: value for key, value in kwargs.items() if key != "max_episode_steps"}  # Minari writes it always
    return environment if environment in NATIVE and not kwargs else Registered(environment, kwargs)
