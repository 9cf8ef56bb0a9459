"""How a policy's experience is collected from environments: whole chunks of steps for policy gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from operant.core.errors import BadInput
from operant.core.hand_over import handed_over
from operant.core.random import Streams
from operant.core.records import Rollout
from operant.core.seeds import derive_seed
from operant.core.status import Status
from operant.nets.actors import Actor
from operant.nets.normalize import RunningNormalizer
from operant.worlds.base import SampleWorkers, SamplingPlan, Source
from operant.worlds.gym.beds import LevelledEnvironments
from operant.worlds.gym.environments import Environments
from operant.worlds.levels import Outcomes

MakeEnvironments = Callable[[list[int]], Environments]
Ended = tuple[float, int, float]  # of an episode its return, its length, and whether it succeeded (1 or 0, NaN where nothing was said of any so far)
STORED = ("observation", "next_observation", "action", "reward", "terminated", "truncated", "valid")  # of a chunk, what a rollout is made of


@dataclass(frozen=True)
class Steps(SamplingPlan):
    """A sampling plan: each seed steps `environments` copies for `length` steps an iteration.

    Attributes:
        normalize_reward: divide rewards by the running standard deviation of their discounted sum (discount `gamma`).
        batches: a rollout is what was collected now and in the iterations before, as many of them at most, as rows beside each other; what older rows say of
            the policy is what it says of them now.
        behaviour: what acts in the policy's place; None for the policy.
    """

    environments: int = 8
    length: int = 128
    normalize_reward: bool = False
    gamma: float = 0.99
    batches: int = 1
    behaviour: Behaviour | None = None

    @property
    def iteration_rows(self) -> int:
        return self.environments * self.length


class Behaviour(Protocol):
    """What acts in the policy's place, in a plan.

    Attributes:
        every: steps of each row after which it adapts to what was collected.
    """

    @property
    def every(self) -> int: ...

    def begin(self, policy: Actor, streams: Streams) -> Adapting:
        """It at work; draws take names of its own."""


class Adapting(Protocol):
    """A behaviour at work. It keeps nothing from one rollout to the next but its streams.

    Attributes:
        policy: what acts; it remembers nothing.
    """

    policy: Actor

    def adapt(self, policy: Actor, observation: Tensor, action: Tensor, mask: Tensor) -> None:
        """Become what acts next, from the policy and from what was done so far, the rows and steps `[S, U, …]` of a rollout.

        Args:
            observation: as the policy's network sees it.
            mask: False at steps that the environment ignored.
        """


def row_seeds(seeds: list[int], count: int, use: str) -> list[int]:
    """A seed a row, seed-major: rows `[s·count, (s+1)·count)` belong to seed s."""
    return [derive_seed(seed, use, row) for seed in seeds for row in range(count)]


def environments_of(make: MakeEnvironments, seeds: list[int], count: int, workers: SampleWorkers | None) -> Environments:
    """The rows of all seeds, `count` of each, which step here or in other processes."""
    of_rows = row_seeds(seeds, count, "environment")
    if workers is None:
        return make(of_rows)
    from operant.worlds.gym.workers import WorkerEnvironments

    return WorkerEnvironments(make, len(seeds), count, of_rows, workers)


class Chunk:
    """Preallocated arrays of T steps, time first: `[T, S, N, …]`. A worker fills a slice of the one that the trainer reads.

    `carry [2, S, N, C]` is what the policy remembers when the chunk begins, which whoever asks for the chunk writes, and when the next one begins. `success` is
    NaN where nothing is said of an episode (`Step.success`).
    """

    NAMES = ("carry", "observation", "next_observation", "parameters", "action", "reward", "terminated", "truncated", "valid", "success")

    def __init__(self, length: int, seeds: int, rows: int, observation_size: int, actor: Actor):
        shape = (length, seeds, rows)
        distribution, start = actor.distribution, actor.initial(rows)
        self.carry = torch.zeros(2, seeds, rows, 0 if start is None else start.shape[-1])
        self.observation = torch.zeros(*shape, observation_size)
        self.next_observation = torch.zeros(*shape, observation_size)
        self.parameters = torch.zeros(*shape, distribution.size)
        self.action = torch.zeros(*shape, *distribution.action_shape, dtype=distribution.action_type)
        self.reward = torch.zeros(shape)
        self.terminated, self.truncated, self.valid = (torch.zeros(shape, dtype=torch.bool) for _ in range(3))
        self.success = torch.full(shape, torch.nan)

    def ends(self, steps: int | slice) -> Tensor:
        """Behind which of some steps an episode is over, `[…, S, N]`."""
        return self.terminated[steps] | self.truncated[steps] | ~self.valid[steps]

    def between(self, first: int, last: int) -> Chunk:
        """The steps from `first` to before `last`, sharing memory."""
        return Chunk.of({name: self.carry if name == "carry" else getattr(self, name)[first:last] for name in self.NAMES})

    @classmethod
    def of(cls, arrays: Mapping[str, Tensor]) -> Chunk:
        """One with these arrays."""
        made = object.__new__(cls)
        for name in cls.NAMES:
            setattr(made, name, arrays[name])
        return made

    def narrow(self, seeds: slice, rows: slice) -> Chunk:
        """The part of some seeds and rows, sharing memory."""
        return Chunk.of({name: getattr(self, name)[:, seeds, rows] for name in self.NAMES})


@torch.no_grad()
def fill(chunk: Chunk, environments: Environments, actor: Actor, noise: Tensor, observation: np.ndarray, part: tuple[slice, slice] | None = None) -> np.ndarray:
    """Act for T steps into `chunk`; `noise [S, T, N, …]` turns into actions. Returns the observation `[R, D]` that comes next.

    What the policy remembers goes on in each row until an episode ends there, and starts anew behind a step that the environment ignored, too.

    Args:
        part: which seeds and rows, of those that actor and noise are of, the chunk and the environments hold; None for all. The actor then acts in the shapes
            of all, with zeros in the place of what other rows see, so that its numbers are those of whoever holds all.
    """
    length, seeds, rows = chunk.reward.shape
    size = observation.shape[-1]
    device = noise.device
    everyone, mine = (rows, _all) if part is None else (noise.shape[2], itemgetter(part))
    seen = torch.zeros(len(noise), everyone, size)  # its address, on which the last bits of a small product hang, is as round as any that PyTorch takes
    distribution, decide = actor.distribution, actor.standing()
    noise = noise.transpose(0, 1)
    arrays = {name: getattr(chunk, name).numpy() for name in ("reward", "terminated", "truncated", "valid", "next_observation")}
    chunk.success.fill_(torch.nan)
    observations, decided, actions = chunk.observation.numpy(), chunk.parameters.numpy(), chunk.action.numpy()
    action_shape = (seeds * rows, *distribution.action_shape)
    start = actor.initial(everyone)
    carry = None if start is None else start.clone()
    if carry is not None:
        mine(carry).copy_(chunk.carry[0])
    for t in range(length):
        mine(seen).copy_(torch.from_numpy(observation).view(seeds, rows, size))
        observations[t] = observation.reshape(seeds, rows, size)
        parameters, carry = decide(actor.normalized(handed_over(seen, device)), carry)
        action = distribution.sample(parameters, noise[t]).cpu()
        decided[t], actions[t] = mine(parameters.cpu().numpy()), mine(action.numpy())
        step = environments.step(mine(distribution.to_environment(action)).reshape(action_shape))
        for name, array in arrays.items():
            array[t] = getattr(step, name).reshape(array.shape[1:])
        if step.success is not None:
            chunk.success[t] = torch.from_numpy(step.success).view(seeds, rows)
        observation = step.observation
        if start is not None:
            mine(carry).copy_(torch.where(chunk.ends(t).unsqueeze(-1).to(device), mine(start), mine(carry)))
    if start is not None:
        chunk.carry[1] = mine(carry)
    return observation


def _all(x: Any) -> Any:
    return x


class Collector(Source):
    """The source of policy-gradient experience on environments: `length` steps of every row, through episode ends.

    Normalisers of observations (in the actor) and rewards (here) stand still within a chunk and take it in afterwards, so that a chunk does not depend on
    who collects it.

    Args:
        make: environments from row seeds.
        seeds: root seeds (S).
        workers: processes that act and step the environments; None for this one. They collect the next chunks while this one is learned from, where it may be
            stale.
    """

    def __init__(self, make: MakeEnvironments, observation_size: int, plan: Steps, streams: Streams, *, workers: SampleWorkers | None = None):
        self.plan = plan
        self.streams = streams
        self.observation_size = observation_size
        self._ahead = 0 if workers is None else workers.staleness  # chunks that are under way while one is learned from
        self._beside = workers is not None and plan.behaviour is None  # they act, too; a behaviour adapts to what this process has
        seeds, rows = len(streams.seeds), plan.environments
        self._environments = environments_of(make, streams.seeds, rows, workers)
        self._observation: np.ndarray | None = None
        self._carry: Tensor | None = None  # of the policy, at the next observation; None where all episodes begin, or it remembers nothing
        self._behaviour: Adapting | None = None
        self._waiting: list[tuple[Chunk, int]] = []  # chunks of a run that goes on, which were collected and not learned from, and their weights' versions
        self._kept: list[dict[str, Tensor]] = []  # of the iterations before, oldest first, `[S, N, T, …]` each
        self._reward_scale = RunningNormalizer(seeds, 1) if plan.normalize_reward else None
        self._discounted = torch.zeros(seeds, rows)
        self._return = np.zeros((seeds, rows))
        self._length = np.zeros((seeds, rows), dtype=np.int64)
        self._told = False  # of an episode that it succeeded, or did not
        self.episodes: list[list[Ended]] = [[] for _ in range(seeds)]

    @property
    def resume(self) -> str:
        return self._environments.resume  # may turn out later: an environment's state is looked at when it is taken

    @property
    def steps_per_sample(self) -> int:
        """Environment steps of one seed in one `sample`."""
        return self.plan.environments * self.plan.length

    def sample(self, policy: Actor, version: int) -> Rollout:
        seeds, rows, length = len(self.streams.seeds), self.plan.environments, self.plan.length
        if (self.plan.batches > 1 or self.plan.behaviour is not None) and policy.initial(1) is not None:
            raise BadInput("a policy that remembers its episode learns from what it has just done itself: take one batch and no other behaviour")
        if self._observation is None:
            self._observation = self._environments.reset()
        carry = policy.initial(rows) if self._carry is None else self._carry
        if self._beside:
            while len(self._waiting) + self._environments.under_way <= self._ahead:
                noise = policy.distribution.noise(self.streams, "action", length, rows)
                self._environments.begin(policy, version, noise, self.observation_size, self.progress)
            chunk, version = self._waiting.pop(0) if self._waiting else self._environments.finish()
        else:
            noise = policy.distribution.noise(self.streams, "action", length, rows)
            chunk = Chunk(length, seeds, rows, self.observation_size, policy)
            if carry is not None:
                chunk.carry[0] = carry
            self._fill(chunk, policy, noise)
        if carry is not None:
            self._carry = chunk.carry[1].clone()
        return self._rollout(chunk, policy, version)

    def settle(self) -> None:
        if self._beside:
            self._environments.settle()

    def _fill(self, chunk: Chunk, policy: Actor, noise: Tensor) -> None:
        """Act into a chunk: the policy, or a behaviour that adapts every few steps, at the first of them to what the iterations before left."""
        if self.plan.behaviour is None:
            self._observation = fill(chunk, self._environments, policy, noise, self._observation)
            return
        if self._behaviour is None:
            self._behaviour = self.plan.behaviour.begin(policy, self.streams)
        length, every = self.plan.length, self.plan.behaviour.every
        for first in range(0, length, every):
            last = min(first + every, length)
            done = [{name: batch[name] for name in ("observation", "action", "valid")} for batch in self._kept]
            done += [{name: self._rows_first(getattr(chunk, name)[:first]) for name in ("observation", "action", "valid")}]
            seen, action, valid = (torch.cat([part[name].flatten(1, 2) for part in done], 1) for name in ("observation", "action", "valid"))
            self._behaviour.adapt(policy, policy.normalized(seen), action, valid)
            self._observation = fill(chunk.between(first, last), self._environments, self._behaviour.policy, noise[:, first:last], self._observation)

    def _rows_first(self, x: Tensor) -> Tensor:
        """`[T, S, N, …]` as `[S, N, T, …]`, where the run's tensors are."""
        return x.permute(1, 2, 0, *range(3, x.ndim)).to(self.streams.device)

    def _rollout(self, chunk: Chunk, actor: Actor, version: int) -> Rollout:
        device = self.streams.device
        seeds, rows = len(self.streams.seeds), self.plan.environments
        self._count_episodes(chunk)
        reward = self._scaled(chunk) if self._reward_scale is not None else chunk.reward
        found = {name: self._rows_first(getattr(chunk, name)) for name in STORED} | {"reward": self._rows_first(reward)}
        fresh = found["observation"], found["valid"]
        if self.plan.batches > 1:
            self._kept = [*self._kept[-(self.plan.batches - 1) :], {name: value.clone() for name, value in found.items()}]
            found = {name: torch.cat([batch[name] for batch in self._kept], 1) for name in found}
            self._kept = self._kept[-(self.plan.batches - 1) :]
            rows = found["valid"].shape[1]
        inputs = {"observation": actor.normalized(found["observation"])}
        if self._carry is not None:
            begins = torch.cat([torch.zeros_like(chunk.valid[:1]), chunk.ends(slice(-1))])
            inputs |= {"carry": chunk.carry[0].to(device, copy=True), "begins": self._rows_first(begins)}
        if self.plan.batches > 1 or self.plan.behaviour is not None:  # what the policy says of it, whatever acted
            with torch.no_grad():
                log_prob = actor.distribution.log_prob(actor(inputs["observation"]), found["action"])
        else:
            log_prob = self._rows_first(actor.distribution.log_prob(chunk.parameters, chunk.action))
        rollout = Rollout(
            inputs=inputs,
            action=found["action"],
            log_prob=log_prob,
            mask=found["valid"],
            reward=found["reward"],
            terminated=found["terminated"],
            truncated=found["truncated"],
            group=torch.arange(rows, device=device).expand(seeds, rows),
            status=torch.full((seeds, rows), int(Status.OK), device=device),
            version=version,
            extras={"next_observation": actor.normalized(found["next_observation"])},
        )
        if actor.normalizer is not None:
            actor.normalizer.update(*fresh)
        return rollout

    def score(self, rollout: Rollout) -> Rollout:
        """Environments give their rewards as they step: nothing is left to do."""
        return rollout

    def _scaled(self, chunk: Chunk) -> Tensor:
        discounted = torch.zeros_like(chunk.reward)
        for t in range(len(discounted)):
            self._discounted = self._discounted * self.plan.gamma + chunk.reward[t]
            discounted[t] = self._discounted
            self._discounted = self._discounted * ~(chunk.terminated[t] | chunk.truncated[t])
        self._reward_scale.update(discounted.permute(1, 0, 2).unsqueeze(-1), chunk.valid.permute(1, 0, 2))
        return self._reward_scale.scale(chunk.reward.permute(1, 0, 2).unsqueeze(-1)).squeeze(-1).permute(1, 0, 2)

    def _count_episodes(self, chunk: Chunk) -> None:
        self.episodes = [[] for _ in range(len(self.streams.seeds))]
        reward, valid, success = chunk.reward.numpy(), chunk.valid.numpy(), chunk.success.numpy()
        self._told = self._told or not np.isnan(success).all()
        success = np.nan_to_num(success) if self._told else success
        done = (chunk.terminated | chunk.truncated).numpy()
        total = np.cumsum(reward, axis=0, dtype=np.float64)
        steps = np.cumsum(valid, axis=0)
        before = np.zeros_like(self._return)
        counted = np.zeros_like(self._length)
        for t, seed, row in zip(*np.nonzero(done), strict=True):
            value = self._return[seed, row] + total[t, seed, row] - before[seed, row]
            length = self._length[seed, row] + steps[t, seed, row] - counted[seed, row]
            self.episodes[seed].append((float(value), int(length), float(success[t, seed, row])))
            before[seed, row], counted[seed, row] = total[t, seed, row], steps[t, seed, row]
            self._return[seed, row], self._length[seed, row] = 0.0, 0
        self._return += total[-1] - before
        self._length += steps[-1] - counted

    def assign(self, levels: np.ndarray) -> None:
        self._levelled().assign(levels)

    def outcomes(self) -> Outcomes:
        return self._levelled().outcomes()

    def _levelled(self) -> LevelledEnvironments:
        if not isinstance(self._environments, LevelledEnvironments):
            raise BadInput("levels are assigned to environments that have some, and are stepped in the process that trains: leave the workers out")
        return self._environments

    def learned(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return {} if state["reward_scale"] is None else {"reward_scale": state["reward_scale"]}

    def begin_from(self, learned: Mapping[str, Any]) -> None:
        if self._reward_scale is not None and "reward_scale" in learned:
            self._reward_scale.load_state_dict(learned["reward_scale"])

    def state_dict(self) -> dict:
        environments = self._environments.state_dict()
        observation, carry, waiting = self._observation, self._carry, self._waiting
        if self._beside and observation is not None:  # theirs, behind all that they have collected
            observation, carry = self._environments.observation, self._environments.carry
            waiting = [*waiting, *self._environments.settle()]
        return {
            "environments": environments,
            "observation": observation,
            "carry": carry,
            "waiting": [{"version": version} | {name: getattr(chunk, name).clone() for name in Chunk.NAMES} for chunk, version in waiting],
            "reward_scale": None if self._reward_scale is None else dict(self._reward_scale.state_dict()),
            "discounted": self._discounted,
            "return": self._return,
            "length": self._length,
            "told": self._told,
            "kept": self._kept,
        }

    def load_state_dict(self, state: dict) -> None:
        self._observation, self._carry, self._told = state["observation"], state["carry"], state.get("told", False)
        waiting = state.get("waiting", [])
        if waiting and not self._beside:
            raise BadInput("this run's workers collect ahead of what is learned from: go on with --sample-workers 1 or more")
        if self._beside:
            self._environments.load_state_dict(state["environments"], self._carry)
        else:
            self._environments.load_state_dict(state["environments"])
        if self.resume != "bitwise":
            self._observation = self._carry = None
            waiting = []
            self._discounted, self._return, self._length = torch.zeros_like(self._discounted), self._return * 0, self._length * 0
        else:
            self._discounted, self._return, self._length = state["discounted"], state["return"], state["length"]
        self._waiting = [(Chunk.of(chunk), chunk["version"]) for chunk in waiting]
        self._kept = [{name: value.to(self.streams.device) for name, value in batch.items()} for batch in state.get("kept", [])]
        if self._reward_scale is not None:
            self._reward_scale.load_state_dict(state["reward_scale"])

    def close(self) -> None:
        self._environments.close()

    def metrics(self, rollout: Rollout) -> dict[str, Tensor]:
        """Mean return and length of the episodes that ended in the rollout, and how many succeeded, `[S]` each; NaN for a seed where none did."""
        return episode_means(self.episodes)


def episode_means(episodes: list[list[Ended]]) -> dict[str, Tensor]:
    """Mean return and length of each seed's episodes, and the share that succeeded, as metrics; no share where nothing was said of any of them. Those of which
    nothing was said, where others were spoken of, have not succeeded."""
    if not any(episodes):
        return {}
    columns = [torch.tensor(found or [(torch.nan,) * 3], dtype=torch.float64) for found in episodes]
    if not torch.cat(columns)[:, 2].isnan().all():
        for x, found in zip(columns, episodes, strict=True):
            x[:, 2].nan_to_num_(0.0 if found else torch.nan)
    means = torch.stack([x.mean(0) for x in columns])
    found = {"episode/return": means[:, 0], "episode/length": means[:, 1], "episode/success": means[:, 2]}
    return found if not means[:, 2].isnan().all() else {name: found[name] for name in ("episode/return", "episode/length")}
