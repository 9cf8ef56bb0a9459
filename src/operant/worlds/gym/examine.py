"""What is wrong with an environment: every rule that training relies on, tried one after the other before anything is trained."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch

from operant.core.errors import BadInput, OperantError, RunFailed, a_type, one_line
from operant.core.registry import read_settings
from operant.core.seeds import derive_seed
from operant.core.spec import ACHIEVED, ACTION_MASK, GOAL
from operant.nets.distributions import drawn_range, far_from_unit
from operant.worlds.gym import snapshot
from operant.worlds.gym.adapter import callable_name, environment_maker, limit_of, make_environments
from operant.worlds.gym.check import Reader, masks_of, place, raised, seeded, time_limit
from operant.worlds.gym.drawing import undrawn
from operant.worlds.gym.objects import maker_of
from operant.worlds.gym.options import GymOptions
from operant.worlds.gym.spaces import Actions, coarse, scaled, space_text
from operant.worlds.gym.views import View, view_of, view_space
from operant.worlds.gym.world import GymWorld
from operant.worlds.gym.wrappers import RefusedWrapper, changed_rewards

SEEDS = [derive_seed(seed, "environment", 0) for seed in range(3)]  # as large as those of a run
REPEATED = 50  # steps that are done twice with the same seed
LARGE = 1_000  # size of a number from which networks hardly learn of it as it is


@dataclass
class Examination:
    """What was found.

    Attributes:
        faults: what breaks a rule, a line each.
        notes: what is allowed, and worth knowing before a run.
        facts: by name: spaces, steps and episodes that were tried, seconds a step, how a run on it resumes.
    """

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def examine(environment: Any, *, steps: int = 1_000, seconds: float = 5.0, **options: Any) -> Examination:
    """Try the rules of an environment's API, with random actions, on what a run would train on.

    Args:
        environment: a registered id, or what makes one environment, or an environment object.
        steps: of the walk.
        seconds: what one call may take (making it and its first reset twelve times as long).
        options: of the task, fields of `GymOptions`.

    Raises:
        BadInput: there is no such environment, a package is missing, it is stepped in batches, or an option does not fit it.
    """
    environment = maker_of(environment)
    task = f"gym:{environment if isinstance(environment, str) else callable_name(environment)}"
    chosen = read_settings(GymOptions, options, task, "option")
    view = view_of(chosen, environment, task)
    name, make = environment_maker(environment, view)
    trial = _Trial(name, make, seconds, view, rescaled=chosen.rescale_action)
    try:
        trial.run(steps)
        if why := undrawn(partial(make_environments, environment, view=view.evaluated), environment):
            trial.found.notes.append(f"operant watch will have no pictures: {why}")
        if {ACHIEVED, GOAL} <= trial.parts or trial.computes:
            trial.found.facts["goals in hindsight"] = _hindsight(environment, options)
    except _Stop:
        pass
    finally:
        trial.close()
    return trial.found


def _hindsight(environment: Any, options: dict[str, Any]) -> str:
    """Whether goals can be given in hindsight, and why not."""
    try:
        goals = GymWorld(environment, **options).goals()
    except OperantError as error:
        return f"no: {str(error).removeprefix('hindsight: ')}"
    goals.close()
    return "yes" if goals.ends else "yes; there is no compute_terminated, so that a goal in hindsight ends no episode"


class _Stop(Exception):
    """Nothing more can be tried."""


class _Trial:
    """One environment, a second copy of it, and what was found."""

    def __init__(self, name: str, make: Callable[[], gymnasium.Env], seconds: float, view: View, *, rescaled: bool):
        self.name, self._make, self._seconds, self._view, self._rescaled = name, make, seconds, view, rescaled
        self.found = Examination()
        self._envs: list[gymnasium.Env] = []
        self._steps = 0
        self._known = False  # where action masks come from
        self.parts: set[str] = set()  # of observations, by name
        self.computes = False  # it has a compute_reward
        self._coarse = ""  # what float32 loses of observations
        self._largest = 0.0  # of the numbers of observations that could be normalised

    def run(self, steps: int) -> None:
        one, other = self._made(), self._made()
        if (one.observation_space, one.action_space) != (other.observation_space, other.action_space):
            self._fault("its copies have different spaces: all rows of a run share them")
        seen = view_space(one.observation_space, self._view)
        self.found.facts |= {"observation space": space_text(seen), "action space": space_text(one.action_space)}
        self._view.check_limit(limit_of(one, self._view))
        try:
            self._actions = Actions(self.name, one.action_space)
            self._reader = Reader(self.name, one.observation_space, self._actions.spec, tells=False)
        except BadInput as error:
            self._fail(str(error))
        self.parts = {field.name for field in self._reader.spec.fields}
        self.computes = self._called(1, "compute_reward", partial(one.has_wrapper_attr, "compute_reward"))
        if self._rescaled:
            scaled(self.name, self._actions.spec)
        self._repeats(one, other, self._reset(one, SEEDS[0], 12))
        self._bounds(one)
        self._walk(one, steps)

    # Calls, each within its time

    def _made(self) -> gymnasium.Env:
        try:
            env = self._called(12, "making it", self._make)
        except RefusedWrapper as error:
            self._fail(str(error))
        if not isinstance(env, gymnasium.Env):
            raise BadInput(f"{self.name} is stepped in batches: its rules are tried at each step of a run; only single environments are examined before")
        self._envs.append(env)
        for what in ("observation", "action"):
            if not isinstance(getattr(env, f"{what}_space", None), gymnasium.Space):
                self._fail(f"its {what}_space is no gymnasium.Space")
        return env

    def _called(self, patience: float, doing: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        where = place(self.name, step=self._steps)
        try:
            with time_limit(patience * self._seconds, f"{where}: {doing}"):
                return call(*arguments, **named)
        except BadInput:
            raise
        except OperantError as error:
            self._fail(str(error))
        except BaseException as error:
            self._fail(str(raised(where, doing, error)))

    def _reset(self, env: gymnasium.Env, seed: int | None, patience: float = 1) -> Any:
        """An episode's first observation."""
        reset = env.reset if seed is None else lambda: seeded(lambda small: env.reset(seed=small(seed)), seed)
        result = self._called(patience, "reset", reset)
        seen, info = self._read(lambda: self._reader.reset_result(result, None, self._steps))
        if not self._known:
            self._known = True
            self._reader.find_mask(masks_of(env, info))
            self._tell_mask(env, seen, info)
        self._look(env, seen, info)
        return seen

    def _step(self, env: gymnasium.Env, action: Any) -> tuple[Any, float, bool]:
        """(observation, reward, whether the episode ended)."""
        given = copy.deepcopy(action)
        result = self._called(1, "step", env.step, given)
        if not _same(given, action):
            self._fault(f"step changes the action that it is given, from {one_line(action, 60)} to {one_line(given, 60)}")
        reader, at = self._reader, self._steps
        seen, gain, terminated, truncated, info = self._read(lambda: reader.step_result(result, None, at))
        reward = self._read(lambda: reader.reward(gain, None, at))
        flags = [self._read(lambda: reader.flag(terminated, "terminated", None, at)), self._read(lambda: reader.flag(truncated, "truncated", None, at))]
        self._steps += 1
        self._look(env, seen, info, ended=any(flags))
        return seen, reward, any(flags)

    def _tell_mask(self, env: gymnasium.Env, seen: Any, info: dict) -> None:
        """Where the action mask was found, and what looks as if it should be one."""
        if not self._actions.spec.counts:
            return
        self.found.facts["action mask"] = self._reader.mask_place
        if self._reader.spec.mask is None:
            seen = seen if isinstance(seen, dict) else {}
            others = [f"{where} has {key!r}" for where, keys in (("its observation", seen), ("info", info)) for key in keys if "mask" in str(key).lower()]
            if others:
                self.found.notes.append(f"it has no action mask, but {others[0]}: a mask is called {ACTION_MASK}, and stands in the observation or in info")

    def _look(self, env: gymnasium.Env, seen: Any, info: dict, *, ended: bool = False) -> None:
        """Is it an observation of its space, of finite numbers, and does its mask allow something?"""
        into = np.zeros((1, self._reader.size), np.float32)

        def read() -> None:
            self._reader.observation(seen, into, 0, self._steps)
            self._reader.mask(env, info, into, 0, self._steps, ended=ended)
            self._reader.finite(into, self._steps)
            if ended:
                self._reader.success(info, 0, self._steps)
            else:
                self._reader.playable(into, self._steps)

        self._read(read)
        if not env.observation_space.contains(seen):
            self._fault(f"observation is outside its space, first after {self._steps} steps: {self._outside(env.observation_space, seen)}")
        self._seen = into
        places = [self._reader.spec.slices[field.name] for field in self._reader.spec.fields if field.normalizable]
        self._coarse = self._coarse or coarse(self._reader.spec, into)
        self._largest = max([self._largest, *(float(np.abs(into[:, place]).max()) for place in places)])

    def _outside(self, space: gymnasium.Space, seen: Any) -> str:
        if isinstance(space, gymnasium.spaces.Dict) and isinstance(seen, dict):
            return next((f"{key!r} {self._outside(part, seen[key])}" for key, part in space.items() if not part.contains(seen[key])), "it has other parts")
        if isinstance(space, gymnasium.spaces.Box):
            array = np.asarray(seen)
            if array.dtype != space.dtype and not np.can_cast(array.dtype, space.dtype):
                return f"its type is {array.dtype}, the space's {space.dtype}"
            if not isinstance(seen, np.ndarray):
                return f"it is {a_type(seen)}, no array"
            if array.shape == space.shape and (wrong := np.argwhere((array < space.low) | (array > space.high))).size:
                at = tuple(wrong[0])
                return f"element {list(map(int, at))} is {array[at]:g}, outside [{space.low[at]:g}, {space.high[at]:g}]"
        return f"{one_line(seen, 60)} is none of {one_line(space, 60)}"

    def _read(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except RunFailed as error:
            self._fail(str(error).replace(", row 0", ""))

    # Rules that take more than one call

    def _repeats(self, one: gymnasium.Env, other: gymnasium.Env, first: Any) -> None:
        """The same seed begins alike, goes on alike, in each copy and after whatever was before."""
        before, first = _global_states(), copy.deepcopy(first)
        if not _same(self._reset(one, SEEDS[0]), first):
            return self._fault("its reset ignores the seed: reset(seed=…) begins differently each time, so that seeds of a run mean nothing")
        alone = self._played(one)
        moved = [name for name, state in _global_states().items() if not _same(state, before[name])]
        if not _same(self._reset(one, SEEDS[0]), first):
            return self._fault("reset does not begin anew: reset(seed=…) begins differently once steps were made")
        if not _same(self._played(one), alone):
            whose = f" ({moved[0]}'s global generator is drawn from; self.np_random is what reset(seed=…) begins)" if moved else ""
            return self._fault(f"the same seed and actions lead elsewhere: something is drawn that the seed does not decide{whose}")
        self._reset(one, SEEDS[0])
        if not _same(self._reset(other, SEEDS[0]), first) or not _same(self._played(other, one), alone):
            return self._fault("its copies share something: beside another one it goes elsewhere with the same seed and actions")
        if all(_same(self._reset(one, seed), first) and _same(self._played(one)[:10], alone[:10]) for seed in SEEDS):
            self.found.notes.append("it is the same for every seed: nothing in it is drawn")
        return None

    def _played(self, env: gymnasium.Env, beside: gymnasium.Env | None = None) -> list:
        """What comes of random actions, the same each time, until the episode ends; another copy does the same `beside` it where no masks forbid it."""
        draws, came = np.random.default_rng(0), []
        for _ in range(REPEATED):
            action = self._chosen(draws)
            if beside is not None and self._reader.spec.mask is None:
                self._called(1, "step", beside.step, copy.deepcopy(action))
            seen, reward, over = self._step(env, action)
            came.append((copy.deepcopy(seen), reward, over))
            if over:
                break
        return came

    def _bounds(self, env: gymnasium.Env) -> None:
        """Every bound of the actions' numbers, and every choice, is taken."""
        spec = self._actions.spec
        if self._reader.spec.mask is not None:
            return
        choices = [np.array([min(choice, count - 1) for count in spec.counts]) for choice in range(min(max(spec.counts, default=1), 50))]
        ends = drawn_range(*spec.bounds()) if spec.boxes else [np.zeros(0)]
        for values in [np.concatenate([choice, end]) for choice in choices for end in ends]:
            self._reset(env, SEEDS[0])
            self._step(env, self._of_space(values))

    def _walk(self, env: gymnasium.Env, steps: int) -> None:
        """Episodes of random actions."""
        draws, lengths, rewards, length, begun = np.random.default_rng(0), [], [], 0, time.perf_counter()
        kept = self._reset(env, SEEDS[0])
        was = copy.deepcopy(kept)
        for _ in range(steps):
            seen, reward, over = self._step(env, self._chosen(draws))
            kept, was = self._untouched("step", kept, was, seen)
            rewards.append(reward)
            length += 1
            if over:
                lengths.append(length)
                length = 0
                kept, was = self._untouched("reset", kept, was, self._reset(env, None))
        if len(lengths) > 4 and max(lengths) == 1:
            self.found.notes.append("every episode ended with its first step: a task of single decisions (a bandit), or is it over when reset returns?")
        notes, spec = self.found.notes, self._actions.spec
        if not lengths and limit_of(env, self._view) is None:
            notes.append(f"no episode ended within {steps:,} random steps, and no time limit is known of it (gymnasium.wrappers.TimeLimit)")
        if len(set(rewards)) == 1 and steps > 100:
            notes.append(f"every reward was {rewards[0]:g}")
        if spec.boxes and not all(np.isfinite(bound).all() for bound in spec.bounds()):
            notes.append("its actions have no bounds: scale them to -1 to 1")
        if changed := changed_rewards(env):
            notes.append(changed)
        if spec.boxes and not self._rescaled and (far := far_from_unit(*spec.bounds())):
            notes.append(f"{far} of ppo, a2c, trpo, mdpo and other policy gradients: take --rescale-action with them")
        if self._coarse:
            notes.append(self._coarse)
        if self._largest >= LARGE:
            notes.append(f"observations have numbers of up to {self._largest:,.0f} in size, of which networks hardly learn: take --normalize-observation")
        self.found.facts |= {
            "steps": len(rewards),
            "episodes": len(lengths),
            "steps a second": round(len(rewards) / (time.perf_counter() - begun)),
            "resume": "bitwise" if snapshot.resumable(env) else "episode-boundary",
        }

    def _untouched(self, what: str, kept: Any, was: Any, seen: Any) -> tuple[Any, Any]:
        """What is to be kept next, (an observation, a copy of it)."""
        if not _same(kept, was):
            self._fault(f"the observation that was given before is written into, by {what}: return a new array each time (observation.copy())")
        return seen, copy.deepcopy(seen)

    def _chosen(self, draws: np.random.Generator) -> Any:
        """A random action that is allowed where the environment stands."""
        spec, allowed, parts = self._actions.spec, self._reader.spec.allowed(torch.from_numpy(self._seen)), []
        if spec.counts:
            keys = draws.random(sum(spec.counts))
            keys = keys if allowed is None else np.where(allowed[0].numpy(), keys, -1.0)
            parts.append(np.array([part.argmax() for part in np.split(keys, np.cumsum(spec.counts)[:-1])]))
        if spec.boxes:
            parts.append(draws.uniform(*drawn_range(*spec.bounds())))
        return self._of_space(np.concatenate(parts))

    def _of_space(self, values: np.ndarray) -> Any:
        """An element of the action space, of a policy's action."""
        spec = self._actions.spec
        values = values.astype(np.float32 if spec.boxes else np.int64)
        return self._actions.of_row(self._actions.to_environment(values if spec.one_choice else values[None], 1), 0)

    def _fault(self, line: str) -> None:
        if line.partition(",")[0] not in {known.partition(",")[0] for known in self.found.faults}:
            self.found.faults.append(line)

    def _fail(self, line: str) -> None:
        """A fault behind which nothing can be tried."""
        self._fault(line)
        raise _Stop

    def close(self) -> None:
        for env in self._envs:
            try:
                self._called(1, "close", env.close)
            except _Stop:  # the others are closed, too
                pass


def _global_states() -> dict[str, Any]:
    return {"NumPy": np.random.get_state(legacy=False)["state"], "Python": random.getstate(), "PyTorch": torch.random.get_rng_state()}


def _same(a: Any, b: Any) -> bool:
    """Whether two elements of a space, or lists of what steps gave, are the same to the last bit."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, np.ndarray | np.generic | torch.Tensor):
        return np.array_equal(np.asarray(a), np.asarray(b))
    return a == b
