"""Evaluation on fresh episodes with fixed seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from operant.core.random import derive_seed
from operant.worlds.gym.environments import Environments

Act = Callable[[torch.Tensor, torch.Tensor | None], tuple[np.ndarray, torch.Tensor | None]]


@dataclass(frozen=True)
class Episodes:
    """What episodes gave, each `[S, E]`.

    Attributes:
        total: sum of rewards, undiscounted.
        length: steps.
        terminated: bool, it ended by itself.
        truncated: bool, it was still going on when the steps that it is given were used up.
        last: `[S, E, D]` float32, the last observation of each.
    """

    total: np.ndarray
    length: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    last: np.ndarray


def run_episodes(
    make: Callable[[list[int]], Environments], act: Act, seeds: int, episodes: int, seed: int, max_steps: int
) -> Episodes:
    """One episode in each of `seeds × episodes` fresh rows; episode e starts alike for every policy.

    Args:
        make: environments from row seeds.
        act: raw observations `[S, E, D]` and a policy's carry (None where episodes begin) to actions `[S, E]` or `[S, E, A]` in the environment's units and the
            carry after them. A row counts until its episode ends, so that no carry ever needs to begin anew.
        max_steps: an episode that has made so many steps is cut.
    """
    environments = make([derive_seed(seed, "evaluation", episode) for _ in range(seeds) for episode in range(episodes)])
    try:
        rows = seeds * episodes
        total, length = np.zeros(rows), np.zeros(rows, dtype=np.int64)
        terminated, running = np.zeros(rows, dtype=bool), np.ones(rows, dtype=bool)
        observation, carry = environments.reset(), None
        last = observation.copy()
        for _ in range(max_steps):
            action, carry = act(torch.from_numpy(observation).view(seeds, episodes, -1), carry)
            step = environments.step(action.reshape(rows, *action.shape[2:]))
            total += np.where(running, step.reward, 0.0)
            length += running
            terminated |= running & step.terminated
            ended = running & (step.terminated | step.truncated)
            if ended.any():
                last[ended] = step.next_observation[ended]
            running &= ~ended
            observation = step.observation
            if not running.any():
                break
        last[running] = observation[running]
        return Episodes(*(array.reshape(seeds, episodes, *array.shape[1:]) for array in (total, length, terminated, running, last)))
    finally:
        environments.close()
