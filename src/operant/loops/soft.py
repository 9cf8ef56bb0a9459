"""What methods of maximum entropy share: the settings, losses and phases of SAC (2018), arXiv:1812.05905, and of ensembles of critics on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from operant import ops
from operant.core.registry import BatchSize, Count, Discount, LearningRate, Positive, Range, TargetShare
from operant.loops.settings import ReplaySettings
from operant.loops.value_learning import SCALARS, Optim, Phase, Update


@dataclass(frozen=True)
class TemperatureSettings:
    learning_rate: LearningRate = 3e-4  # Adam's, for actor, critics and temperature
    gamma: Discount = 0.99  # discount a step
    batch_size: BatchSize = 256  # transitions an update
    initial_alpha: Positive = 1.0  # temperature at the start
    alpha: Annotated[float | None, Range(0, open_low=True)] = None  # a temperature that stays as it is; none to tune it

    @property
    def scalars(self) -> dict[str, float]:
        """The scalar that the losses below ask for, learned unless `alpha` says it."""
        return {"log_alpha": torch.tensor(self.initial_alpha if self.alpha is None else self.alpha).log().item()}

    def tempered(self, *phases: Phase) -> list[Phase]:
        """Phases of which one tunes the temperature by a loss "temperature": without that where `alpha` says it, and without what trains nothing else."""
        if self.alpha is None:
            return list(phases)
        trained = [(phase, tuple(name for name in phase.trains if name != SCALARS)) for phase in phases]
        return [replace(phase, losses=partial(_untempered, phase.losses), trains=names) for phase, names in trained if names]


@dataclass(frozen=True)
class SoftSettings(TemperatureSettings):
    tau: TargetShare = 0.005  # share of the critics that enters the target networks at each of their updates
    target_entropy: float | None = None  # nats; None for minus the number of action dimensions


def _untempered(losses: Callable[[Update], dict[str, Tensor]], u: Update) -> dict[str, Tensor]:
    return {name: loss for name, loss in losses(u).items() if name != "temperature"}


def soft_sample(u: Update, observation: Tensor, noise: str) -> tuple[Tensor, Tensor]:
    """(an action of the net "actor" `[S, B, A]`, its log-probability `[S, B]`), differentiable. `noise` names the draws."""
    actor = u.net("actor")
    return actor.distribution.sample_with_log_prob(actor(observation), u.noise(noise))


def alpha(u: Update) -> Tensor:
    """The temperature, `[S, 1]`, without gradient."""
    return u.scalar("log_alpha").detach().exp()


def soft_critic_losses(u: Update, *, gamma: float, few: int | None = None, entropy_backup: bool = True) -> dict[str, Tensor]:
    """The loss of the critics "q", the sum of their squared errors (eq. 5 there).

    Args:
        few: target critics that are drawn anew for each update, of which the target takes the least (REDQ, arXiv:2101.05982); None for all.
        entropy_backup: the target counts the entropy of what follows.
    """
    batch = u.batch
    with torch.no_grad():
        action, log_prob = soft_sample(u, batch.next_observation, "next_action")
        following = u.target("q")(batch.next_observation, action)
        if few is not None and few < following.shape[1]:
            chosen = u.streams.permutations("target_critics", following.shape[1])[:, :few]
            following = following.gather(1, chosen.unsqueeze(-1).expand(-1, -1, following.shape[-1]))
        y = u.bellman(ops.soft_value(following, log_prob, alpha(u) * entropy_backup, dim=1), gamma=gamma)
    return {"critic": (u.net("q")(batch.observation, batch.action) - y.unsqueeze(1)).square().sum(1)}


def policy_loss(u: Update, action: Tensor, log_prob: Tensor, *, mean: bool = False) -> Tensor:
    """The loss of the net "actor" at actions that it drew (eq. 7 there).

    Args:
        mean: it climbs the mean of the critics, and not the least of them.
    """
    q = u.frozen("q")(u.batch.observation, action)
    return alpha(u) * log_prob - q.mean(1) if mean else -ops.soft_value(q, log_prob, alpha(u), dim=1)


def entropy_loss(u: Update, action: Tensor, log_prob: Tensor, *, target_entropy: float | None, per_dimension: float = -1.0) -> Tensor:
    """The loss of the scalar "log_alpha" (eq. 18 there).

    Args:
        target_entropy: nats; None for `per_dimension` times the number of action dimensions.
    """
    wanted = per_dimension * action.shape[-1] if target_entropy is None else target_entropy
    return ops.temperature_loss(u.scalar("log_alpha"), log_prob.detach(), wanted)


def soft_actor_losses(u: Update, *, target_entropy: float | None, per_dimension: float = -1.0, mean: bool = False) -> dict[str, Tensor]:
    """Losses of "actor" and "log_alpha" of the same actions; see `policy_loss` and `entropy_loss`."""
    action, log_prob = soft_sample(u, u.batch.observation, "policy_action")
    temperature = entropy_loss(u, action, log_prob, target_entropy=target_entropy, per_dimension=per_dimension)
    return {"actor": policy_loss(u, action, log_prob, mean=mean), "temperature": temperature}


def soft_losses(u: Update, *, gamma: float, target_entropy: float | None) -> dict[str, Tensor]:
    """All losses of SAC, on the same weights."""
    return soft_critic_losses(u, gamma=gamma) | soft_actor_losses(u, target_entropy=target_entropy)


@dataclass(frozen=True)
class EnsembleSettings(ReplaySettings, SoftSettings):
    critics: Count = 10  # of the ensemble
    target_critics: Count = 2  # drawn from the ensemble for each target, which takes the smallest of them
    critic_updates: Count = 20  # of the critics, for each environment step and each update of the actor

    def __post_init__(self):
        if self.target_critics > self.critics:
            raise ValueError(f"target_critics is {self.target_critics}, of {self.critics} critics: at most as many")


def ensemble_phases(h: EnsembleSettings, *, per_dimension: float = -1.0, entropy_backup: bool = True) -> list[Phase]:
    """The phases of an ensemble of critics "q" that is updated often, and of "actor" and temperature, updated once for it on the last batch and the mean of all
    critics (REDQ, arXiv:2101.05982)."""

    def critic_losses(u: Update):
        return soft_critic_losses(u, gamma=h.gamma, few=h.target_critics, entropy_backup=entropy_backup)

    def actor_losses(u: Update):
        return soft_actor_losses(u, target_entropy=h.target_entropy, per_dimension=per_dimension, mean=True)

    return h.tempered(
        Phase(critic_losses, trains=("q",), optim=Optim(h.learning_rate)),
        Phase(actor_losses, trains=("actor", "scalars"), every=h.critic_updates, optim=Optim(h.learning_rate)),
    )
