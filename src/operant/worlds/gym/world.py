"""The world of Gymnasium environments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from types import FunctionType
from typing import Any

import gymnasium
import numpy as np
import torch

from operant.core.errors import BadInput
from operant.core.memory import check_memory
from operant.core.random import Streams
from operant.core.records import Evaluation
from operant.core.registry import is_file, read_settings
from operant.core.seeds import derive_seed
from operant.core.spec import Spec
from operant.nets.actors import Policy
from operant.nets.distributions import drawn_range
from operant.nets.policy import TrainedPolicy
from operant.worlds.base import Drawn, SampleWorkers, World, check_carried
from operant.worlds.gym import atari
from operant.worlds.gym.adapter import begins_alike, callable_name, make_environments, make_objects, resets_by_steps, rewards_told, rows_stand_alone
from operant.worlds.gym.beds import BATCHED, BEDS, LevelledEnvironments
from operant.worlds.gym.check import BrokenRule
from operant.worlds.gym.collect import Collector, Steps
from operant.worlds.gym.drawing import draw_episodes
from operant.worlds.gym.episodes import Episodes, run_episodes
from operant.worlds.gym.experience import Experience, Online, Stream, check_store_memory
from operant.worlds.gym.goals import Goals
from operant.worlds.gym.ids import name_of, registered
from operant.worlds.gym.objects import maker_of, rows_given
from operant.worlds.gym.options import GymOptions
from operant.worlds.gym.player import ViewingPlayer
from operant.worlds.gym.spaces import Actions, Observations, coarse, scaled, space_text
from operant.worlds.gym.starts import Starts, make_started, recorded
from operant.worlds.gym.views import SeenEnvironment, Shown, view_of, within
from operant.worlds.gym.workers import check_split
from operant.worlds.names import CLASSIC, MUJOCO
from operant.worlds.player import Player
from operant.worlds.store import row_bytes, transition_columns

MOST_ROWS, MOST_OBJECTS = 1_000_000, 10_000  # copies of an environment at a time: of a native one, and of an id whose copies are objects
MOST_STEPS = 10_000  # of an evaluation episode
WIDE = 10_000  # numbers in an observation from which a person is told


class GymWorld(World):
    """One environment id, or what makes environments.

    Args:
        environment: a registered id (`module:id` imports the module first), a callable that makes one `gymnasium.Env` or, given `num_envs`, a
            `gymnasium.vector.VectorEnv`, the name of such a callable (`module:name`), or an environment object, which is copied (see
            `operant.worlds.gym.objects`).
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
    draws = True
    sampled_beside = True
    default_steps = 100_000

    def __init__(self, environment: Any, /, **options: Any):
        self.environment, self.given_rows = maker_of(environment), rows_given(environment)
        name = environment if isinstance(environment, str) else name_of(self.environment)
        self.named = name is not None
        self.task = f"gym:{name or callable_name(self.environment)}"
        self.options: GymOptions = read_settings(GymOptions, options, self.task, "option")
        self.bfloat16 = self.options.dtype == "bfloat16"
        self.view = view_of(self.options, self.environment, self.task)
        self.make = partial(make_environments, self.environment, view=self.view.evaluated)
        self.make_training = partial(make_environments, self.environment, view=self.view)
        probe = self.make([0])
        self._rows_stand_alone, self._resets_by_steps = rows_stand_alone(probe), resets_by_steps(probe)
        self.levels = probe.levels if isinstance(probe, LevelledEnvironments) else None
        try:
            self.observation_space, self.action_space = probe.observation_space, probe.action_space
            self._alike, self._rewards = begins_alike(probe), rewards_told(probe)
            seen = probe.reset()
            self.observation, self.action = probe.observation_spec, probe.action_spec
            self._observations = Observations(self.task, self.observation_space, self.observation, self.action)
            inner = within(probe)
            self._own = Observations(self.task, inner.observation_space, inner.observation_spec, self.action)  # reads what the environment itself gives
            self._shown = Shown(inner.observation_spec, self.observation, probe.limit)
            self._actions = Actions(self.task, self.action_space)
            if self.options.rescale_action:
                self.action = scaled(self.task, self.action)
            self._coarse = coarse(self.observation, seen)
            probe.step(self.random_policy().act(torch.from_numpy(seen).unsqueeze(0))[0][0])
        except BrokenRule as error:
            raise BadInput(str(error)) from error
        finally:
            probe.close()

    @property
    def most_steps(self) -> int:
        """Of an evaluation episode."""
        return self.options.max_evaluation_steps or (atari.STEPS if self.view.atari else MOST_STEPS)

    @property
    def notes(self) -> list[str]:
        """What a person should know before a run, a line each."""
        flat = sum(field.size for field in self.observation.fields if not field.picture)
        found = [f"{flat:,} numbers an observation go into a multilayer perceptron"] if flat >= WIDE else []
        if self._coarse:
            found.append(f"{self.task}: {self._coarse}")
        if self._rewards:
            found.append(f"{self.task}: {self._rewards}")
        if not self._alike:
            found.append(f"{self.task} begins differently each time with the same seed: its reset ignores the seed, so that no run on it can be repeated")
        return found

    def notes_on(self, policy: TrainedPolicy) -> list[str]:
        return [f"{policy.far}: what is good may never be drawn; --rescale-action makes -1 to 1 of the range"] if policy.far else []

    @property
    def modules(self) -> Sequence[str]:
        if not isinstance(self.environment, str):
            module = self.task.split(":")[1]
            return (module,) if self.named and is_file(module) else ()
        entry = gymnasium.registry[registered(self.environment)].entry_point if self.environment not in BATCHED else None
        return (entry.__module__,) if isinstance(entry, type | FunctionType) else ()

    def row_bytes(self, widths: Sequence[int] = ()) -> int:
        return 4 * (2 * self.observation.size + sum(widths))

    def check_episodes(self, seeds: int, episodes: int | None) -> None:
        if episodes is not None:
            self.check_copies(seeds, episodes, "--episodes")

    def check_source(self, plan: Any, seeds: int, workers: SampleWorkers | None) -> None:
        if not isinstance(plan, Steps):
            raise BadInput(f"{self.task} is sampled step by step; this method's plan is {type(plan).__name__}")
        self.check_copies(seeds, plan.environments, "--environments")
        rows, numbers = seeds * plan.environments, 2 * self.observation.size + self.action.numbers
        what = f"a rollout of {plan.length:,} steps of {rows:,} environments ({self.observation.size:,} numbers an observation)"
        ahead = 0 if workers is None else workers.staleness
        if ahead and plan.behaviour is not None:
            raise BadInput(f"--staleness {ahead}: what acts adapts to what was done last, and has no older weights: leave it out")
        check_memory(what, (plan.batches + ahead) * plan.length * rows * 4 * numbers, "take fewer --environments, or a shorter --rollout-length")
        self._check_split(seeds, plan.environments, workers)

    def _check_split(self, seeds: int, each: int, workers: SampleWorkers | None) -> None:
        """Raise `BadInput` where the rows, `each` of a seed, cannot be dealt to so many processes."""
        if workers is None:
            return
        if not self._rows_stand_alone:
            raise BadInput(f"{workers.given}: {self.task} steps all its rows in one computation, of which there are no parts; leave the workers out")
        check_split(self.make_training, seeds, each, workers)

    def check_copies(self, seeds: int, each: int, option: str) -> None:
        """Raise `BadInput` where a run would make more copies of the environment than can be made in time: those of all seeds are stepped together.

        Args:
            each: copies a seed.
            option: what sets `each`.
        """
        most = MOST_OBJECTS if isinstance(self.environment, str) and self.environment not in BATCHED else MOST_ROWS
        if seeds * each > most:
            nearest = f"nearest: {option} {most // seeds}" if seeds <= most else f"take fewer seeds, at most {most:,}"
            raise BadInput(f"{option} {each}: {seeds * each:,} copies of {self.task} at a time, of which there can be {most:,}; {nearest}")

    @property
    def transition_bytes(self) -> int:
        """Memory of one step of one copy in replay."""
        return row_bytes(transition_columns(self.observation, (self.action.numbers,)), frames=True)

    def check_experience(self, plan: Online, seeds: int, total_steps: int, workers: SampleWorkers | None = None) -> None:
        """Raise `BadInput` where memory cannot hold what `experience` keeps, or where no such processes can step the environments."""
        self.check_copies(seeds, plan.environments, "--environments")
        check_store_memory(plan, self.observation.size, self.transition_bytes, seeds, total_steps)
        self._check_split(seeds, plan.environments, workers)

    def check_stream(self, seeds: int) -> None:
        if self._resets_by_steps:
            raise BadInput(f"{self.task} resets by a step of its own (NEXT_STEP autoreset), and this method learns from each step: give it SAME_STEP autoreset")
        self.check_copies(seeds, 1, "--seeds")

    @classmethod
    def from_name(cls, name: str, **options: Any) -> GymWorld:
        return cls(name, **options)

    @staticmethod
    def names() -> dict[str, str]:
        return dict.fromkeys(CLASSIC, "classic control, batched") | dict.fromkeys(MUJOCO, "MuJoCo (extra: mujoco)") | dict.fromkeys(BEDS, "test bed, batched")

    def at(self, level: Sequence[float]) -> GymWorld:
        levels = self.check_levels()
        if len(level) != len(levels.names) or not levels.holds(np.array(level)):
            bounds = ", ".join(f"{name} from {low:g} to {high:g}" for name, low, high in zip(levels.names, levels.low, levels.high, strict=True))
            raise BadInput(f"{self.task} has no level {list(level)}: {bounds}")
        there = copy(self)
        there.make, there.make_training = (partial(_make_at, make, tuple(map(float, level))) for make in (self.make, self.make_training))
        return there

    def begun_at(self, starts: Starts) -> GymWorld:
        if self.view.time_feature:
            raise BadInput("time_feature: of an episode that begins in the middle the time that is left is not known; leave it out")
        there = copy(self)
        there.make_training = partial(make_started, self.environment, starts, view=self.view)
        there.make_training([0]).close()
        return there

    def starts(self, policy: Any, episodes: int, seed: int, most_steps: int) -> tuple[list[list[dict]], np.ndarray]:
        if self.view.frame_stack > 1:
            raise BadInput("frame_stack: an episode that begins in the middle has no observations before; leave it out")
        return recorded(partial(make_objects, self.environment, view=self.view.evaluated), policy.act, episodes, seed, most_steps)

    def fingerprint(self) -> str:
        """What must be the same when a run goes on."""
        return f"{self.task} {space_text(self.observation_space)} {space_text(self.action_space)}"

    def policy(self, net: Any, streams: Streams):
        if net is None:
            raise BadInput(f"this method brings no policy network, and {self.task} has none of its own")
        return net.build(self.observation, self.action, streams)

    def source(self, plan: Any, streams: Streams, *, workers: SampleWorkers | None = None) -> Collector:
        self.check_source(plan, len(streams.seeds), workers)
        return Collector(self.make_training, self.observation.size, plan, streams, workers=workers)

    def experience(self, plan: Online, policy: Policy, streams: Streams, total_steps: int, *, workers: SampleWorkers | None = None) -> Experience:
        return Experience(self.make_training, plan, policy, streams, total_steps, workers=workers)

    def check_goals(self) -> None:
        self.goals().close()

    def goals(self) -> Goals:
        if self.view.action_repeat > 1:
            many = self.view.action_repeat
            raise BadInput(f"hindsight: an action is paid for {many} steps of {self.task}, and a goal in hindsight for one outcome: leave --action-repeat out")
        return Goals(self.task, self.make_training([0]), self.random_policy(), clip=self.view.clip_rewards)

    def stream(self, streams: Streams) -> Stream:
        return Stream(self.make_training, streams.seeds)

    def check_play(self, seeds: int, episodes: int) -> None:
        self.check_copies(seeds, episodes, "--episodes")

    def play(self, policy: Any, seeds: int, episodes: int, seed: int, most_steps: int, *, record: bool = False) -> Episodes:
        return run_episodes(self.make, policy.act, seeds, episodes, seed, most_steps, record=record)

    def evaluate(self, policy: Any, seeds: int, *, episodes: int = 10, seed: int = 0) -> Evaluation:
        """Undiscounted returns of the policies' modes on fresh episodes, and beside them how many succeeded, where the environment says it."""
        played = self.play(policy, seeds, episodes, seed, self.most_steps)
        return Evaluation(self.score, played.total, {"length": played.length, "truncated": played.truncated}, played.measures)

    def act(self, policy: Any, observation: Any, action_mask: Any = None, carry: torch.Tensor | None = None) -> tuple[Any, torch.Tensor | None]:
        """The policy's mode at one observation, or at several with an axis in front, both as the environment has them, and the carry after it.

        Args:
            observation: of a Dict or Tuple space several are one whose every part has an axis in front, or a list.
            action_mask: which choices are allowed (of each observation), where that does not stand in the observation.
            carry: of the policy, as this gave it at the observations before; None where episodes begin.

        Returns:
            an element of the action space, or an array of as many (of a Dict or Tuple space one in each part). A Discrete one is a NumPy integer. And the
            policy's carry, None where it remembers nothing.

        Raises:
            BadInput: no observation of this environment, or no mask of it.
        """
        try:
            seen, one = self._observations.rows(observation, action_mask)
        except BadInput as error:
            if not self.view.otherwise:
                raise
            own = "" if self.view.atari else ", run.player(raw=True) what the task's own environment gives"
            raise BadInput(f"{error}; policies take what run.environment() gives{own}") from error
        if not len(seen):
            raise BadInput(f"{self.task}: no observation is given: take one, or several with an axis in front")
        check_carried(carry, len(seen))
        found, carry = policy.act(torch.from_numpy(seen).unsqueeze(0), carry)
        actions = self._actions.to_environment(found[0], len(seen))
        return self._actions.of_row(actions, 0) if one else actions, carry

    def player(self, policy: Any, raw: bool = False) -> Player:
        if raw and self.view.atari:
            raise BadInput(f"{self.task}: pictures are made of more than the environment shows, so no player is raw: leave raw out and play run.environment()")
        if not (raw and self.view.otherwise):
            return super().player(policy)
        return ViewingPlayer(self, policy, self.view, self._own, self._shown, self._actions)

    def as_seen(self, render_mode: str | None) -> gymnasium.Env:
        made = make_objects(self.environment, [0], self.view.evaluated, env_kwargs={} if render_mode is None else {"render_mode": render_mode})
        modes = (made.envs[0].metadata or {}).get("render_modes") or []
        if render_mode is not None and render_mode not in modes:
            made.close()
            raise BadInput(f"{self.task} has no render_mode {render_mode!r}: its metadata has {', '.join(modes) or 'none'}")
        return SeenEnvironment(made.envs[0], self.view, made.limit)

    def random_policy(self, seeds: Sequence[int] = (0,)) -> Any:
        """A policy of uniformly random actions, the baseline of every table."""
        return RandomPolicy(self.observation, self.action, seeds)

    def draw(self, policy: Any, seed: int, *, window: bool = False) -> Iterator[Drawn]:
        first = derive_seed(seed, "evaluation", 0)
        return draw_episodes(self.make, self.environment, policy, first, self.most_steps, repeat=self.view.action_repeat, window=window)


