"""What the options of a task make of its environments: more observations seen at a time, actions that last, the time that is left, rewards within bounds."""

from __future__ import annotations

from collections import deque
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from operant.core.errors import BadInput
from operant.core.spec import ACTION_MASK, GOAL, Spec
from operant.worlds.gym import atari
from operant.worlds.gym.beds import BATCHED
from operant.worlds.gym.environments import Environments, Step
from operant.worlds.gym.ids import registered
from operant.worlds.gym.options import GymOptions
from operant.worlds.gym.spaces import leaves, observation_spec

TIME = "time"  # the name of that part of an observation


@dataclass(frozen=True)
class View:
    """How the rows of a task are seen and acted on; see `GymOptions`.

    Attributes:
        atari: the environment is one of ALE's, and is seen as `AtariFrames`.
    """

    frame_stack: int = 1
    action_repeat: int = 1
    time_feature: bool = False
    clip_rewards: bool = False
    noops: int = 0
    episodic_life: bool = False
    atari: bool = False

    @property
    def evaluated(self) -> View:
        """The same in an evaluation, which plays whole games for their own rewards."""
        return replace(self, clip_rewards=False, episodic_life=False)

    @property
    def otherwise(self) -> bool:
        """Whether a policy sees anything else than the environment gives, or acts at other times."""
        return self.atari or self.frame_stack > 1 or self.time_feature or self.action_repeat > 1

    def row(self, env: gymnasium.Env) -> gymnasium.Env:
        """One row's environment, as this view has it."""
        if self.atari:
            return atari.AtariFrames(env, self.action_repeat, self.noops, episodic_life=self.episodic_life)
        return env if self.action_repeat == 1 else RepeatedAction(env, self.action_repeat)

    def check_limit(self, limit: int | None) -> None:
        """Raise `BadInput` where there is no time limit to see."""
        if self.time_feature and limit is None:
            raise BadInput("time_feature: the environment has no time limit whose rest could be seen; wrap it in gymnasium.wrappers.TimeLimit")

    def rows(self, environments: Environments) -> Environments:
        """All rows, as this view has them. Raises `BadInput` where there is no time limit to see."""
        self.check_limit(environments.limit)
        return Viewed(environments, self) if self.frame_stack > 1 or self.time_feature or self.clip_rewards else environments


PLAIN = View()


def view_of(options: GymOptions, environment: Any, task: str) -> View:
    """What a task's options make of its environments in training. Raises `BadInput` for an option of Atari on another task."""
    game = isinstance(environment, str) and environment not in BATCHED and atari.is_atari(gymnasium.registry[registered(environment)])
    if not game:
        for name, given in (("noops", options.noops is not None), ("episodic_life", options.episodic_life)):
            if given:
                raise BadInput(f"{task} has no option {name!r}: it is one of Atari's pictures, such as gym:ALE/Pong-v5")
    return View(
        frame_stack=options.frame_stack or (atari.FRAMES if game else 1),
        action_repeat=options.action_repeat or (atari.FRAMES if game else 1),
        time_feature=options.time_feature,
        clip_rewards=options.clip_rewards,
        noops=(atari.NOOPS if options.noops is None else options.noops) if game else 0,
        episodic_life=options.episodic_life,
        atari=game,
    )


def view_space(space: gymnasium.Space, view: View) -> gymnasium.Space:
    """The space of observations as a view has them. Raises `BadInput` where the name of the time is taken."""
    seen = _stacked(space, view.frame_stack, ()) if view.frame_stack > 1 else space
    if not view.time_feature:
        return seen
    rest = spaces.Box(0.0, 1.0, (1,), np.float32)
    if isinstance(seen, spaces.Tuple):
        return spaces.Tuple((*seen, rest))
    if not isinstance(seen, spaces.Dict):
        return spaces.Dict({"observation": seen, TIME: rest})
    if TIME in seen.keys():
        raise BadInput(f"time_feature: the observations have a part {TIME!r} already")
    return spaces.Dict({**seen, TIME: rest})


