"""TD3: a deterministic actor-critic that trusts the smaller of two critics, smooths what they say of the target's action, and updates the actor less often.

Paper: Fujimoto et al. 2018, arXiv:1802.09477, algorithm 1 (clipped double Q-learning eq. 10, target policy smoothing eq. 14).
As in the authors' code: actions, and the noise on them, are in units of half the range of the action space; the actor's phase follows the critics' in the same
update and sees them as they are then; target networks follow at the actor's updates; truncation bootstraps. Batches, widths and the learning rate are those of
the code (the paper's: 100, (400, 300), 1e-3); the random steps at first are fewer (the paper 10,000 or 1,000, the code 25,000).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from operant.core.registry import Count, NonNegative, Positive, Range, Share, Widths, method
from operant.loops.behaviour import Noisy
from operant.loops.draw import Uniform
from operant.loops.value_learning import Optim, Phase, Polyak, Update, ValueLearning
from operant.nets.actors import ActorNet, CriticNet
from operant.worlds.gym.experience import Online


@dataclass(frozen=True)
class TD3:
    learning_rate: Positive = 3e-4  # Adam's, for actor and critics
    gamma: Share = 0.99  # discount a step
    tau: Share = 0.005  # share that enters the target networks when the actor is updated
    batch_size: Count = 256  # transitions an update
    policy_delay: Count = 2  # updates of the critics for one of the actor
    exploration_noise: NonNegative = 0.1  # deviation of the noise on actions in the environment
    target_noise: NonNegative = 0.2  # deviation of the noise on the target's action
    noise_clip: NonNegative = 0.5  # largest noise on the target's action
    learning_starts: Count = 1_000  # steps with random actions before the first update
    updates_per_step: Annotated[float, Range(0, 10_000, open_low=True)] = 1.0  # gradient updates for each environment step
    capacity: Count = 1_000_000  # transitions kept in replay
    environments: Count = 1  # copies of the environment a seed
    hidden: Widths = (256, 256)  # widths of actor and critics


@method("td3", name="TD3", family="online", paper="arXiv:1802.09477", worlds=("gym",), actions=("continuous",))
def td3(h: TD3) -> ValueLearning:
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

    return ValueLearning(
        nets={"actor": ActorNet(hidden=h.hidden, deterministic=True), "q": CriticNet(hidden=h.hidden)},
        phases=[
            Phase(critic_losses, trains=("q",), optim=Optim(h.learning_rate)),
            Phase(actor_losses, trains=("actor",), every=h.policy_delay, optim=Optim(h.learning_rate)),
        ],
        acts=Noisy("actor", h.exploration_noise),
        draw=Uniform(h.batch_size),
        track={name: Polyak(h.tau, every=h.policy_delay) for name in ("actor", "q")},
        online=Online(h.environments, h.learning_starts, h.updates_per_step, h.capacity),
    )
