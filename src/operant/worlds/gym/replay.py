"""How off-policy methods step environments: a few steps at a time, into replay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from operant.core.errors import BadInput
from operant.core.memory import physical_memory
from operant.core.random import Streams
from operant.nets.actors import Actor
from operant.worlds.data.transitions import Transitions
from operant.worlds.gym.collect import MakeEnvironments, row_seeds


@dataclass(frozen=True)
class Online:
    """How experience enters replay.

    Attributes:
        environments: copies a seed.
        learning_starts: steps a seed with random actions before the first update.
        updates_per_step: gradient updates for each environment step.
        capacity: transitions kept a seed.
    """

    environments: int = 1
    learning_starts: int = 100
    updates_per_step: float = 1.0
    capacity: int = 1_000_000


def check_replay_memory(plan: Online, observation_size: int, transition_bytes: int, seeds: int, total_steps: int) -> None:
    """Raise `BadInput` where this machine's memory cannot hold the replay of all seeds."""
    each = seeds * transition_bytes
    kept = replay_capacity(plan, total_steps)
    memory = physical_memory()
    if kept * each > memory:
        raise BadInput(
            f"replay of {kept:,} transitions for {seeds} seeds takes {kept * each / 2**30:,.0f} GiB (observations of {observation_size:,} numbers), and this "
            f"machine has {memory / 2**30:,.0f}: at most --capacity {max(1, memory // 2 // each)}"
        )


def replay_capacity(plan: Online, total_steps: int) -> int:
    """Transitions kept a seed: no more than a run can give."""
    return min(plan.capacity, total_steps + plan.environments)


class ReplayCollector:
    """Steps every row once a call and appends the transitions to replay."""

    def __init__(self, make: MakeEnvironments, observation_size: int, plan: Online, actor: Actor, streams: Streams, total_steps: int):
        self.plan = plan
        self.streams = streams
        seeds = len(streams.seeds)
        distribution = actor.distribution
        self._environments = make(row_seeds(streams.seeds, plan.environments, "environment"))
        self.resume = self._environments.resume
        action_size = sum(distribution.action_shape)
        self.replay = Transitions(seeds, replay_capacity(plan, total_steps), observation_size, action_size, streams.device)
        self._observation: np.ndarray | None = None
        self._return = np.zeros((seeds, plan.environments))
        self._length = np.zeros((seeds, plan.environments), dtype=np.int64)
        self.episodes: list[list[tuple[float, int]]] = [[] for _ in range(seeds)]

    @torch.no_grad()
    def step(self, actor: Actor, *, explore: bool) -> None:
        """Step every row: with uniformly random actions where `explore`, else with actions drawn from the policy."""
        seeds, rows = self._return.shape
        if self._observation is None:
            self._observation = self._environments.reset()
        distribution = actor.distribution
        seen = torch.from_numpy(self._observation).view(seeds, rows, -1)
        if explore:
            action = distribution.uniform(self.streams, "explore", rows, allowed=actor.observation.allowed(seen)).cpu()
        else:
            noise = distribution.noise(self.streams, "action", rows)
            action = distribution.sample(actor(actor.normalized(seen.to(noise.device))), noise).cpu()
        flat = action.flatten(0, 1)
        step = self._environments.step(distribution.to_environment(flat))
        if not step.valid.all():
            raise BadInput("a vector environment with NEXT_STEP autoreset cannot fill replay: give an environment of one row, or SAME_STEP autoreset")
        flags = (torch.from_numpy(flag).view(seeds, rows) for flag in (step.terminated, step.truncated))
        reward = torch.from_numpy(step.reward).view(seeds, rows)
        self.replay.add(seen, action, reward, torch.from_numpy(step.next_observation).view(seeds, rows, -1), *flags)
        self._count(step)
        self._observation = step.observation.copy()

    def _count(self, step) -> None:
        shape = self._return.shape
        self._return += step.reward.reshape(shape)
        self._length += step.valid.reshape(shape)
        done = step.terminated | step.truncated
        if done.any():
            for seed, row in zip(*np.nonzero(done.reshape(shape)), strict=True):
                self.episodes[seed].append((float(self._return[seed, row]), int(self._length[seed, row])))
                self._return[seed, row], self._length[seed, row] = 0.0, 0

    def state_dict(self) -> dict:
        return {
            "environments": self._environments.state_dict(),
            "replay": self.replay.state_dict(),
            "observation": self._observation,
            "return": self._return,
            "length": self._length,
        }

    def load_state_dict(self, state: dict) -> None:
        self._environments.load_state_dict(state["environments"])
        self.replay.load_state_dict(state["replay"])
        if self.resume == "bitwise":
            self._observation, self._return, self._length = state["observation"], state["return"], state["length"]
        else:
            self._observation, self._return, self._length = None, self._return * 0, self._length * 0

    def close(self) -> None:
        self._environments.close()
