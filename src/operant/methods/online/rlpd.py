"""RLPD: off-policy learning that begins with data, half of every batch drawn from them and half from replay, with many critics updates a step.

Paper: Ball et al. 2023, arXiv:2302.02948, algorithm 1: symmetric sampling (section 4.1), layer-normed critics (4.2), an ensemble of critics of which the
target's minimum takes a few (4.3, after REDQ, arXiv:2101.05982), on SAC (arXiv:1812.05905).
As in the authors' code: the actor and the temperature are updated once for the critics' updates of a step, on the last of their batches and the mean of all
critics; the target entropy is minus half the number of action dimensions; the first steps act at random, into replay; truncation bootstraps.
Departures: the layer norm has no learned scale and shift; critics' losses are summed, theirs averaged; the temperature's loss is in log alpha, as SAC's authors
have it, theirs in alpha. Theirs are 20 updates of the critics a step and 5,000 random steps; on sparse rewards they have no entropy in the target, and in mazes
one critic.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from operant import ops
from operant.core.registry import Count, Positive, Share, Widths, method
from operant.loops.draw import Mixed, Uniform
from operant.loops.soft import soft_sample
from operant.loops.value_learning import Optim, Phase, Polyak, Update, ValueLearning
from operant.nets.actors import ActorNet, CriticNet
from operant.worlds.gym.experience import Online


@dataclass(frozen=True)
class RLPD:
    learning_rate: Positive = 3e-4  # Adam's, for actor, critics and temperature
    gamma: Share = 0.99  # discount a step
    tau: Share = 0.005  # share of the critics that enters the target networks at each of their updates
    batch_size: Count = 256  # transitions an update, half of them from the data (rounded up)
    critics: Count = 10  # of the ensemble
    target_critics: Count = 2  # drawn from the ensemble for each target, which takes the smallest of them
    critic_updates: Count = 10  # of the critics, for each environment step and each update of the actor
    entropy_backup: bool = True  # the target counts the entropy of what follows, as SAC's does
    learning_starts: Count = 1_000  # steps with random actions before the first update
    capacity: Count = 1_000_000  # transitions kept in replay
    environments: Count = 1  # copies of the environment a seed
    target_entropy: float | None = None  # nats; None for minus half the number of action dimensions
    initial_alpha: Positive = 1.0  # temperature at the start
    hidden: Widths = (256, 256)  # widths of actor and critics


@method("rlpd", name="RLPD", family="online", paper="arXiv:2302.02948", worlds=("data",), actions=("continuous",))
def rlpd(h: RLPD) -> ValueLearning:
    def critic_losses(u: Update):
        batch, alpha = u.batch, u.scalar("log_alpha").detach().exp() * h.entropy_backup
        with torch.no_grad():
            action, log_prob = soft_sample(u, batch.next_observation, "next_action")
            every = u.target("q")(batch.next_observation, action)
            chosen = u.streams.permutations("target_critics", h.critics)[:, : h.target_critics]
            few = every.gather(1, chosen.unsqueeze(-1).expand(-1, -1, every.shape[-1]))
            y = u.bellman(ops.soft_value(few, log_prob, alpha, dim=1), gamma=h.gamma)
        return {"critic": (u.net("q")(batch.observation, batch.action) - y.unsqueeze(1)).square().sum(1)}

    def actor_losses(u: Update):
        action, log_prob = soft_sample(u, u.batch.observation, "policy_action")
        alpha = u.scalar("log_alpha").detach().exp()
        target_entropy = -action.shape[-1] / 2 if h.target_entropy is None else h.target_entropy
        return {
            "actor": alpha * log_prob - u.frozen("q")(u.batch.observation, action).mean(1),
            "temperature": ops.temperature_loss(u.scalar("log_alpha"), log_prob.detach(), target_entropy),
        }

    half = h.batch_size // 2
    return ValueLearning(
        nets={"actor": ActorNet(hidden=h.hidden, squash=True), "q": CriticNet(hidden=h.hidden, ensemble=h.critics, layer_norm=True)},
        scalars={"log_alpha": torch.tensor(h.initial_alpha).log().item()},
        phases=[
            Phase(critic_losses, trains=("q",), optim=Optim(h.learning_rate)),
            Phase(actor_losses, trains=("actor", "scalars"), every=h.critic_updates, optim=Optim(h.learning_rate)),
        ],
        draw=Mixed((Uniform(max(1, half), store="replay"), Uniform(h.batch_size - half, store="data"))),
        track={"q": Polyak(h.tau)},
        online=Online(h.environments, h.learning_starts, float(h.critic_updates), h.capacity),
        data=True,
    )
