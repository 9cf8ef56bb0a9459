"""IQL: offline learning that never asks for the value of an action outside the data: V is an upper expectile of Q over the data's actions.

Paper: Kostrikov et al. 2021, arXiv:2110.06169: expectile loss eq. 5, Q loss eq. 6, policy by advantage-weighted regression eq. 7.
Settled on: V, critics and actor take one joint step, each with the weights from before it (the authors update V first, and the others with the new V); V
regresses the minimum of the target critics, as in the authors' code; weights are clipped at 100 and taken with Q of the target network; the actor is a Gaussian
with a free standard deviation and a mean bounded by tanh, constant learning rate (the authors' cosine decay and dropout are left out).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from operant import ops
from operant.core.registry import BatchSize, Discount, LearningRate, NonNegative, Positive, Range, TargetShare, Widths, method
from operant.loops.draw import Uniform
from operant.loops.value_learning import Optim, Phase, Polyak, Update, ValueLearning
from operant.nets.actors import ActorNet, CriticNet


@dataclass(frozen=True)
class IQL:
    learning_rate: LearningRate = 3e-4  # Adam's, for actor and critics
    gamma: Discount = 0.99  # discount a step
    expectile: Annotated[float, Range(0.5, 1, open_high=True)] = 0.9  # how far V leans to the best actions of the data
    beta: NonNegative = 3.0  # inverse temperature of the advantage weights
    max_weight: Positive = 100.0  # largest advantage weight
    tau: TargetShare = 0.005  # share of the critics that enters the target networks at each update
    batch_size: BatchSize = 256  # transitions an update
    hidden: Widths = (256, 256)  # widths of actor and critics


@method("iql", family="offline", paper="arXiv:2110.06169", worlds=("data",), actions=("continuous",))
def iql(h: IQL) -> ValueLearning:
    def losses(u: Update):
        batch = u.batch
        with torch.no_grad():
            y = u.bellman(u.net("v")(batch.next_observation).squeeze(1), gamma=h.gamma)
        error = u.target("q")(batch.observation, batch.action).amin(1) - u.net("v")(batch.observation).squeeze(1)
        q = u.net("q")(batch.observation, batch.action)
        actor = u.net("actor")
        log_prob = actor.distribution.log_prob(actor(batch.observation), batch.action)
        return {
            "value": ops.expectile_loss(error, expectile=h.expectile),
            "critic": (q - y.unsqueeze(1)).square().sum(1),
            "actor": -ops.advantage_weight(error.detach(), beta=h.beta, max_weight=h.max_weight) * log_prob,
        }

    return ValueLearning(
        nets={
            "actor": ActorNet(hidden=h.hidden, log_std="free", log_std_bounds=(-5.0, 2.0), tanh_mean=True),
            "q": CriticNet(hidden=h.hidden),
            "v": CriticNet(inputs=("observation",), hidden=h.hidden, ensemble=1),
        },
        phases=[Phase(losses, trains=("actor", "q", "v"), optim=Optim(h.learning_rate))],
        draw=Uniform(h.batch_size),
        track={"q": Polyak(h.tau)},
    )
