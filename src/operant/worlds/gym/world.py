"""The world of Gymnasium environments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch

from operant.core.errors import BadInput
from operant.core.memory import check_memory
from operant.core.random import Streams
from operant.core.records import Evaluation
from operant.core.registry import read_settings
from operant.nets.actors import Actor
from operant.nets.distributions import drawn_range
from operant.worlds.base import World
from operant.worlds.data.transitions import Transitions
from operant.worlds.gym.adapter import callable_name, make_environments, render_episode
from operant.worlds.gym.check import BrokenRule
from operant.worlds.gym.collect import Collector, Steps
from operant.worlds.gym.episodes import run_episodes
from operant.worlds.gym.native import NATIVE
from operant.worlds.gym.objects import maker_of
from operant.worlds.gym.options import GymOptions
from operant.worlds.gym.replay import Online, ReplayCollector, check_replay_memory
from operant.worlds.gym.spaces import Actions, Observations, width
from operant.worlds.gym.workers import check_workers
from operant.worlds.names import CLASSIC, MUJOCO

MOST_ROWS, MOST_OBJECTS = 1_000_000, 10_000  # copies of an environment at a time: of a native one, and of an id whose copies are objects
WIDE = 10_000  # numbers in an observation from which a person is told


class GymWorld(World):
    """One environment id, or what makes environments.

    Args:
        environment: a registered id (`module:id` imports the module first), a callable that makes one `gymnasium.Env` or, given `num_envs`, a
            `gymnasium.vector.VectorEnv`, or an environment object, which is copied (see `operant.worlds.gym.objects`).
        options: fields of `GymOptions`, values or text.

    Raises:
        BadInput: an unknown id, a missing package, an unsupported space, or a first step that breaks the Gymnasium API.
        RunFailed: the environment raised, or took too long to start.
    """

    kind = "gym"
    option_type = GymOptions
    stacked = True
    score = "return"
    step_unit = "environment steps"
    acts = True
    default_steps = 100_000

    def __init__(self, environment: Any, **options: Any):
        self.environment = environment if isinstance(environment, str) else maker_of(environment)
        name = environment if isinstance(environment, str) else callable_name(self.environment)
        self.task = f"gym:{name}"
        self.options: GymOptions = read_settings(GymOptions, options, self.task, "option")
        self.make = partial(make_environments, self.environment)
        probe = self.make([0])
        try:
            self.observation_space, self.action_space = probe.observation_space, probe.action_space
            self.observation_size = probe.reset().shape[-1]
            self._observations, self._actions = Observations(self.task, self.observation_space), Actions(self.task, self.action_space)
            probe.step(self.random_policy().act(torch.zeros(1, probe.rows))[0])
        except BrokenRule as error:
            raise BadInput(str(error)) from error
        finally:
            probe.close()

    @property
    def notes(self) -> list[str]:
        """What a person should know before a run, a line each."""
        shape, size = self.observation_space.shape, self.observation_size
        if len(shape) < 3 and size < WIDE:
            return []
        what = f"observations of shape {shape}" if len(shape) > 1 else f"{size:,} numbers an observation"
        scaled = "" if self.observation_space.dtype.kind == "f" else ", not scaled"
        return [f"{what} go into a multilayer perceptron as {size:,} inputs{scaled}: no network here sees pictures"]

    @property
    def action_kind(self) -> str:
        return "discrete" if isinstance(self.action_space, gymnasium.spaces.Discrete) else "continuous"

    def row_bytes(self, widths: Sequence[int] = ()) -> int:
        return 4 * (2 * self.observation_size + sum(widths))

    def check_episodes(self, seeds: int, episodes: int | None) -> None:
        if episodes is not None:
            self.check_copies(seeds, episodes, "--episodes")

    def check_source(self, plan: Any, seeds: int, workers: int) -> None:
        if not isinstance(plan, Steps):
            raise BadInput(f"{self.task} is sampled step by step; this method's plan is {type(plan).__name__}")
        self.check_copies(seeds, plan.environments, "--environments")
        rows, size = seeds * plan.environments, self.transition_bytes
        what = f"a rollout of {plan.length:,} steps of {rows:,} environments ({self.observation_size:,} numbers an observation)"
        check_memory(what, plan.length * rows * size, "take fewer --environments, or a shorter --rollout-length")
        if workers > 1:
            check_workers(self.make, seeds, plan.environments, workers)

    def check_copies(self, seeds: int, each: int, option: str) -> None:
        """Raise `BadInput` where a run would make more copies of the environment than can be made in time: those of all seeds are stepped together.

        Args:
            each: copies a seed.
            option: what sets `each`.
        """
        most = MOST_OBJECTS if isinstance(self.environment, str) and self.environment not in NATIVE else MOST_ROWS
        if seeds * each > most:
            nearest = f"nearest: {option} {most // seeds}" if seeds <= most else f"take fewer seeds, at most {most:,}"
            raise BadInput(f"{option} {each}: {seeds * each:,} copies of {self.task} at a time, of which there can be {most:,}; {nearest}")

    @property
    def transition_bytes(self) -> int:
        """Memory of one step of one copy."""
        return Transitions.row_bytes(self.observation_size, 1 if isinstance(self.action_space, gymnasium.spaces.Discrete) else width(self.action_space))

    def check_replay(self, plan: Online, seeds: int, total_steps: int) -> None:
        """Raise `BadInput` where memory cannot hold what `replay` keeps."""
        self.check_copies(seeds, plan.environments, "--environments")
        check_replay_memory(plan, self.observation_size, self.transition_bytes, seeds, total_steps)

    @classmethod
    def from_name(cls, name: str, **options: Any) -> GymWorld:
        return cls(name, **options)

    @staticmethod
    def names() -> dict[str, str]:
        return dict.fromkeys(CLASSIC, "classic control, batched") | dict.fromkeys(MUJOCO, "MuJoCo (extra: mujoco)")

    def fingerprint(self) -> str:
        """What must be the same when a run goes on."""
        return f"{self.task} {self.observation_space} {self.action_space}"

    def policy(self, net: Any, streams: Streams):
        if net is None:
            raise BadInput(f"this method brings no policy network, and {self.task} has none of its own")
        return net.build(self.observation_size, self.action_space, streams)

    def source(self, plan: Any, streams: Streams, *, workers: int = 1) -> Collector:
        self.check_source(plan, len(streams.seeds), workers)
        return Collector(self.make, self.observation_size, plan, streams, workers=workers)

    def replay(self, plan: Online, actor: Actor, streams: Streams, total_steps: int) -> ReplayCollector:
        return ReplayCollector(self.make, self.observation_size, plan, actor, streams, total_steps)

    def evaluate(self, policy: Any, seeds: int, *, episodes: int = 10, seed: int = 0) -> Evaluation:
        """Undiscounted returns of the policies' modes on fresh episodes."""
        played = run_episodes(self.make, policy.act, seeds, episodes, seed, self.options.max_evaluation_steps)
        return Evaluation(self.score, played.total, {"length": played.length, "truncated": played.truncated})

    def act(self, policy: Any, observation: Any) -> np.ndarray | np.integer:
        """The policy's mode at one observation, or at several with an axis in front, both as the environment has them.

        Returns:
            an element of the action space, or an array of as many. A Discrete one is a NumPy integer.

        Raises:
            BadInput: no observation of this environment.
        """
        seen, one = self._observations.rows(observation)
        actions = self._actions.to_environment(policy.act(torch.from_numpy(seen).unsqueeze(0))[0], len(seen))
        return self._actions.of_row(actions, 0) if one else actions

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
        low, high = drawn_range(self.space.low.reshape(-1), self.space.high.reshape(-1))
        return self._draws.uniform(low, high, size=(*shape, low.size)).astype(np.float32)