def _make_at(make: Callable[[list[int]], LevelledEnvironments], level: tuple[float, ...], row_seeds: list[int]) -> LevelledEnvironments:
    """Environments whose every episode has one level."""
    environments = make(row_seeds)
    environments.levels = replace(environments.levels, low=level, high=level)
    return environments


class RandomPolicy:
    """Uniformly random actions, of those that an action mask allows, each seed's from a stream of its own."""

    def __init__(self, observation: Spec, action: Spec, seeds: Sequence[int]):
        self.observation, self.action = observation, action
        self._streams = Streams(seeds).numpy_generators("random actions")

    def initial(self, rows: int) -> None:
        """It remembers nothing."""

    def act(self, observation: torch.Tensor, carry: None = None) -> tuple[np.ndarray, None]:
        return np.stack([self._drawn(draws, seen) for draws, seen in zip(self._streams, observation, strict=True)]), None

    def _drawn(self, draws: np.random.Generator, observation: torch.Tensor) -> np.ndarray:
        """Actions at the observations `[N, D]` of a seed."""
        rows, parts = len(observation), []
        if self.action.counts:
            allowed = self.observation.allowed(observation)
            choices = draws.integers(self.action.counts, size=(rows, len(self.action.counts))) if allowed is None else self._allowed(draws, allowed.numpy())
            if not self.action.boxes:
                return choices[..., 0] if self.action.one_choice else choices
            parts.append(choices)
        low, high = drawn_range(*self.action.bounds())
        parts.append(draws.uniform(low, high, size=(rows, low.size)))
        return np.concatenate(parts, -1).astype(np.float32)

    def _allowed(self, draws: np.random.Generator, allowed: np.ndarray) -> np.ndarray:
        keys = np.where(allowed, draws.random(allowed.shape), -1.0)
        ends = np.cumsum(self.action.counts)
        return np.stack([part.argmax(-1) for part in np.split(keys, ends[:-1], axis=-1)], -1)
