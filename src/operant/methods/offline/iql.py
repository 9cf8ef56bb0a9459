"""IQL: offline learning that never asks for the value of an action outside the data: V is an upper expectile of Q over the data's actions.

Paper: Kostrikov et al. 2021, arXiv:2110.06169: expectile loss eq. 5, Q loss eq. 6, policy by advantage-weighted regression eq. 7.
Settled on: V, critics and actor take one joint step, each with the weights from before it (the authors update V first, and the others with the new V); V
regresses the minimum of the target critics, as in the authors' code; weights are clipped at 100 and taken with Q of the target network; the actor is a Gaussian
with a free standard deviation and a mean bounded by tanh, constant learning rate (the authors' cosine decay and dropout are left out).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from operant import ops
from operant.core.registry import Count, NonNegative, Positive, Range, Share, Widths, method
from operant.loops.value_learning import Step, ValueLearning
from operant.nets.actors import ActorNet, CriticNet


@dataclass(frozen=True)
class IQL:
    learning_rate: Positive = 3e-4  # Adam's, for actor and critics
    gamma: Share = 0.99  # discount a step
    expectile: Annotated[float, Range(0.5, 1, open_high=True)] = 0.9  # how far V leans to the best actions of the data
    beta: NonNegative = 3.0  # inverse temperature of the advantage weights
    max_weight: Positive = 100.0  # largest advantage weight
    tau: Share = 0.005  # share of the critics that enters the target networks at each update
    batch_size: Count = 256  # transitions an update
    hidden: Widths = (256, 256)  # widths of actor and critics


@method("iql", family="offline", paper="arXiv:2110.06169", worlds=("data",), actions=("continuous",))
def iql(h: IQL) -> ValueLearning:
    def target(step: Step):
        batch = step.batch
        return ops.td_target(batch.reward, step.critic("v")(batch.next_observation).squeeze(1), batch.terminated, gamma=h.gamma)

    def advantage(step: Step, value):
        q = step.target("q")(step.batch.observation, step.batch.action).amin(1)
        return q - value

    def critic_loss(step: Step, y):
        batch = step.batch
        value = step.critic("v")(batch.observation).squeeze(1)
        error = advantage(step, value)
        step.advantage = error.detach()
        q = step.critic("q")(batch.observation, batch.action)
        return {"value": ops.expectile_loss(error, expectile=h.expectile), "critic": (q - y.unsqueeze(1)).square().sum(1)}

    def extract(step: Step):
        log_prob = step.actor.distribution.log_prob(step.actor(step.batch.observation), step.batch.action)
        return {"actor": -ops.advantage_weight(step.advantage, beta=h.beta, max_weight=h.max_weight) * log_prob}

    return ValueLearning(
        policy=ActorNet(hidden=h.hidden, log_std="free", log_std_bounds=(-5.0, 2.0), tanh_mean=True),
        critics={"q": CriticNet(hidden=h.hidden), "v": CriticNet(inputs=("observation",), hidden=h.hidden, ensemble=1)},
        target=target,
        critic_loss=critic_loss,
        extract=extract,
        batch_size=h.batch_size,
        learning_rate=h.learning_rate,
        tracking=h.tau,
    )
