"""MEX: TD3 whose critics also raise their values, so that estimating, planning and exploring are one objective.

Paper: Liu et al. 2023, arXiv:2305.18258. The paper's algorithm takes the hypothesis f that maximises V_f(s₁) − η · (its squared Bellman errors) over all that
was seen. The model-free version for deep networks (MEX-MF, agentification/MEX, MEX_MF/IO.py) is TD3 (arXiv:1802.09477) with another loss of its critics, in
which η weighs the value: the mean squared error of both minus η times the sum over both of a value. With the baseline that is Q(s, π(s)) − logsumexp of Q at
the action that was taken, at π(s') and at a uniformly random one, all at s, so that values do not rise everywhere; without it Q(s, a).
Baseline and η are the pair of the code's run_experiments.sh, on tasks with sparse rewards; its command line's own defaults are no baseline and an η of 0.001.
Departures: the code's second critic has the first one's Q(s, a) in its baseline, here it has its own; 1,000 random steps, there 25,000.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from operant.core.registry import NonNegative, method
from operant.loops.behaviour import Noisy
from operant.loops.settings import LayerSettings, OnlineSettings
from operant.loops.twin_delayed import TwinDelayedSettings, actor_losses, smoothed_target
from operant.loops.value_learning import Optim, Phase, Polyak, Update, ValueLearning
from operant.nets.actors import ActorNet, CriticNet


@dataclass(frozen=True)
class MEX(LayerSettings, OnlineSettings, TwinDelayedSettings):
    exploration_noise: NonNegative = 0.1  # deviation of the noise on actions in the environment
    eta: NonNegative = 0.005  # weight of the value in the critics' loss
    baseline: bool = True  # the value is that of the policy's action beside those of others, and not of the action that was taken


@method("mex", name="MEX", family="online", paper="arXiv:2305.18258", worlds=("gym",), actions=("continuous",))
def mex(h: MEX) -> ValueLearning:
    def optimism(u: Update, q: Tensor) -> Tensor:
        """What η weighs, of each critic `[S, E, B]`."""
        if not h.baseline:
            return q
        batch, actor = u.batch, u.net("actor")
        with torch.no_grad():
            here, there = (actor.distribution.mode(actor(seen)) for seen in (batch.observation, batch.next_observation))
        anywhere = actor.distribution.uniform(u.streams, "random_action", batch.reward.shape[1])
        at = u.net("q")(torch.cat([batch.observation] * 3, 1), torch.cat([here, there, anywhere], 1)).unflatten(2, (3, -1))
        return at[:, :, 0] - torch.stack([q, at[:, :, 1], at[:, :, 2]]).logsumexp(0)

    def critic_losses(u: Update):
        y = smoothed_target(u, gamma=h.gamma, target_noise=h.target_noise, noise_clip=h.noise_clip)
        q = u.net("q")(u.batch.observation, u.batch.action)
        return {"critic": (q - y.unsqueeze(1)).square().sum(1), "optimism": -h.eta * optimism(u, q).sum(1)}

    return ValueLearning(
        nets={
            "actor": ActorNet(hidden=h.hidden, activation=h.activation, residual=h.residual, deterministic=True, normalize=h.normalize_observation),
            "q": CriticNet(hidden=h.hidden, activation=h.activation, residual=h.residual, layer_norm=h.layer_norm),
        },
        phases=[
            Phase(critic_losses, trains=("q",), optim=Optim(h.learning_rate)),
            Phase(actor_losses, trains=("actor",), every=h.policy_delay, optim=Optim(h.learning_rate)),
        ],
        acts=Noisy("actor", h.exploration_noise),
        track={name: Polyak(h.tau, every=h.policy_delay) for name in ("actor", "q")},
        **h.replay(h.batch_size, h.gamma, h.updates_per_step),
    )
