"""TD3's settings and the phases that they configure, for the methods that train deterministic actors by it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from operant.core.registry import Count, NonNegative, Positive, Share
from operant.loops.value_learning import Optim, Phase, Update


@dataclass(frozen=True)
class TwinDelayedSettings:
    learning_rate: Positive = 3e-4  # Adam's, for actor and critics
    gamma: Share = 0.99  # discount a step
    tau: Share = 0.005  # share that enters the target networks when the actor is updated
    batch_size: Count = 256  # transitions an update
    policy_delay: Count = 2  # updates of the critics for one of the actor
    target_noise: NonNegative = 0.2  # deviation of the noise on the target's action
    noise_clip: NonNegative = 0.5  # largest noise on the target's action


def twin_delayed_phases(h: TwinDelayedSettings) -> list[Phase]:
    """The phases of the nets "q", two critics, and "actor" (Fujimoto et al. 2018, arXiv:1802.09477, algorithm 1), as `methods/online/td3.py` describes them."""

    def critic_losses(u: Update):
        batch, target = u.batch, u.target("actor")
        with torch.no_grad():
            action = target.distribution.mode(target(batch.next_observation))
            noise = (h.target_noise * u.noise("target_action")).clamp(-h.noise_clip, h.noise_clip)
            y = u.bellman(u.target("q")(batch.next_observation, (action + noise).clamp(-1, 1)).amin(1), gamma=h.gamma)
        q = u.net("q")(batch.observation, batch.action)
        return {"critic": (q - y.unsqueeze(1)).square().sum(1)}

    def actor_losses(u: Update):
        actor = u.net("actor")
        action = actor.distribution.mode(actor(u.batch.observation))
        return {"actor": -u.frozen("q")(u.batch.observation, action)[:, 0]}

    return [
        Phase(critic_losses, trains=("q",), optim=Optim(h.learning_rate)),
        Phase(actor_losses, trains=("actor",), every=h.policy_delay, optim=Optim(h.learning_rate)),
    ]
