"""How methods step environments a step at a time: as a stream, of which nothing is kept, and into a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput, a_type
from operant.core.hand_over import handed_over
from operant.core.memory import amount, memory_at_hand
from operant.core.random import Streams
from operant.nets.actors import Policy
from operant.worlds.base import SampleWorkers
from operant.worlds.gym.collect import Ended, MakeEnvironments, environments_of
from operant.worlds.gym.environments import Step
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
        every: steps between two rounds of updates, each of which makes all that are due.
    """

    environments: int = 1
    learning_starts: int = 100
    updates_per_step: float = 1.0
    capacity: int = 1_000_000
    every: int = 1


def check_store_memory(plan: Online, observation_size: int, transition_bytes: int, seeds: int, total_steps: int) -> None:
    """Raise `BadInput` where the memory that it would lie in cannot hold what all seeds keep."""
    each = seeds * transition_bytes
    kept = capacity_of(plan, total_steps)
    memory, whose = memory_at_hand()
    if kept * each > memory:
        what = f"replay of {kept:,} transitions for {seeds} seed{'s' * (seeds > 1)} takes {amount(kept * each)} (observations of {observation_size:,} numbers)"
        raise BadInput(f"{what}, and {whose} has {amount(memory)}: at most --capacity {max(1, memory // 2 // each)}")


def capacity_of(plan: Online, total_steps: int) -> int:
    """Transitions kept a seed: no more than a run can give."""
    return min(plan.capacity, total_steps + plan.environments)


class Stream:
    """Environments that are stepped, every row once a call.

    Args:
        make: environments from row seeds.
        seeds: root seeds (S).
        environments: copies a seed.
        workers: processes that step them; None for this one.

    Attributes:
        episodes: those that ended, by seed; whoever reads them empties it.
        ended: `[R]` bool, in which rows a new episode begins behind the last step: one ended there, or was reset by a step that ignored the action.
    """

    ended: np.ndarray

    def __init__(self, make: MakeEnvironments, seeds: list[int], environments: int = 1, workers: SampleWorkers | None = None):
        self._environments = environments_of(make, seeds, environments, workers)
        self._observation: np.ndarray | None = None
        self._return = np.zeros((len(seeds), environments))
        self._length = np.zeros((len(seeds), environments), dtype=np.int64)
        self._told = False  # of an episode that it succeeded, or did not
        self.episodes: list[list[Ended]] = [[] for _ in seeds]

    @property
    def resume(self) -> str:
        return self._environments.resume  # may turn out later: an environment's state is looked at when it is taken

    @property
    def seen(self) -> np.ndarray:
        """`[R, D]` float32, what is acted on next."""
        if self._observation is None:
            self._observation = self._environments.reset()
        return self._observation

    def act(self, action: np.ndarray) -> Step:
        """One step of every row with its action, as `Environments.step` takes them. Raises `BadInput` where a step of a row is none."""
        step = self._environments.step(action)
        self._count(step)
        self.ended = step.terminated | step.truncated | ~step.valid
        self._observation = step.observation.copy()
        return step

    def _count(self, step: Step) -> None:
        shape = self._return.shape
        self._return += step.reward.reshape(shape)
        self._length += step.valid.reshape(shape)
        done = step.terminated | step.truncated
        self._told = self._told or step.success is not None
        if done.any():
            success = np.full(shape, np.nan) if step.success is None else step.success.reshape(shape)
            success = np.nan_to_num(success) if self._told else success
            for seed, row in zip(*np.nonzero(done.reshape(shape)), strict=True):
                self.episodes[seed].append((float(self._return[seed, row]), int(self._length[seed, row]), float(success[seed, row])))
                self._return[seed, row], self._length[seed, row] = 0.0, 0

    def state_dict(self) -> dict:
        counted = {"return": self._return, "length": self._length, "told": self._told}
        return {"environments": self._environments.state_dict(), "observation": self._observation} | counted

    def load_state_dict(self, state: dict) -> None:
        self._environments.load_state_dict(state["environments"])
        self._told = state.get("told", False)
        if self.resume == "bitwise":
            self._observation, self._return, self._length = state["observation"], state["return"], state["length"]
        else:
            self._observation, self._return, self._length = None, self._return * 0, self._length * 0

    def close(self) -> None:
        self._environments.close()


