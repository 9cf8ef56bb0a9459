"""What outcomes are worth under other goals than those that were set: asked of one copy of the environment, beside those that are stepped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from torch import Tensor

from operant.core.errors import CODE, BadInput, OperantError, one_line
from operant.core.spec import ACHIEVED, GOAL, Field
from operant.worlds.gym.adapter import GymnasiumEnvironments, VectorEnvironments
from operant.worlds.gym.check import closed, place
from operant.worlds.gym.environments import Environments
from operant.worlds.gym.views import within

TRIED = 8  # steps whose rewards are compared with those that are computed
Asked = Callable[[Any, Any, Any], Any]


class Goals:
    """Rewards and endings under any goal, of an environment whose observations have an achieved and a desired goal, by its `compute_reward` and, where it has
    one, `compute_terminated` (arguments of both: achieved goals, desired goals, infos; as Gymnasium-Robotics has them).

    They are called with arrays `[N, …]` in the types of the observation space and a list of N empty dicts for infos, as Stable-Baselines3 calls them, or one by
    one with an empty dict where they do not give one number for each of N.

    Args:
        task: for messages.
        environments: one row as training has it, which is stepped a few times and closed by `close`.
        policy: acts in these steps.
        clip: rewards are clipped to −1 to 1.

    Attributes:
        achieved, desired: where they lie in an observation's row; of several that are stacked the newest.

    Raises:
        BadInput: there are no such goals, there is no such method, or it gives other rewards than steps do.
        RunFailed: the environment raised.
    """

    def __init__(self, task: str, environments: Environments, policy: Any, *, clip: bool = False):
        self._task, self._environments, self._clip = task, environments, clip
        self._own: Any = None  # an environment that is made here alone
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
        """A method of the environment itself, or of a layer around it; None where there is none."""
        inner = within(environments)
        if isinstance(inner, GymnasiumEnvironments):
            return _method(inner.envs[0], name)
        if not isinstance(inner, VectorEnvironments):
            return getattr(getattr(inner, "env", inner), name, None)  # of tensors, or the library's own
        base = inner.vector_env.unwrapped
        if isinstance(base, AsyncVectorEnv) and self._own is None:
            self._own = base.env_fns[0]()
            self._own.reset()
        if isinstance(base, AsyncVectorEnv | SyncVectorEnv):
            return _method(self._own if isinstance(base, AsyncVectorEnv) else base.envs[0], name)
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
        wrong = ~np.isclose(computed.numpy(), rewards, rtol=1e-3, atol=1e-4)
        if wrong.any():
            where = int(wrong.argmax())
            told = f"a step of {self._task} paid {rewards[where]:g}, and its compute_reward(achieved_goal, desired_goal, info) says {computed[where]:g}"
            raise BadInput(f"hindsight: {told}: goals in hindsight would be paid otherwise than those that were set")
        if not torch.equal(over, torch.tensor(ends)):
            raise BadInput(f"hindsight: compute_terminated of {self._task} says that a step ended its episode, and it went on: goals would end what goes on")

    def of(self, outcome: Tensor, goal: Tensor, terminated: Tensor) -> tuple[Tensor, Tensor]:
        """(reward, terminated) of outcomes under goals, `[…]`.

        Where the environment does not say what ends an episode under a goal, what ended it under its own does; and so does what was no goal.

        Args:
            outcome: observations `[…, D]`.
            goal: `[…, G]`.
            terminated: under the goals that were set, `[…]` bool.
        """
        achieved, desired, own = (self._values(rows) for rows in (outcome[..., self.achieved], goal, outcome[..., self.desired]))
        reward = self._numbers("compute_reward", self._pays, achieved, desired).astype(np.float32)
        if not np.isfinite(reward).all():
            raise BadInput(f"hindsight: compute_reward of {self._task} gave {reward[~np.isfinite(reward)][0]:g}; it gives finite numbers")
        reward = np.clip(reward, -1.0, 1.0) if self._clip else reward
        found = torch.from_numpy(reward).view(terminated.shape).to(outcome.device)
        if self._ends is None:
            return found, terminated
        by_goal, by_own = (self._numbers("compute_terminated", self._ends, achieved, goals).astype(bool) for goals in (desired, own))
        over, at_all = (torch.from_numpy(ended).view(terminated.shape).to(outcome.device) for ended in (by_goal, by_own))
        return found, over | (terminated & ~at_all)

    def _numbers(self, name: str, asked: Asked, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """What a method of the environment says of each of N outcomes, `[N]`."""
        count = len(achieved)
        try:
            found = np.asarray(asked(achieved, desired, [{} for _ in range(count)]))
            if found.shape != (count,) or found.dtype == object:
                found = np.array([np.asarray(asked(one, other, {})).item() for one, other in zip(achieved, desired, strict=True)])
            return found
        except OperantError:
            raise
        except CODE as error:
            what = f"{name} of {self._task}, asked with an empty info, raised {type(error).__name__}: {one_line(error)}"
            raise BadInput(f"hindsight: {what}; what goals would have paid hangs on goals alone") from error

    def _values(self, rows: Tensor) -> np.ndarray:
        """Goals of rows `[…, G]` as the environment has them, `[N, *shape]`."""
        return _as_seen(self._field, rows.reshape(-1, rows.shape[-1]).cpu().numpy())

    def close(self) -> None:
        self._environments.close()
        if self._own is not None:
            closed(self._own, place(self._task))


def _method(env: Any, name: str) -> Asked | None:
    return env.get_wrapper_attr(name) if env.has_wrapper_attr(name) else None


def _as_seen(field: Field, rows: np.ndarray) -> np.ndarray:
    """Rows `[N, size]` of a field as the environment has it, `[N, *shape]`."""
    if field.kind in ("discrete", "multi-discrete"):
        parts = np.split(rows, np.cumsum(field.counts)[:-1], axis=1)
        rows = np.stack([part.argmax(1) + start for part, start in zip(parts, field.starts, strict=True)], 1)
    return rows.astype(field.dtype).reshape(len(rows), *field.shape)