def _stacked(space: gymnasium.Space, count: int, path: tuple) -> gymnasium.Space:
    def repeated(values: np.ndarray) -> np.ndarray:
        return np.repeat(values[None], count, 0)

    if isinstance(space, spaces.Dict):
        return spaces.Dict({key: _stacked(part, count, (*path, key)) for key, part in space.items()})
    if isinstance(space, spaces.Tuple):
        return spaces.Tuple([_stacked(part, count, (*path, place)) for place, part in enumerate(space)])
    if path in ((ACTION_MASK,), (GOAL,)):
        return space
    if isinstance(space, spaces.Box):
        return spaces.Box(repeated(space.low), repeated(space.high), dtype=space.dtype)
    if isinstance(space, spaces.Discrete):
        return spaces.MultiDiscrete([space.n] * count, start=[space.start] * count)
    if isinstance(space, spaces.MultiDiscrete):
        return spaces.MultiDiscrete(repeated(space.nvec), space.dtype, start=repeated(space.start))
    return spaces.MultiBinary((count, *space.shape)) if isinstance(space, spaces.MultiBinary) else space


class SeenEnvironment(gymnasium.Wrapper):
    """One environment whose observations show the last few, and how much time is left.

    Args:
        env: as the view's `row` has it.
        limit: actions after which an episode is cut; of a view with the time.
    """

    def __init__(self, env: gymnasium.Env, view: View, limit: int | None):
        super().__init__(env)
        self._view, self._limit = view, limit
        self.observation_space = view_space(env.observation_space, view)
        self._past: deque[Any] = deque(maxlen=view.frame_stack)
        self._time = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        seen, info = self.env.reset(seed=seed, options=options)
        self._past.extend([deepcopy(seen)] * self._view.frame_stack)
        self._time = 0
        return self._seen(), info

    def step(self, action: Any) -> tuple:
        shape = self.action_space.shape
        if shape is not None and np.shape(action) != shape:
            raise BadInput(f"one action has shape {shape}, not {np.shape(action)}; this environment is stepped by one at a time")
        seen, reward, terminated, truncated, info = self.env.step(action)
        self._past.append(deepcopy(seen))
        self._time += 1
        return self._seen(), reward, terminated, truncated, info

    def _seen(self) -> Any:
        seen = self._past[-1] if self._view.frame_stack == 1 else _stack(self.env.observation_space, list(self._past), ())
        if not self._view.time_feature:
            return seen
        rest = np.array([1.0 - self._time / self._limit], np.float32)
        if isinstance(seen, tuple):
            return (*seen, rest)
        return {**(seen if isinstance(seen, dict) else {"observation": seen}), TIME: rest}


def _stack(space: gymnasium.Space, values: list[Any], path: tuple) -> Any:
    """Elements of a space as one of `_stacked`."""
    if isinstance(space, spaces.Dict):
        return {key: _stack(part, [value[key] for value in values], (*path, key)) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_stack(part, [value[place] for value in values], (*path, place)) for place, part in enumerate(space))
    counted = isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary)
    return np.stack(values).astype(space.dtype) if counted and path not in ((ACTION_MASK,), (GOAL,)) else values[-1]


class RepeatedAction(gymnasium.Wrapper):
    """Each action lasts `repeat` steps, fewer where the episode ends; rewards add up, and the last observation is seen."""

    def __init__(self, env: gymnasium.Env, repeat: int):
        super().__init__(env)
        self.repeat = repeat

    def step(self, action: Any) -> tuple:
        total = None
        for _ in range(self.repeat):
            result = self.env.step(action)
            if not isinstance(result, tuple) or len(result) != 5:
                return result  # whoever reads it says what is wrong
            seen, reward, terminated, truncated, info = result
            total = reward if total is None else total + reward
            if terminated or truncated:
                break
        return seen, total, terminated, truncated, info

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        """There is none of its own."""


class Shown:
    """Makes of what rows of an environment gave, the last few of each, what a view shows of it.

    Args:
        inner: what a row of the environment's own consists of. outer: of the view's.
        limit: steps of an episode; of a view with the time.
    """

    def __init__(self, inner: Spec, outer: Spec, limit: int | None):
        self.limit, self._size = limit, outer.size
        self._places = [(inner.slices[field.name], outer.slices[field.name], field.stack) for field in outer.fields if field.name in inner.slices]
        self._rest = [outer.slices[field.name] for field in outer.fields if field.name not in inner.slices]

    def __call__(self, past: np.ndarray, time: np.ndarray) -> np.ndarray:
        """`[R, D']` from the last observations of each row, `[R, k, D]`, the newest last, and the steps of its episode, `[R]`."""
        shown = np.empty((len(past), self._size), np.float32)
        for of_one, place, stack in self._places:
            shown[:, place] = past[:, -stack:, of_one].reshape(len(past), -1)
        for place in self._rest:
            shown[:, place] = 1.0 - time[:, None] / self.limit
        return shown


