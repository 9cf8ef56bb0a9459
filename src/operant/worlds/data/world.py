"""The worlds of offline data: OGBench, Minari, and files."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.records import Evaluation
from operant.worlds.data.collect import TASKS, load_task
from operant.worlds.data.transitions import Transitions
from operant.worlds.gym.adapter import make_environments
from operant.worlds.gym.episodes import run_episodes
from operant.worlds.gym.world import GymWorld


class DataWorld:
    """A data set, and the environment to evaluate in where there is one.

    Args:
        task: `ogbench:NAME`, `data:PATH` or `minari:ID`.
    """

    kind = "data"
    stacked = True
    step_unit = "updates"

    def __init__(self, task: str):
        self.task = task
        self.dataset, self._factory, self.info = load_task(task)
        self.score = self.info["score"]
        self.observation_size = self.dataset.observation.shape[1]
        if self._factory is None:
            raise BadInput(f"{task} names no environment to evaluate in; put its Gymnasium id into the metadata as 'environment'")
        self.environment = GymWorld(self._factory)
        self.action_space = self.environment.action_space
        if self.environment.observation_size != self.observation_size:
            raise BadInput(
                f"{task} has observations of size {self.observation_size}, "
                f"its environment {self.info['environment']} of size {self.environment.observation_size}"
            )

    def fingerprint(self) -> str:
        return f"{self.task} {self.dataset.content_hash()}"

    def policy(self, net: Any, streams: Streams):
        return net.build(self.observation_size, self.action_space, streams)

    def source(self, plan: Any, streams: Streams, *, workers: int = 1):
        raise BadInput(f"{self.task} is a data set: a policy-gradient method needs an environment (gym:) or a problem set (text:, sequences:)")

    def replay(self, plan: Any, actor: Any, streams: Streams, total_steps: int):
        raise BadInput(f"{self.task} is a data set: an online method needs an environment (gym:)")

    def transitions(self, device: torch.device) -> Transitions:
        """All transitions in one store that every seed shares."""
        if self.info["reward"] == "none":
            raise BadInput(f"{self.task} has no rewards (it is goal-conditioned); take its single task: {self.task.replace('-v0', '-singletask-v0')}")
        return self._store(device)

    def _store(self, device: torch.device) -> Transitions:
        data = self.dataset
        store = Transitions(1, data.size, self.observation_size, 0 if data.discrete else data.action.shape[1], device)
        store.add(
            *(
                torch.from_numpy(array).unsqueeze(0)
                for array in (data.observation, data.action, data.reward, data.next_observation, data.terminated, data.truncated)
            )
        )
        return store

    def demonstrations(self, batch_size: int, streams: Streams) -> Demonstrations:
        return Demonstrations(self._store(streams.device), batch_size, streams)

    def evaluate(self, policy: Any, seeds: int, *, episodes: int = 10, seed: int = 0) -> Evaluation:
        """Success (the episode ended at its goal) or undiscounted return of the policies' modes on fresh episodes."""
        total, length, terminated = run_episodes(lambda row_seeds: make_environments(self._factory, row_seeds), policy.act, seeds, episodes, seed)
        return Evaluation(self.score, terminated.astype(np.float64) if self.score == "success" else total, {"length": length, "return": total})

    def random_policy(self) -> Any:
        return self.environment.random_policy()

    def render(self, act, seed: int, max_steps: int) -> list[np.ndarray]:
        return self.environment.render(act, seed, max_steps)


class OGBenchWorld(DataWorld):
    @classmethod
    def from_name(cls, name: str) -> OGBenchWorld:
        return cls(f"ogbench:{name}")

    @staticmethod
    def names() -> dict[str, str]:
        return dict.fromkeys(TASKS, "point maze, offline (extra: offline); `operant data make` generates it")


class FileWorld(DataWorld):
    @classmethod
    def from_name(cls, name: str) -> FileWorld:
        return cls(f"data:{name}")

    @staticmethod
    def names() -> dict[str, str]:
        return {}


class MinariWorld(DataWorld):
    @classmethod
    def from_name(cls, name: str) -> MinariWorld:
        return cls(f"minari:{name}")

    @staticmethod
    def names() -> dict[str, str]:
        return {}


class Demonstrations:
    """Batches of demonstrated actions, drawn uniformly: rows of one step."""

    def __init__(self, store: Transitions, batch_size: int, streams: Streams):
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
