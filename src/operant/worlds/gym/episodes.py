"""Evaluation on fresh episodes with fixed seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from operant.core.seeds import derive_seed
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
        steps: where they were recorded, columns of transitions `[S, E, T, …]` by name, actions in the environment's units. What lies behind an episode's end
            means nothing.
        success: float64, whether it succeeded, where the environment speaks of success at all: 0 also of what was cut, and of what ended without a word of
            it. None where nothing was said, in any step.
    """

    total: np.ndarray
    length: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    last: np.ndarray
    steps: dict[str, np.ndarray] | None = None
    success: np.ndarray | None = None

    @property
    def measures(self) -> dict[str, np.ndarray]:
        """What stands beside the score of an evaluation, `[S]` by name."""
        return {} if self.success is None else {"success": self.success.mean(1)}

    def transitions(self, seeds: int, count: int) -> dict[str, np.ndarray]:
        """`count` recorded transitions a seed by name, `[seeds, count, …]`, of all its episodes one behind the other; when there are no more, from the first on
        again. So every seed has as many, and a uniform draw is one of what there was.

        With "ends", whether a transition is the last of its episode, and "episode", which one of the seed's it is of.

        Args:
            seeds: a divisor of S; the episodes of S / seeds members side by side are one seed's.
        """
        length = self.length.reshape(seeds, -1)
        most = self.steps["reward"].shape[2]
        there = np.arange(most) < length[..., None]
        index = np.stack([np.resize(row.ravel().nonzero()[0], count) for row in there])
        rows = np.arange(seeds)[:, None]
        found = {name: value.reshape(seeds, -1, *value.shape[3:])[rows, index] for name, value in self.steps.items()}
        episode = index // most
        return found | {"episode": episode, "ends": index % most == length[rows, episode] - 1}


def run_episodes(
    make: Callable[[list[int]], Environments], act: Act, seeds: int, episodes: int, seed: int, max_steps: int, *, record: bool = False
) -> Episodes:
    """One episode in each of `seeds × episodes` fresh rows; episode e starts alike for every policy.

    Args:
        make: environments from row seeds.
        act: raw observations `[S, E, D]` and a policy's carry (None where episodes begin) to actions `[S, E]` or `[S, E, A]` in the environment's units and the
            carry after them. A row counts until its episode ends, so that no carry ever needs to begin anew.
        max_steps: an episode that has made so many steps is cut.
        record: keep their steps.
    """
    environments = make([derive_seed(seed, "evaluation", episode) for _ in range(seeds) for episode in range(episodes)])
    try:
        rows = seeds * episodes
        total, length = np.zeros(rows), np.zeros(rows, dtype=np.int64)
        terminated, running = np.zeros(rows, dtype=bool), np.ones(rows, dtype=bool)
        observation, carry = environments.reset(), None
        last = observation.copy()
        steps: list[dict[str, np.ndarray]] = []
        success: np.ndarray | None = None
        for tick in range(max_steps):
            seen = observation.copy() if record else observation
            action, carry = act(torch.from_numpy(seen).view(seeds, episodes, -1), carry)
            step = environments.step(action.reshape(rows, *action.shape[2:]))
            if record:
                taken = {name: getattr(step, name).copy() for name in ("reward", "next_observation", "terminated", "truncated")}
                taken["truncated"] |= (tick == max_steps - 1) & ~step.terminated
                steps.append(taken | {"observation": seen, "action": action.reshape(rows, *action.shape[2:])})
            total += np.where(running, step.reward, 0.0)
            length += running
            terminated |= running & step.terminated
            ended = running & (step.terminated | step.truncated)
            if ended.any():
                last[ended] = step.next_observation[ended]
            if step.success is not None:
                success = np.zeros(rows) if success is None else success
                success[ended] = np.nan_to_num(step.success[ended])
            running &= ~ended
            observation = step.observation
            if not running.any():
                break
        last[running] = observation[running]
        shaped = [array.reshape(seeds, episodes, *array.shape[1:]) for array in (total, length, terminated, running, last)]
        success = None if success is None else success.reshape(seeds, episodes)
        if not record:
            return Episodes(*shaped, success=success)
        columns = {name: np.stack([one[name] for one in steps], 1) for name in steps[0]}
        return Episodes(*shaped, {name: value.reshape(seeds, episodes, *value.shape[1:]) for name, value in columns.items()}, success)
    finally:
        environments.close()
