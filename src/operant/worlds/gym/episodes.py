"""Evaluation on fresh episodes with fixed seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from operant.core.errors import RunFailed
from operant.core.random import derive_seed
from operant.worlds.gym.environments import Environments

LONGEST_EPISODE = 100_000


def run_episodes(
    make: Callable[[list[int]], Environments], act: Callable[[torch.Tensor], np.ndarray], seeds: int, episodes: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One episode in each of `seeds × episodes` fresh rows; episode e starts alike for every policy.

    Args:
        make: environments from row seeds.
        act: raw observations `[S, E, D]` to actions `[S, E]` or `[S, E, A]` in the environment's units.

    Returns:
        (return, length, terminated), each `[S, E]`.

    Raises:
        RunFailed: an episode that has no end.
    """
    environments = make([derive_seed(seed, "evaluation", episode) for _ in range(seeds) for episode in range(episodes)])
    try:
        rows = seeds * episodes
        total, length = np.zeros(rows), np.zeros(rows, dtype=np.int64)
        terminated, running = np.zeros(rows, dtype=bool), np.ones(rows, dtype=bool)
        observation = environments.reset()
        while running.any():
            action = act(torch.from_numpy(observation).view(seeds, episodes, -1))
            step = environments.step(action.reshape(rows, *action.shape[2:]))
            total += np.where(running, step.reward, 0.0)
            length += running
            terminated |= running & step.terminated
            running &= ~(step.terminated | step.truncated)
            observation = step.observation
            if length.max() >= LONGEST_EPISODE:
                raise RunFailed(f"an evaluation episode did not end within {LONGEST_EPISODE} steps; wrap the environment in a TimeLimit")
        return tuple(array.reshape(seeds, episodes) for array in (total, length, terminated))
    finally:
        environments.close()
