"""What outcomes are worth under other goals than those that were set: asked of one copy of the environment, beside those that are stepped."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from torch import Tensor

from operant.core.errors import BadInput, OperantError, RunFailed, a_type, one_line
from operant.core.spec import ACHIEVED, GOAL
from operant.worlds.gym.adapter import GymnasiumEnvironments, VectorEnvironments
from operant.worlds.gym.check import PATIENCE, WATCH, Late, array_of, place, too_late
from operant.worlds.gym.environments import Environments
from operant.worlds.gym.spaces import LARGEST, as_given, coarse
from operant.worlds.gym.views import within

TRIED = 8  # steps whose rewards are compared with those that are computed
Asked = Callable[[Any, Any, Any], Any]


class Goals:
    """Rewards and endings under any goal, of an environment whose observations have an achieved and a desired goal, by its `compute_reward` and, where it has
    one, `compute_terminated` (arguments of both: achieved goals, desired goals, infos; as Gymnasium-Robotics has them).

    They are called with arrays `[N, …]` in the types of the observation space and a list of N empty dicts for infos, as Stable-Baselines3 calls them, or one by
    one with an empty dict where they raise then, or do not give one number for each of N.

    Args:
        task: for messages.
        environments: one row as training has it, which is stepped a few times and closed by `close`.
        policy: acts in these steps.
        clip: rewards are clipped to −1 to 1.

    Attributes:
        achieved, desired: where they lie in an observation's row; of several that are stacked the newest.

    Raises:
        BadInput: there are no such goals, there is no such method, or it gives other rewards than steps do.
        RunFailed: the environment raised, or took too long; at any later call too.
    """

    def __init__(self, task: str, environments: Environments, policy: Any, *, clip: bool = False):
        self._task, self._environments, self._clip = task, environments, clip
        self._own: GymnasiumEnvironments | None = None  # a copy that is made here alone
        self._watching = WATCH.open(PATIENCE)
        try:
            seen = environments.reset()
            self._find(environments)
            self._compare(policy, seen)
        except BaseException:
            self.close()
            raise

    def _find(self, environments: Environments) -> None:
        spec = environments.observation_spec
        fields = {field.name: field for field in spec.fields}
        if GOAL not in fields or ACHIEVED not in fields:
            said = f"observations of {self._task} consist of {', '.join(fields)}"
            raise BadInput(f"hindsight: {said}; goals in hindsight need a Dict of observation, {ACHIEVED} and {GOAL}, as gym:bit-flip has it")
        goal, achieved = fields[GOAL], fields[ACHIEVED]
        if (goal.size * achieved.stack, goal.kind) != (achieved.size, achieved.kind):
            raise BadInput(f"hindsight: of {self._task} {achieved.form} is of another form than {goal.form}, so that what is achieved is no goal")
        self._field, self.desired, last = goal, spec.slices[GOAL], spec.slices[ACHIEVED].stop
        self.achieved = slice(last - goal.size, last)
        reward, self._ends = (self._asked(environments, name) for name in ("compute_reward", "compute_terminated"))
        if reward is None:
            raise BadInput(f"hindsight: {self._task} has no compute_reward(achieved_goal, desired_goal, info), which says what other goals would have paid")
        self._pays = reward

    def _asked(self, environments: Environments, name: str) -> Asked | None:
        """A method of the environment itself, or of a layer around it; None where there is none. Raises `BadInput` where it does not take what it is given."""
        asked = self._called(name, partial(self._method, environments, name))
        try:
            if asked is not None:
                inspect.signature(asked).bind("achieved_goal", "desired_goal", "info")
        except ValueError:
            pass  # some that are written in C tell nothing
        except TypeError as error:
            raise BadInput(f"hindsight: {name} of {self._task} is not called as {name}(achieved_goal, desired_goal, info): {one_line(error)}") from error
        return asked

    def _method(self, environments: Environments, name: str) -> Asked | None:
        inner = within(environments)
        if isinstance(inner, GymnasiumEnvironments):
            return _method(inner.envs[0], name)
        if not isinstance(inner, VectorEnvironments):
            return getattr(getattr(inner, "env", inner), name, None)  # of tensors, or the library's own
        base = inner.vector_env.unwrapped
        if isinstance(base, AsyncVectorEnv) and self._own is None:
            self._own = GymnasiumEnvironments(base.env_fns[0], [0], self._task)
            self._own.reset()
        if isinstance(base, AsyncVectorEnv | SyncVectorEnv):
            return _method((self._own or base).envs[0], name)
        return getattr(inner.vector_env, name, None)

    def _compare(self, policy: Any, seen: np.ndarray) -> None:
        """Raise `BadInput` where steps pay, or end by, something else than what is computed of their outcome."""
        outcomes, rewards, ends = [], [], []
        for _ in range(TRIED):
            step = self._environments.step(policy.act(torch.from_numpy(seen).unsqueeze(0))[0][0])
            seen = step.observation
            if step.valid[0]:
                outcomes, rewards, ends = [*outcomes, step.next_observation[0]], [*rewards, step.reward[0]], [*ends, step.terminated[0]]
        rows = torch.from_numpy(np.stack(outcomes))
        computed, over = self.of(rows, rows[:, self.desired], torch.tensor(ends))
        lost = coarse(self._environments.observation_spec, rows.numpy())
        if told := self._otherwise(torch.tensor(rewards), computed):
            raise BadInput(f"hindsight: {told}: {lost or 'goals in hindsight would be paid otherwise than those that were set'}")
        if not torch.equal(over, torch.tensor(ends)):
            told = f"compute_terminated of {self._task} says that a step ended its episode, and it went on"
            raise BadInput(f"hindsight: {told}: {lost or 'goals would end what goes on'}")

    def _otherwise(self, paid: Tensor, computed: Tensor) -> str:
        """In words the first step `[N]` that paid something else than is computed of it; empty where there is none."""
        wrong = ~torch.isclose(computed.float(), paid.float(), rtol=1e-3, atol=1e-4)
        if not wrong.any():
            return ""
        found, said = paid[wrong][0], computed[wrong][0] + 0
        return f"a step of {self._task} paid {found:g}, and its compute_reward(achieved_goal, desired_goal, info) says {said:g}"

    def hold(self, paid: Tensor, computed: Tensor) -> None:
        """Hold what steps paid `[N]` against what is computed of them under the goals that they had. Raises `RunFailed` where it is something else, as where
        an environment adds to its reward at the goal, which few steps meet before a run begins."""
        if told := self._otherwise(paid, computed):
            raise RunFailed(f"hindsight: {told}: goals in hindsight are paid otherwise than those that were set; mend compute_reward, or take --hindsight 0")

    def of(self, outcome: Tensor, goal: Tensor, terminated: Tensor) -> tuple[Tensor, Tensor]:
        """(reward, terminated) of outcomes under goals, `[…]`.

        Where the environment does not say what ends an episode under a goal, what ended it under its own does; and so does what was no goal.

        Args:
            outcome: observations `[…, D]`.
            goal: `[…, G]`.
            terminated: under the goals that were set, `[…]` bool.
        """
        achieved, desired, own = (self._values(rows) for rows in (outcome[..., self.achieved], goal, outcome[..., self.desired]))
        reward = self._numbers("compute_reward", self._pays, achieved, desired, "finite numbers")
        if (wrong := ~(np.abs(reward) <= LARGEST)).any():
            raise BadInput(f"hindsight: compute_reward of {self._task} gave {reward[wrong][0]:g}; it gives finite numbers, at most {LARGEST:.3g} in size")
        reward = reward.astype(np.float32)
        reward = np.clip(reward, -1.0, 1.0) if self._clip else reward
        found = torch.from_numpy(reward).view(terminated.shape).to(outcome.device)
        if self._ends is None:
            return found, terminated
        by_goal, by_own = (self._endings(achieved, goals) for goals in (desired, own))
        over, at_all = (torch.from_numpy(ended).view(terminated.shape).to(outcome.device) for ended in (by_goal, by_own))
        return found, over | (terminated & ~at_all)

    @property
    def ends(self) -> bool:
        """Whether the environment says what ends an episode under a goal."""
        return self._ends is not None

    def _endings(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """What `compute_terminated` says of each of N outcomes, `[N]` bool."""
        found = self._numbers("compute_terminated", self._ends, achieved, desired, "True or False")
        if (wrong := (found != 0) & (found != 1)).any():
            raise BadInput(f"hindsight: compute_terminated of {self._task} gave {found[wrong][0]:g}; it gives True or False")
        return found.astype(bool)

    def _numbers(self, name: str, asked: Asked, achieved: np.ndarray, desired: np.ndarray, wanted: str) -> np.ndarray:
        """What a method of the environment says of each of N outcomes, `[N]`."""
        count = len(achieved)
        try:
            found = array_of(self._called(name, asked, achieved, desired, [{} for _ in range(count)]))
        except _Raised:
            found = np.empty(0)  # what takes one at a time fails in its own way
        if found.shape != (count,) or found.dtype == object:
            said = [self._called(name, asked, one, other, {}) for one, other in zip(achieved, desired, strict=True)]
            if odd := [value for value in said if array_of(value).size != 1]:
                raise BadInput(f"hindsight: {name} of {self._task} gave {one_line(odd[0], 60)} for one outcome; it gives {wanted}, one each")
            found = np.array([array_of(value).item() for value in said])
        if found.dtype.kind not in "biuf":
            odd = [a_type(value) for value in found.tolist() if not isinstance(value, int | float)]
            raise BadInput(f"hindsight: {name} of {self._task} gave {odd[0] if odd else 'an integer that no float holds'}; it gives {wanted}")
        return found

    def _called(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """What a call into the environment's code gives. Raises `BadInput` where that raised, `RunFailed` where it hung."""
        if self._watching:
            WATCH.step = object()
        try:
            return call(*arguments)
        except (OperantError, KeyboardInterrupt):
            raise
        except Late:
            raise too_late(place(self._task), PATIENCE, name) from None
        except BaseException as error:
            asked = ", asked with NumPy's arrays and an empty info," if arguments else ""
            what = f"{name} of {self._task}{asked} raised {type(error).__name__}: {one_line(error)}"
            raise _Raised(f"hindsight: {what}; what goals would have paid hangs on goals alone") from error
        finally:
            WATCH.step = None

    def _values(self, rows: Tensor) -> np.ndarray:
        """Goals of rows `[…, G]` as the environment has them, `[N, *shape]`."""
        return as_given(self._field, rows.reshape(-1, rows.shape[-1]).cpu().numpy())

    def close(self) -> None:
        if self._watching:
            self._watching = False
            WATCH.close(PATIENCE)
        self._environments.close()
        if self._own is not None:
            self._own.close()


class _Raised(BadInput):
    """A method of the environment raised."""


def _method(env: Any, name: str) -> Asked | None:
    return env.get_wrapper_attr(name) if env.has_wrapper_attr(name) else None