class Experience(Stream):
    """A stream that is kept in a store.

    Attributes:
        store: the transitions.
    """

    def __init__(self, make: MakeEnvironments, plan: Online, policy: Policy, streams: Streams, total_steps: int, *, workers: SampleWorkers | None = None):
        super().__init__(make, streams.seeds, plan.environments, workers)
        self.plan, self.streams, self.observation, self.distribution = plan, streams, policy.observation, policy.distribution
        self._normalizer = policy.normalizer
        self._everyone = torch.ones(len(streams.seeds), plan.environments, dtype=torch.bool, device=streams.device)
        columns = transition_columns(self.observation, self.distribution.action_shape, self.distribution.action_type)
        self.store = Store(len(streams.seeds), capacity_of(plan, total_steps), columns, lanes=plan.environments, device=streams.device, frames=True)
        self._waiting: list[dict[str, Tensor]] = []  # what is not in the store yet, a turn each

    @torch.no_grad()
    def step(self, act: Act | None) -> None:
        """Step every row with the actions of `act`; None: with uniformly random ones. A policy's normaliser takes in what it acts on. `keep` stores it."""
        seeds, rows = self._return.shape
        seen = torch.from_numpy(self.seen).view(seeds, rows, -1)
        shown = handed_over(seen, self.streams.device)
        if self._normalizer is not None:
            self._normalizer.update(shown, self._everyone)
        if act is None:
            action = self.distribution.uniform(self.streams, "explore", rows, allowed=self.observation.allowed(shown)).cpu()
        else:
            action = self._checked(act(shown), seen)
        step = self.act(self.distribution.to_environment(action.flatten(0, 1)))
        found = {name: torch.from_numpy(getattr(step, name).copy()).view(seeds, rows) for name in ("reward", "terminated", "truncated", "valid")}
        following = torch.from_numpy(step.next_observation.copy()).view(seeds, rows, -1)
        self._waiting.append({"observation": seen, "action": action, "next_observation": following} | found)

    def keep(self) -> None:
        """Store what was stepped since the last time."""
        turns, self._waiting = self._waiting, []
        if not turns:
            return
        found = turns[0] if len(turns) == 1 else {name: torch.cat([turn[name] for turn in turns], 1) for name in turns[0]}
        valid = found.pop("valid")
        self.store.append(found, valid=None if valid.all() else valid)  # a reset that took a step of its own is no transition

    def _checked(self, action: Tensor, seen: Tensor) -> Tensor:
        """What a behaviour gave, on the CPU. Raises `BadInput` for actions of another shape or type, and for one that a mask forbids."""
        shape, kind = (*self._return.shape, *self.distribution.action_shape), self.distribution.action_type
        if not isinstance(action, Tensor) or action.shape != shape or action.is_floating_point() != kind.is_floating_point:
            found = f"{list(action.shape)} of {action.dtype}" if isinstance(action, Tensor) else a_type(action)
            raise BadInput(f"the behaviour of this method gave {found}; actions are {list(shape)} of {kind}")
        action, allowed = action.cpu(), self.observation.allowed(seen)
        if allowed is not None and not self.distribution.deviations:
            even = self.distribution.forbid(torch.zeros(*self._return.shape, self.distribution.size), allowed)
            if (self.distribution.log_prob(even, action) <= ops.FORBIDDEN / 2).any():
                raise BadInput("the behaviour of this method gave an action that the mask forbids: take what a net prefers, or uniform(…, allowed=…)")
        return action

    def state_dict(self) -> dict:
        return super().state_dict() | {"store": self.store.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        self.store.load_state_dict(state["store"])
        if self.resume != "bitwise":
            self.store.cut()
