"""CrossQ: SAC without target networks. Batch normalisation in wide critics, which see what was done and what would follow in one pass, takes their place.

Paper: Bhatt et al. 2024, arXiv:1902.05605. The critics' input and each hidden layer behind its relu are batch-normalised, the actor's too; (s, a) and (s', a')
are halves of one batch, so that both are normalised alike, and the second half is the target without gradient. The actor climbs the least critic, which then
goes by running statistics, as the actor does where it only acts.
As in the authors' code (adityab/CrossQ): batch renormalisation once 100,000 batches were counted, Adam with a first beta of 0.5 for actor and critics, an
actor that is updated at each third update of the critics. Truncation bootstraps.
Departures: critics have two layers of 1024, as in Stable-Baselines3's port, where the paper has 2048; theirs are 5,000 random steps; the temperature's loss is
in log alpha, theirs in alpha, and its first beta is the actor's, with whose loss it takes a step, theirs 0.9; plain layers
begin as PyTorch's, uniform in ±1/√in, theirs as Flax's, normal of variance 1 / in, cut at two deviations, with biases of 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from operant import ops
from operant.core.registry import Count, LearningRate, Share, Widths, method
from operant.loops.settings import OnlineSettings
from operant.loops.soft import TemperatureSettings, alpha, soft_actor_losses, soft_sample
from operant.loops.value_learning import Optim, Phase, Update, ValueLearning
from operant.nets.actors import ActorNet, CriticNet


@dataclass(frozen=True)
class CrossQ(OnlineSettings, TemperatureSettings):
    learning_rate: LearningRate = 1e-3  # Adam's, for actor, critics and temperature
    momentum: Share = 0.5  # Adam's first beta, of all three
    policy_delay: Count = 3  # updates of the critics for one of the actor
    target_entropy: float | None = None  # nats; None for minus the number of action dimensions
    hidden: Widths = (256, 256)  # widths of the actor
    critic_hidden: Widths = (1024, 1024)  # widths of the critics


@method("crossq", name="CrossQ", family="online", paper="arXiv:1902.05605", worlds=("gym",), actions=("continuous",))
def crossq(h: CrossQ) -> ValueLearning:
    def critic_losses(u: Update):
        batch = u.batch
        with torch.no_grad():
            action, log_prob = soft_sample(u, batch.next_observation, "next_action")
        both = torch.cat([batch.observation, batch.next_observation], 1), torch.cat([batch.action, action], 1)
        q, following = u.net("q")(*both).chunk(2, -1)
        y = u.bellman(ops.soft_value(following.detach(), log_prob, alpha(u), dim=1), gamma=h.gamma)
        return {"critic": (q - y.unsqueeze(1)).square().sum(1)}

    def actor_losses(u: Update):
        return soft_actor_losses(u, target_entropy=h.target_entropy)

    optim = Optim(h.learning_rate, betas=(h.momentum, 0.999))
    return ValueLearning(
        nets={
            "actor": ActorNet(hidden=h.hidden, squash=True, batch_norm=True, normalize=h.normalize_observation),
            "q": CriticNet(hidden=h.critic_hidden, batch_norm=True),
        },
        scalars=h.scalars,
        phases=h.tempered(
            Phase(critic_losses, trains=("q",), optim=optim),
            Phase(actor_losses, trains=("actor", "scalars"), every=h.policy_delay, optim=optim),
        ),
        **h.replay(h.batch_size, h.gamma, h.updates_per_step),
    )
