"""The worlds of offline data: OGBench, Minari, and files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.records import Evaluation
from operant.core.registry import read_settings
from operant.core.spec import GOAL
from operant.nets.actors import Policy
from operant.worlds.base import Drawn, SampleWorkers, World
from operant.worlds.data.fit import fit_actions, fit_observations, notes
from operant.worlds.data.options import DataOptions
from operant.worlds.data.tasks import load_task
from operant.worlds.gym.episodes import run_episodes
from operant.worlds.gym.experience import Experience, Online
from operant.worlds.gym.goals import Goals
from operant.worlds.names import OGBENCH
from operant.worlds.store import Store, transition_columns


class DataWorld(World):
    """A data set, and the environment that it is from, to evaluate in.

    Args:
        task: `ogbench:NAME`, `data:PATH` or `minari:ID`.
        options: fields of `DataOptions`, values or text.

    Attributes:
        task: the name; a file stands in it with its absolute path, so that a run goes on from anywhere.
        dataset: what was read, in the environment's own units.
        observation_space, action_space: of the environment.
        notes: what a person should know of the data, a line each.

    Raises:
        BadInput: no such data, data with a fault, no environment, or data that are not of their environment.
    """

    kind = "data"
    stacked = True
    sampled_beside = True
    step_unit = "updates"
    acts = True
    draws = True
    default_steps = 50_000
    option_type = DataOptions

    def __init__(self, task: str, **options: Any):
        self.options: DataOptions = read_settings(DataOptions, options, task, "option")
        self.bfloat16 = self.options.dtype == "bfloat16"
        found = load_task(task, environment=self.options.environment)
        self.task, self.dataset, self.score, self.environment = found.name, found.dataset, found.score, found.world
        self.environment_id, self._reward, self.files = found.environment, found.reward, found.files
        self.observation_space, self.action_space = self.environment.observation_space, self.environment.action_space
        self.observation, self.action = self.environment.observation, self.environment.action
        where = Path(self.task).name if ":/" in self.task else self.task  # a file's name is enough, its folders hide the rest of the line
        sizes = {field.name: field.size for field in self.observation.fields}
        self._hindsight = sizes.keys() == {"observation", GOAL} and self.dataset.observation[0].size == sizes["observation"]
        data, place = self.dataset, (self.environment_id, self.observation_space["observation"] if self._hindsight else self.observation_space)
        self._action = fit_actions(where, data.action, self.environment_id, self.action_space)
        self._observation = self._whole(fit_observations(where, "observation", data.observation, *place))
        self._next_observation = self._whole(fit_observations(where, "next_observation", data.next_observation, *place))
        self.notes = [f"{where}: {line}" for line in notes(data, *place)]

    def _whole(self, observation: np.ndarray) -> np.ndarray:
        """Observations of the data as the environment's rows, `[M, D]`: where it gives a goal beside them, which the data do not hold, that is what the
        episode reached in the end."""
        if not self._hindsight:
            return self._with_mask(observation)
        starts = self.dataset.episode_starts
        lengths = np.diff(np.append(starts, self.dataset.size))
        reached = self.dataset.next_observation[starts + lengths - 1].reshape(len(starts), -1).repeat(lengths, axis=0)
        rows = np.empty((len(observation), self.observation.size), np.float32)
        slices = self.observation.slices
        rows[:, slices["observation"]], rows[:, slices[GOAL]] = observation, reached
        return rows

    def _with_mask(self, observation: np.ndarray) -> np.ndarray:
        """Observations of the data as the environment's rows, `[M, D]`: an action mask that it gives beside them is not in the data, and allows all there."""
        missing = self.observation.size - observation.shape[1]
        return np.pad(observation, ((0, 0), (0, missing)), constant_values=1.0) if missing else observation

    def fingerprint(self) -> str:
        return f"{self.task} {self.dataset.content_hash()} {self.environment_id}"

    def policy(self, net: Any, streams: Streams):
        return net.build(self.observation, self.action, streams)

    def row_bytes(self, widths: Sequence[int] = ()) -> int:
        return self.environment.row_bytes(widths)

    def check_episodes(self, seeds: int, episodes: int | None) -> None:
        self.environment.check_episodes(seeds, episodes)

    def check_demonstrations(self) -> None:
        """All data have actions."""

    def check_data(self, *, rewards: bool = True) -> None:
        """Raise `BadInput` where the data have no rewards to learn values from."""
        if self._reward != "none" or not rewards:
            return
        task = self.task.replace("-v0", "-singletask-v0")
        goals = f"it is goal-conditioned; take its single task: {task}, or a method with goals: hiql"
        hint = goals if self.task.startswith("ogbench:") else "no key 'rewards'; or clone its actions with bc"
        raise BadInput(f"{self.task} has no rewards ({hint})")

    def check_experience(self, plan: Online, seeds: int, total_steps: int, workers: SampleWorkers | None = None) -> None:
        self.environment.check_experience(plan, seeds, total_steps, workers)

    def experience(self, plan: Online, policy: Policy, streams: Streams, total_steps: int, *, workers: SampleWorkers | None = None) -> Experience:
        """What a policy does in the data's environment: its observations and rewards must mean what they do in the data."""
        return self.environment.experience(plan, policy, streams, total_steps, workers=workers)

    def check_goals(self) -> None:
        self.environment.check_goals()

    def goals(self) -> Goals:
        return self.environment.goals()

    def data(self, policy: Policy, device: torch.device, *, rewards: bool = True) -> Store:
        """All transitions in one store that every seed shares: observations and actions as the policy takes and gives them."""
        self.check_data(rewards=rewards)
        return self._store(policy, device)

    def _store(self, policy: Policy, device: torch.device) -> Store:
        data, distribution = self.dataset, policy.distribution
        store = Store(1, data.size, transition_columns(self.observation, distribution.action_shape, distribution.action_type), device=device)
        action = distribution.from_environment(torch.from_numpy(self._action)).unsqueeze(0)
        columns = {"observation": self._observation, "next_observation": self._next_observation, "reward": data.reward}
        columns |= {"terminated": data.terminated, "truncated": data.truncated}
        ends = torch.zeros(1, data.size, dtype=torch.bool)
        ends[0, data.episode_starts[1:] - 1] = True
        store.append({name: torch.from_numpy(array).unsqueeze(0) for name, array in columns.items()} | {"action": action}, ends=ends)
        return store

    def demonstrations(self, policy: Any, batch_size: int, streams: Streams) -> Demonstrations:
        if policy.initial(1) is not None:
            raise BadInput("the policy remembers its episode, and demonstrations are drawn step by step: take a net without memory")
        return Demonstrations(self._store(policy, streams.device), batch_size, streams)

    def evaluate(self, policy: Any, seeds: int, *, episodes: int = 10, seed: int = 0) -> Evaluation:
        """Success (the episode ended at its goal) or undiscounted return of the policies' modes on fresh episodes."""
        played = run_episodes(self.environment.make, policy.act, seeds, episodes, seed, self.options.max_evaluation_steps or self.environment.most_steps)
        values = played.terminated.astype(np.float64) if self.score == "success" else played.total
        measures = played.measures if self.score != "success" else {}
        return Evaluation(self.score, values, {"length": played.length, "return": played.total, "truncated": played.truncated}, measures)

    def act(self, policy: Any, observation: Any, action_mask: Any = None, carry: Tensor | None = None) -> tuple[Any, Tensor | None]:
        """The policy's mode at one observation or several, as `GymWorld.act`."""
        return self.environment.act(policy, observation, action_mask, carry)

    def as_seen(self, render_mode: str | None) -> gymnasium.Env:
        return self.environment.as_seen(render_mode)

    def random_policy(self, seeds: Sequence[int] = (0,)) -> Any:
        return self.environment.random_policy(seeds)

    def draw(self, policy: Any, seed: int, *, window: bool = False) -> Iterator[Drawn]:
        return self.environment.draw(policy, seed, window=window)