class Viewed:
    """Rows of other environments, whose observations show the last few, and how much time is left, and whose rewards may be clipped.

    An episode begins with its first observation as often as are seen, as `gymnasium.wrappers.FrameStackObservation` does. Action masks and words are
    the newest alone.
    """

    def __init__(self, inner: Environments, view: View):
        self.inner, self.view, self.rows, self.limit = inner, view, inner.rows, inner.limit
        self.observation_space, self.action_space = view_space(inner.observation_space, view), inner.action_space
        self.action_spec = inner.action_spec
        self.observation = np.zeros((self.rows, self.observation_spec.size), np.float32)
        self._time = np.zeros(self.rows, np.int64)  # steps of each row's episode
        self._past: np.ndarray | None = None  # the last observations of each row, [R, k, D] of the inner ones, the newest last

    @property
    def resume(self) -> str:
        return self.inner.resume

    @property
    def observation_spec(self) -> Spec:
        inner = {field.name: field for field in self.inner.observation_spec.fields}
        beside = self.inner.observation_spec.mask is not None and len(inner) > len(list(leaves(self.inner.observation_space)))
        found = observation_spec("", self.observation_space, self.action_spec, masked=beside).fields
        stacks = {field.name: field.size // inner[field.name].size for field in found if field.name in inner}
        return Spec(tuple(replace(field, stack=stacks.get(field.name, 1)) for field in found))

    def reset(self) -> np.ndarray:
        """Start a new episode in every row. Returns `[R, D]` float32."""
        seen = self.inner.reset()
        self._lay()
        self._time[:] = 0
        self._past = np.repeat(seen[:, None], self.view.frame_stack, 1)
        self.observation = self._shown(self._past, self._time)
        return self.observation

    def step(self, action: np.ndarray) -> Step:
        """Act in every row."""
        step = self.inner.step(action)
        self._time += step.valid
        self._past = np.concatenate([self._past[:, 1:], step.next_observation[:, None]], 1)
        again = ~step.valid  # a reset that took a step of its own
        if again.any():
            self._begin(again, step.next_observation)
        observation = next_observation = self._shown(self._past, self._time)
        ended = step.terminated | step.truncated
        if ended.any():
            self._begin(ended, step.observation)
            observation = self._shown(self._past, self._time)
        reward = np.clip(step.reward, -1.0, 1.0) if self.view.clip_rewards else step.reward
        self.observation = observation
        return Step(observation, next_observation, reward, step.terminated, step.truncated, step.valid, step.success)

    def _begin(self, which: np.ndarray, seen: np.ndarray) -> None:
        self._past[which] = seen[which, None]
        self._time[which] = 0

    def _lay(self) -> None:
        """Where the parts of the inner rows stand in these; a mask may have come with the first reset."""
        self._shown = Shown(self.inner.observation_spec, self.observation_spec, self.limit)

    def state_dict(self) -> dict:
        past = None if self._past is None else self._past.copy()
        return {"inner": self.inner.state_dict(), "past": past, "time": self._time.copy(), "observation": self.observation.copy()}

    def load_state_dict(self, state: dict) -> None:
        """Continue from a state of `state_dict`; where the rows begin new episodes, these do."""
        self.inner.load_state_dict(state["inner"])
        if state["past"] is None:
            return
        self._lay()
        if self.resume == "bitwise":
            self._past, self._time = np.array(state["past"], np.float32), np.array(state["time"], np.int64)
        else:
            self._past, self._time = np.repeat(self.inner.observation[:, None], self.view.frame_stack, 1), np.zeros(self.rows, np.int64)
        self.observation = self._shown(self._past, self._time)

    def close(self) -> None:
        self.inner.close()


def within(environments: Environments) -> Environments:
    """What a view looks at; environments that nothing is seen of otherwise are that themselves."""
    return environments.inner if isinstance(environments, Viewed) else environments
