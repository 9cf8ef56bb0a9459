"""The world of Gymnasium environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.records import Evaluation
from operant.nets.actors import Actor
from operant.worlds.gym.adapter import callable_name, make_environments, render_episode
from operant.worlds.gym.collect import Collector, Steps
from operant.worlds.gym.episodes import run_episodes
from operant.worlds.gym.native import NATIVE
from operant.worlds.gym.replay import Online, ReplayCollector

MUJOCO = ("Ant-v5", "HalfCheetah-v5", "Hopper-v5", "Humanoid-v5", "InvertedPendulum-v5", "Reacher-v5", "Swimmer-v5", "Walker2d-v5")


class GymWorld:
    """One environment id, or a callable that makes one environment.

    Args:
        environment: a registered id, or a zero-argument callable that returns a `gymnasium.Env` (picklable where workers are wanted).
    """

    kind = "gym"
    stacked = True
    score = "return"
    step_unit = "environment steps"
    notes: Sequence[str] = ()

    def __init__(self, environment: str | Callable[[], gymnasium.Env]):
        name = environment if isinstance(environment, str) else callable_name(environment)
        self.environment = environment
        self.task = f"gym:{name}"
        self.make = partial(make_environments, environment)
        probe = self.make([0])
        self.observation_space, self.action_space = probe.observation_space, probe.action_space
        self.observation_size = probe.reset().shape[-1]
        probe.close()

    @classmethod
    def from_name(cls, name: str) -> GymWorld:
        return cls(name)

    @staticmethod
    def names() -> dict[str, str]:
        native = {name: "classic control, batched" for name in NATIVE}
        return native | {name: "MuJoCo (extra: mujoco)" for name in MUJOCO}

    def fingerprint(self) -> str:
        """What must be the same when a run goes on."""
        return f"{self.task} {self.observation_space} {self.action_space}"

    def policy(self, net: Any, streams: Streams):
        if net is None:
            raise BadInput(f"this method brings no policy network, and {self.task} has none of its own")
        return net.build(self.observation_size, self.action_space, streams)

    def source(self, plan: Any, streams: Streams, *, workers: int = 1) -> Collector:
        if not isinstance(plan, Steps):
            raise BadInput(f"{self.task} is sampled step by step; this method's plan is {type(plan).__name__}")
        return Collector(self.make, self.observation_size, plan, streams, workers=workers)

    def replay(self, plan: Online, actor: Actor, streams: Streams, total_steps: int) -> ReplayCollector:
        return ReplayCollector(self.make, self.observation_size, plan, actor, streams, total_steps)

    def transitions(self, actor: Any, device: torch.device):
        raise BadInput(f"{self.task} is no data set: an offline method needs one (ogbench:, data:, minari:)")

    def demonstrations(self, policy: Any, batch_size: int, streams: Streams):
        raise BadInput(f"{self.task} has no demonstrations: a supervised method needs a data set (ogbench:, data:, minari:)")

    def evaluate(self, policy: Any, seeds: int, *, episodes: int = 10, seed: int = 0) -> Evaluation:
        """Undiscounted returns of the policies' modes on fresh episodes."""
        total, length, _ = run_episodes(self.make, policy.act, seeds, episodes, seed)
        return Evaluation(self.score, total, {"length": length})

    def random_policy(self) -> Any:
        """A policy of uniformly random actions, the baseline of every table."""
        return RandomPolicy(self.action_space)

    def render(self, act: Callable[[np.ndarray], np.ndarray], seed: int, max_steps: int) -> list[np.ndarray]:
        """Every fourth frame of one episode; none where the environment cannot draw."""
        return render_episode(self.environment, act, seed, max_steps, every=4)


class RandomPolicy:
    """Uniformly random actions, from a stream of its own."""

    def __init__(self, space: gymnasium.Space):
        self.space = space
        self._draws = np.random.default_rng(0)

    def act(self, observation: torch.Tensor) -> np.ndarray:
        shape = observation.shape[:2]
        if isinstance(self.space, gymnasium.spaces.Discrete):
            return self._draws.integers(self.space.n, size=shape)
        low, high = (np.where(np.isfinite(bound), bound, sign).reshape(-1) for bound, sign in ((self.space.low, -1.0), (self.space.high, 1.0)))
        return self._draws.uniform(low, high, size=(*shape, low.size)).astype(np.float32)
