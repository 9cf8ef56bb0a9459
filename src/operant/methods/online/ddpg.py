"""DDPG: a deterministic actor climbs its critic, both learned from replay towards target networks that follow slowly.

Paper: Lillicrap et al. 2015, arXiv:1509.02971, algorithm 1. It is TD3 without its three additions: one critic, no noise on the target's action, and an actor
that is updated as often as the critic.
Departures: noise on actions is Gaussian of deviation 0.1, as in the code of TD3's authors and in CleanRL; the paper's is an Ornstein-Uhlenbeck process (theta
0.15, sigma 0.2). As in CleanRL both networks have two layers of 256 and read the action with the observation, batches are of 256 transitions, Adam's rate is
3e-4 and target networks take in 0.005 (the paper's: layers of 400 and 300, batches of 64, rates of 1e-4 and 1e-3, a critic with a weight decay of 1e-2, 0.001,
last layers that begin within ±3e-3); the actor's phase follows the critic's in the same update and sees it as it is then. In CleanRL actor and target networks
are updated at every second of the critic's updates, here as in the paper at each; its random steps are 25,000. Truncation bootstraps.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant.core.registry import NonNegative, method
from operant.loops.behaviour import Noisy
from operant.loops.settings import LayerSettings, OnlineSettings
from operant.loops.twin_delayed import DeterministicSettings, actor_losses, smoothed_target
from operant.loops.value_learning import Optim, Phase, Polyak, Update, ValueLearning
from operant.nets.actors import ActorNet, CriticNet


@dataclass(frozen=True)
class DDPG(LayerSettings, OnlineSettings, DeterministicSettings):
    exploration_noise: NonNegative = 0.1  # deviation of the noise on actions in the environment


@method("ddpg", name="DDPG", family="online", paper="arXiv:1509.02971", worlds=("gym",), actions=("continuous",))
def ddpg(h: DDPG) -> ValueLearning:
    def critic_losses(u: Update):
        y = smoothed_target(u, gamma=h.gamma)
        return {"critic": (u.net("q")(u.batch.observation, u.batch.action).squeeze(1) - y).square()}

    return ValueLearning(
        nets={
            "actor": ActorNet(hidden=h.hidden, activation=h.activation, residual=h.residual, deterministic=True, normalize=h.normalize_observation),
            "q": CriticNet(hidden=h.hidden, activation=h.activation, ensemble=1, residual=h.residual, layer_norm=h.layer_norm),
        },
        phases=[
            Phase(critic_losses, trains=("q",), optim=Optim(h.learning_rate)),
            Phase(actor_losses, trains=("actor",), optim=Optim(h.learning_rate)),
        ],
        acts=Noisy("actor", h.exploration_noise),
        track={name: Polyak(h.tau) for name in ("actor", "q")},
        **h.replay(h.batch_size, h.gamma, h.updates_per_step),
    )
