"""The value-learning loop: draw → relabel → target → critic loss → policy extraction → track. For off-policy and offline methods alike."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from operant.core.errors import RunFailed
from operant.core.flat import Adam, FlatParameters, shared_view
from operant.core.random import Streams
from operant.loops.learner import Learner, Spine, check_batch, check_finite
from operant.nets.actors import Actor, ActorNet, Critic, CriticNet
from operant.worlds.base import World
from operant.worlds.data.transitions import Batch, Transitions
from operant.worlds.gym.collect import episode_means


class Step:
    """What the steps of one update see.

    Attributes:
        batch: the drawn (and relabelled) transitions.
        actor: the actor module; `actor(observation)` gives distribution parameters, `actor.distribution` what they mean.
    """

    def __init__(self, learner: ValueLearner, batch: Batch):
        self._learner = learner
        self.batch = batch
        self.actor = learner.actor

    def critic(self, name: str) -> Critic:
        """The critic that is trained: `[S, B, …] → [S, E, B]`."""
        return self._learner.critics[name]

    def frozen(self, name: str) -> Critic:
        """The same weights without gradients to them: gradients reach the inputs alone."""
        return self._learner.frozen[name]

    def target(self, name: str) -> Critic:
        """The target network."""
        return self._learner.targets[name]

    def scalar(self, name: str) -> Tensor:
        """A learned scalar, `[S, 1]`."""
        return self._learner.scalars[name]

    def noise(self, name: str) -> Tensor:
        """Draws for one action of each transition."""
        return self.actor.distribution.noise(self._learner.streams, name, self.batch.reward.shape[1])


@dataclass(frozen=True)
class ValueLearning(Spine):
    """A configured value-learning loop: the named steps of one method.

    Attributes:
        policy: how the actor is built.
        critics: critics by name.
        target: `(step) → y [S, B]`, computed without gradients.
        critic_loss: `(step, y) → {name: loss [S, B]}`.
        extract: `(step) → {name: loss [S, B]}`, the policy's losses; they must reach critics through `step.frozen` or without gradients.
        relabel: `(batch) → batch`, in order.
        scalars: learned scalars by name, with their initial values.
        tracking: share of the critics that enters the target networks at each update (Polyak).
        online: how experience enters replay; None where the world is a data set.
        updates_per_iteration: updates (offline) or environment steps (online) between two looks at the metrics.
    """

    policy: ActorNet
    critics: dict[str, CriticNet]
    target: Callable[[Step], Tensor]
    critic_loss: Callable[[Step, Tensor], dict[str, Tensor]]
    extract: Callable[[Step], dict[str, Tensor]]
    relabel: Sequence[Callable[[Batch], Batch]] = ()
    scalars: dict[str, float] = field(default_factory=dict)
    batch_size: int = 256
    learning_rate: float = 3e-4
    tracking: float = 0.005
    online: Any = None
    updates_per_iteration: int = 100

    def check(self, world: World, seeds: Sequence[int], steps: int, episodes: int | None) -> None:
        if self.online is None:
            world.check_transitions()
        else:
            world.check_replay(self.online, len(seeds), steps)
        check_batch(world, len(seeds), self.batch_size, self.policy)
        super().check(world, seeds, steps, episodes)

    def learner(self, world: World, seeds: Sequence[int], total_steps: int, device: torch.device) -> ValueLearner:
        return ValueLearner(self, world, list(seeds), total_steps, device)


class ValueLearner(Learner):
    """The loop at work. A step is one update on a data set, one environment step online."""

    def __init__(self, method: ValueLearning, world: World, seeds: list[int], total_steps: int, device: torch.device):
        self.method, self.world, self.seeds, self.total_steps = method, world, seeds, total_steps
        self.step = 0
        self.streams = Streams(seeds, device)
        self.actor: Actor = world.policy(method.policy, self.streams).to(device)
        self.policy = self.actor
        self.critics = nn.ModuleDict({name: net.build(world.observation, world.action, self.streams, name) for name, net in method.critics.items()}).to(device)
        self.scalars = nn.ParameterDict({name: torch.full((len(seeds), 1), value, device=device) for name, value in method.scalars.items()})
        self._actor_flat = FlatParameters(nn.ModuleList([self.actor, self.scalars]), seeds=len(seeds))
        self._critic_flat = FlatParameters(self.critics, seeds=len(seeds))
        self.frozen = shared_view(self.critics, copy.deepcopy(self.critics))
        self.targets = copy.deepcopy(self.critics)
        self._target_flat = FlatParameters(self.targets, seeds=len(seeds))
        self.targets.requires_grad_(False)
        self.optimizer = Adam([self._actor_flat, self._critic_flat], learning_rate=method.learning_rate)
        self.collector = None
        if method.online is not None:
            self.collector = world.replay(method.online, self.actor, self.streams, total_steps)
            self.transitions: Transitions = self.collector.replay
            self.resume = self.collector.resume
            self._owed = 0.0
        else:
            self.transitions = world.transitions(self.actor, device)

    def iterate(self) -> dict[str, Tensor]:
        method = self.method
        values, norms, indices, names = [], [], [], []
        if self.collector is not None:
            self.collector.episodes = [[] for _ in self.seeds]
        remaining = min(method.updates_per_iteration, self.total_steps - self.step)
        while remaining > 0:
            updates = 1
            if self.collector is not None:
                plan = method.online
                self.collector.step(self.actor, explore=self.step < plan.learning_starts)
                self.step += plan.environments
                remaining -= plan.environments
                updates = 0
                if self.step > plan.learning_starts:
                    self._owed += plan.updates_per_step * plan.environments
                    updates = int(self._owed)
                    self._owed -= updates
            else:
                self.step += 1
                remaining -= 1
            for _ in range(updates):
                names, losses, norm, index = self.update()
                values.append(losses)
                norms.append(norm)
                indices.append(index)
        metrics = {}
        if values:
            stacked = torch.stack(values).cpu()
            check_finite(self, names, stacked, torch.stack(norms).cpu(), lambda update: self.transitions.gather(indices[update]).tensors())
            metrics = {f"loss/{name}": stacked[:, place].mean(0) for place, name in enumerate(names)}
        metrics |= {name: value.detach().squeeze(-1).cpu().clone() for name, value in self.scalars.items()}
        if self.collector is not None:
            metrics |= episode_means(self.collector.episodes)
        return metrics

    def draw(self) -> Batch:
        """Transitions of one update, drawn uniformly and relabelled."""
        index = (self.streams.uniform("draw", self.method.batch_size) * self.transitions.size).long().clamp_(max=self.transitions.size - 1)
        batch = self.transitions.gather(index)
        for relabel in self.method.relabel:
            batch = relabel(batch)
        return batch

    def update(self) -> tuple[list[str], Tensor, Tensor, Tensor]:
        """One gradient step of everything: one summed loss, one backward pass, one optimiser step. No host read happens here.

        Returns:
            (names of the terms, their losses `[terms, S]`, the gradient's norm `[S]`, the drawn transitions).
        """
        batch = self.draw()
        step = Step(self, batch)
        with torch.no_grad():
            target = self.method.target(step)
        self._actor_flat.zero_grad()
        self._critic_flat.zero_grad()
        losses = self.method.critic_loss(step, target) | self.method.extract(step)
        for name, loss in losses.items():
            if loss.shape != batch.reward.shape:
                wanted = list(batch.reward.shape)
                raise RunFailed(f"loss {name!r} has shape {list(loss.shape)}; a method gives one number a seed and transition, {wanted}, and reduces nothing")
        means = torch.stack([loss.mean(-1) for loss in losses.values()])  # [terms, S]
        means.sum().backward()
        norms = torch.stack([flat.grad_norm() for flat in (self._actor_flat, self._critic_flat)]).norm(dim=0)
        self.optimizer.step(norms)
        with torch.no_grad():
            self._target_flat.data.lerp_(self._critic_flat.data, self.method.tracking)
        return list(losses), means.detach(), norms, batch.index

    def state_dict(self) -> dict[str, Any]:
        state = {
            "step": self.step,
            "streams": self.streams.state_dict(),
            "actor": dict(self.actor.state_dict()),
            "scalars": dict(self.scalars.state_dict()),
            "critics": dict(self.critics.state_dict()),
            "targets": dict(self.targets.state_dict()),
            "optimizer": self.optimizer.state_dict(),
        }
        if self.collector is not None:
            state |= {"collector": self.collector.state_dict(), "owed": self._owed}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.streams.load_state_dict(state["streams"])
        for name in ("actor", "scalars", "critics", "targets"):
            getattr(self, name).load_state_dict(state[name])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.collector is not None:
            self.collector.load_state_dict(state["collector"])
            self._owed = state["owed"]

    def close(self) -> None:
        if self.collector is not None:
            self.collector.close()
