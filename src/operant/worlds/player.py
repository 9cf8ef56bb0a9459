"""A trained policy along episodes, as a person plays it step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from operant.core.errors import BadInput

if TYPE_CHECKING:
    from operant.worlds.base import World


class Player:
    """A trained policy along episodes: what it remembers of one observation, with a horizon the step, it knows at the next. Of a policy that remembers nothing
    it is `Run.policy`.

    Args:
        world: of its task.
        policy: of one seed.
    """

    def __init__(self, world: World, policy: Any):
        self._world, self._policy = world, policy
        self._carry: torch.Tensor | None = None

    def __call__(self, observation: Any, action_mask: Any = None) -> Any:
        """The policy's mode, or what it draws, at the next observation of an episode, or at the next ones of several, as of `Run.policy`.

        Raises:
            BadInput: no observation or mask of this environment, another number of episodes than before, or where the step is known one behind their last.
        """
        action, self._carry = self._world.act(self._policy, observation, action_mask, self._carry)
        return action

    def reset(self, rows: Any = None) -> None:
        """New episodes begin: forget the old ones.

        Args:
            rows: which of several, True or False each; all by default.

        Raises:
            BadInput: not one for each episode.
        """
        if rows is None or self._carry is None:
            self._carry = None
            return
        begins = which(rows, self._carry.shape[1])
        self._carry = torch.where(torch.from_numpy(begins).unsqueeze(-1), self._policy.initial(len(begins)), self._carry)


def which(rows: Any, count: int) -> np.ndarray:
    """Which of so many episodes are meant, `[count]` bool. Raises `BadInput` where that is not said of each."""
    begins = np.asarray(rows)
    if begins.dtype != bool or begins.shape != (count,):
        raise BadInput(f"reset takes True or False for each of {count} episodes; {rows!r} is not that")
    return begins
