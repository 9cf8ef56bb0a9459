"""SAC (2018): off-policy actor-critic that maximises return and entropy, with the temperature tuned to a target entropy.

Paper: Haarnoja et al. 2018, arXiv:1812.05905: soft target eq. 2 and 3 with twin critics (section 6), policy loss eq. 7, temperature eq. 18.
Departures: log alpha is optimised rather than alpha, as in the authors' code; actor, critics and temperature take one joint step on the weights before the
update
(the authors' code too computes every gradient first). The critic's loss is the mean squared error of each head, summed over the heads. Truncation bootstraps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from operant import ops
from operant.core.registry import Count, Positive, Range, Share, Widths, method
from operant.loops.value_learning import Step, ValueLearning
from operant.nets.actors import ActorNet, CriticNet
from operant.worlds.gym.replay import Online


@dataclass(frozen=True)
class SACv2:
    learning_rate: Positive = 3e-4  # Adam's, for actor, critics and temperature
    gamma: Share = 0.99  # discount a step
    tau: Share = 0.005  # share of the critics that enters the target networks at each update
    batch_size: Count = 256  # transitions an update
    learning_starts: Count = 1_000  # steps with random actions before the first update
    updates_per_step: Annotated[float, Range(0, 10_000, open_low=True)] = 1.0  # gradient updates for each environment step
    capacity: Count = 1_000_000  # transitions kept in replay
    environments: Count = 1  # copies of the environment a seed
    target_entropy: float | None = None  # nats; None for minus the number of action dimensions
    initial_alpha: Positive = 1.0  # temperature at the start
    hidden: Widths = (256, 256)  # widths of actor and critics


@method("sac-v2", name="SAC (auto-temperature)", family="online", paper="arXiv:1812.05905", worlds=("gym",), actions=("continuous",))
def sac_v2(h: SACv2) -> ValueLearning:
    def sample(step: Step, observation, noise: str):
        return step.actor.distribution.sample_with_log_prob(step.actor(observation), step.noise(noise))

    def alpha(step: Step):
        return step.scalar("log_alpha").detach().exp()

    def target(step: Step):
        batch = step.batch
        action, log_prob = sample(step, batch.next_observation, "next_action")
        value = ops.soft_value(step.target("q")(batch.next_observation, action), log_prob, alpha(step), dim=1)
        return ops.td_target(batch.reward, value, batch.terminated, gamma=h.gamma)

    def critic_loss(step: Step, y):
        q = step.critic("q")(step.batch.observation, step.batch.action)
        return {"critic": (q - y.unsqueeze(1)).square().sum(1)}

    def extract(step: Step):
        action, log_prob = sample(step, step.batch.observation, "policy_action")
        actor_loss = -ops.soft_value(step.frozen("q")(step.batch.observation, action), log_prob, alpha(step), dim=1)
        target_entropy = -float(action.shape[-1]) if h.target_entropy is None else h.target_entropy
        return {"actor": actor_loss, "temperature": ops.temperature_loss(step.scalar("log_alpha"), log_prob.detach(), target_entropy)}

    return ValueLearning(
        policy=ActorNet(hidden=h.hidden, squash=True),
        critics={"q": CriticNet(hidden=h.hidden)},
        scalars={"log_alpha": torch.tensor(h.initial_alpha).log().item()},
        target=target,
        critic_loss=critic_loss,
        extract=extract,
        batch_size=h.batch_size,
        learning_rate=h.learning_rate,
        tracking=h.tau,
        online=Online(h.environments, h.learning_starts, h.updates_per_step, h.capacity),
    )
