"""How off-policy methods step environments: a few steps at a time, into a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.core.memory import physical_memory
from operant.core.random import Streams
from operant.nets.actors import Policy
from operant.worlds.gym.collect import MakeEnvironments, row_seeds
from operant.worlds.store import Store, transition_columns

Act = Callable[[Tensor], Tensor]  # from raw observations `[S, N, D]` to actions `[S, N, …]` in the policy's units


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


def check_store_memory(plan: Online, observation_size: int, transition_bytes: int, seeds: int, total_steps: int) -> None:
    """Raise `BadInput` where this machine's memory cannot hold what all seeds keep."""
    each = seeds * transition_bytes
    kept = capacity_of(plan, total_steps)
    memory = physical_memory()
    if kept * each > memory:
        raise BadInput(
            f"replay of {kept:,} transitions for {seeds} seeds takes {kept * each / 2**30:,.0f} GiB (observations of {observation_size:,} numbers), and this "
            f"machine has {memory / 2**30:,.0f}: at most --capacity {max(1, memory // 2 // each)}"
        )


def capacity_of(plan: Online, total_steps: int) -> int:
    """Transitions kept a seed: no more than a run can give."""
    return min(plan.capacity, total_steps + plan.environments)


class Experience:
    """Environments that are stepped into a store, every row once a call.

    Attributes:
        store: the transitions.
        episodes: (return, length) of the episodes that ended, by seed; whoever reads them empties it.
    """

    def __init__(self, make: MakeEnvironments, plan: Online, policy: Policy, streams: Streams, total_steps: int):
        self.plan, self.streams, self.observation, self.distribution = plan, streams, policy.observation, policy.distribution
        self._normalizer = policy.normalizer
        seeds = len(streams.seeds)
        self._environments = make(row_seeds(streams.seeds, plan.environments, "environment"))
        columns = transition_columns(self.observation, self.distribution.action_shape, self.distribution.action_type)
        self.store = Store(seeds, capacity_of(plan, total_steps), columns, lanes=plan.environments, device=streams.device)
        self._observation: np.ndarray | None = None
        self._everyone = torch.ones(seeds, plan.environments, dtype=torch.bool, device=streams.device)
        self._return = np.zeros((seeds, plan.environments))
        self._length = np.zeros((seeds, plan.environments), dtype=np.int64)
        self.episodes: list[list[tuple[float, int]]] = [[] for _ in range(seeds)]

    @property
    def resume(self) -> str:
        return self._environments.resume  # may turn out later: an environment's state is looked at when it is taken

    @torch.no_grad()
    def step(self, act: Act | None) -> None:
        """Step every row with the actions of `act`; None: with uniformly random ones. A policy's normaliser takes in what it acts on."""
        seeds, rows = self._return.shape
        if self._observation is None:
            self._observation = self._environments.reset()
        seen = torch.from_numpy(self._observation).view(seeds, rows, -1)
        if self._normalizer is not None:
            self._normalizer.update(seen.to(self.streams.device), self._everyone)
        if act is None:
            action = self.distribution.uniform(self.streams, "explore", rows, allowed=self.observation.allowed(seen)).cpu()
        else:
            action = self._checked(act(seen.to(self.streams.device)), seen)
        step = self._environments.step(self.distribution.to_environment(action.flatten(0, 1)))
        if not step.valid.all():
            raise BadInput("a vector environment with NEXT_STEP autoreset cannot fill replay: give an environment of one row, or SAME_STEP autoreset")
        found = {name: torch.from_numpy(getattr(step, name)).view(seeds, rows) for name in ("reward", "terminated", "truncated")}
        following = torch.from_numpy(step.next_observation).view(seeds, rows, -1)
        self.store.append({"observation": seen, "action": action, "next_observation": following} | found)
        self._count(step)
        self._observation = step.observation.copy()

    def _checked(self, action: Tensor, seen: Tensor) -> Tensor:
        """What a behaviour gave, on the CPU. Raises `BadInput` for actions of another shape or type, and for one that a mask forbids."""
        shape, kind = (*self._return.shape, *self.distribution.action_shape), self.distribution.action_type
        if not isinstance(action, Tensor) or action.shape != shape or action.is_floating_point() != kind.is_floating_point:
            found = f"{list(action.shape)} of {action.dtype}" if isinstance(action, Tensor) else f"a {type(action).__name__}"
            raise BadInput(f"the behaviour of this method gave {found}; actions are {list(shape)} of {kind}")
        action, allowed = action.cpu(), self.observation.allowed(seen)
        if allowed is not None and not self.distribution.deviations:
            even = self.distribution.forbid(torch.zeros(*self._return.shape, self.distribution.size), allowed)
            if (self.distribution.log_prob(even, action) <= ops.FORBIDDEN / 2).any():
                raise BadInput("the behaviour of this method gave an action that the mask forbids: take what a net prefers, or uniform(…, allowed=…)")
        return action

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
            "store": self.store.state_dict(),
            "observation": self._observation,
            "return": self._return,
            "length": self._length,
        }

    def load_state_dict(self, state: dict) -> None:
        self._environments.load_state_dict(state["environments"])
        self.store.load_state_dict(state["store"])
        if self.resume == "bitwise":
            self._observation, self._return, self._length = state["observation"], state["return"], state["length"]
        else:
            self._observation, self._return, self._length = None, self._return * 0, self._length * 0
            self.store.cut()

    def close(self) -> None:
        self._environments.close()
