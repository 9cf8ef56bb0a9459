"""What methods that train deterministic actors share: the settings and the phases of TD3, and of DDPG, which is TD3 without its additions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from operant.core.registry import BatchSize, Count, Discount, LearningRate, NonNegative, TargetShare
from operant.loops.value_learning import Optim, Phase, Update


@dataclass(frozen=True)
class DeterministicSettings:
    learning_rate: LearningRate = 3e-4  # Adam's, for actor and critics
    gamma: Discount = 0.99  # discount a step
    tau: TargetShare = 0.005  # share that enters the target networks when the actor is updated
    batch_size: BatchSize = 256  # transitions an update


@dataclass(frozen=True)
class TwinDelayedSettings(DeterministicSettings):
    policy_delay: Count = 2  # updates of the critics for one of the actor
    target_noise: NonNegative = 0.2  # deviation of the noise on the target's action
    noise_clip: NonNegative = 0.5  # largest noise on the target's action


def smoothed_target(u: Update, *, gamma: float, target_noise: float = 0.0, noise_clip: float = 0.0) -> Tensor:
    """What the critics "q" regress onto, `[S, B]`: the smallest target critic at the target actor's action with clipped noise on it (arXiv:1802.09477, eq. 10
    and 14)."""
    batch, target = u.batch, u.target("actor")
    with torch.no_grad():
        action = target.distribution.mode(target(batch.next_observation))
        if target_noise:
            action = (action + (target_noise * u.noise("target_action")).clamp(-noise_clip, noise_clip)).clamp(-1, 1)
        return u.bellman(u.target("q")(batch.next_observation, action).amin(1), gamma=gamma)


def actor_losses(u: Update) -> dict[str, Tensor]:
    """The net "actor" climbs the first critic of "q" (arXiv:1509.02971)."""
    actor = u.net("actor")
    action = actor.distribution.mode(actor(u.batch.observation))
    return {"actor": -u.frozen("q").member(0, u.batch.observation, action)}


def twin_delayed_phases(h: TwinDelayedSettings) -> list[Phase]:
    """The phases of the nets "q", two critics, and "actor" (Fujimoto et al. 2018, arXiv:1802.09477, algorithm 1), as `methods/online/td3.py` describes them."""

    def critic_losses(u: Update):
        y = smoothed_target(u, gamma=h.gamma, target_noise=h.target_noise, noise_clip=h.noise_clip)
        return {"critic": (u.net("q")(u.batch.observation, u.batch.action) - y.unsqueeze(1)).square().sum(1)}

    return [
        Phase(critic_losses, trains=("q",), optim=Optim(h.learning_rate)),
        Phase(actor_losses, trains=("actor",), every=h.policy_delay, optim=Optim(h.learning_rate)),
    ]
