"""A policy that plays where it sees more than the environment gives at a step, or acts at fewer of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from operant.core.errors import BadInput
from operant.worlds.gym.spaces import Actions, Observations
from operant.worlds.gym.views import Shown, View
from operant.worlds.player import Player, which

if TYPE_CHECKING:
    from operant.worlds.base import World


class ViewingPlayer(Player):
    """A player that takes the environment's own observations, one after each of its own steps: it stacks them, counts the time and lets actions last, in each
    of several episodes by itself.

    Args:
        observations: reads what the environment gives.
        shown: makes of that what the policy sees.
    """

    def __init__(self, world: World, policy: Any, view: View, observations: Observations, shown: Shown, actions: Actions):
        super().__init__(world, policy)
        self._view, self._observations, self._shown, self._actions = view, observations, shown, actions
        self._clock: np.ndarray | None = None  # steps of each episode so far, `[N]`
        self._past: np.ndarray  # what it last saw when it acted, `[N, k, D]`, the newest last
        self._action: np.ndarray  # what it last did, `[N, …]` in the environment's units

    def __call__(self, observation: Any, action_mask: Any = None) -> Any:
        try:
            seen, one = self._observations.rows(observation, action_mask)
        except BadInput as error:
            raise BadInput(f"{error}; a player that is raw takes what the task's own environment gives, run.player() what run.environment() gives") from error
        rows, repeat = len(seen), self._view.action_repeat
        if not rows:
            raise BadInput(f"{self._world.task}: no observation is given: take one, or several with an axis in front")
        if self._clock is None:
            self._clock = np.zeros(rows, np.int64)
            self._past = np.repeat(seen[:, None], self._view.frame_stack, 1)
        if len(self._clock) != rows:
            raise BadInput(f"{rows} observations, and the player is in the midst of {len(self._clock)} episodes: as many each time, or player.reset()")
        begins, acts, time = self._clock == 0, self._clock % repeat == 0, self._clock // repeat
        if self._view.time_feature and (time >= self._shown.limit).any():
            most = self._shown.limit * repeat
            raise BadInput(f"{self._world.task}: episodes have {most:,} steps, and this one is over: player.reset() where the next begins")
        self._past = np.where(acts[:, None, None], np.concatenate([self._past[:, 1:], seen[:, None]], 1), self._past)
        self._past[begins] = seen[begins, None]
        if acts.any():
            self._act(acts, time)
        self._clock += 1
        actions = self._actions.to_environment(self._action, rows)
        return self._actions.of_row(actions, 0) if one else actions

    def _act(self, acts: np.ndarray, time: np.ndarray) -> None:
        """Act anew in some episodes; in the others goes on what was done and is remembered."""
        rows = len(acts)
        carry = self._policy.initial(rows) if self._carry is None else self._carry
        action, after = self._policy.act(torch.from_numpy(self._shown(self._past, time)).unsqueeze(0), carry)
        self._action = action[0] if acts.all() else np.where(acts.reshape(rows, *[1] * (action.ndim - 2)), action[0], self._action)
        self._carry = after if carry is None else torch.where(torch.from_numpy(acts).unsqueeze(-1), after, carry)

    def reset(self, rows: Any = None) -> None:
        super().reset(rows)
        if rows is None:
            self._clock = None
        elif self._clock is not None:
            self._clock[which(rows, len(self._clock))] = 0