class OGBenchWorld(DataWorld):
    @classmethod
    def from_name(cls, name: str, **options: Any) -> OGBenchWorld:
        return cls(f"ogbench:{name}", **options)

    @staticmethod
    def names() -> dict[str, str]:
        return dict.fromkeys(OGBENCH, "point maze, offline (extra: offline); `operant data make` generates it")


class FileWorld(DataWorld):
    @classmethod
    def from_name(cls, name: str, **options: Any) -> FileWorld:
        return cls(f"data:{name}", **options)

    @staticmethod
    def names() -> dict[str, str]:
        return {}


class MinariWorld(DataWorld):
    @classmethod
    def from_name(cls, name: str, **options: Any) -> MinariWorld:
        return cls(f"minari:{name}", **options)

    @staticmethod
    def names() -> dict[str, str]:
        return {}


class Demonstrations:
    """Batches of demonstrated actions, drawn uniformly: rows of one step."""

    def __init__(self, store: Store, batch_size: int, streams: Streams):
        self._store, self._batch_size, self._streams = store, batch_size, streams

    def draw(self) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """(inputs, action, mask): `observation [S, B, 1, D]`, `[S, B, 1]` or `[S, B, 1, A]`, `[S, B, 1]`."""
        index = (self._streams.uniform("draw", self._batch_size) * self._store.size).long().clamp_(max=self._store.size - 1)
        batch = self._store.gather(index)
        mask = torch.ones(*index.shape, 1, dtype=torch.bool, device=index.device)
        return {"observation": batch.observation.unsqueeze(2)}, batch.action.unsqueeze(2), mask

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass
