"""O-DICE: a value function learned from both ends of a transition, the gradient through s' projected so that it never works against the one through s.

Paper: Mao et al. 2024, arXiv:2402.00348: the dual of f-DICE with V alone (eq. 6), forward and backward gradient (eq. 7), the orthogonal update (eq. 8),
weighted behaviour cloning (eq. 9); f is Pearson's chi-square.
As in the authors' code, and not in the paper: the projection is of the gradients of a batch over all of V's parameters; V is the smaller of two layer-normed
networks where it is a target, and both learn; the policy's weights are means over both, each clipped at 100, from before V's step; its weights decay. Their
code weighs the policy by the residual itself, max(x, 0), and not by the dual's weight max(x / 2 + 1, 0): `weight` has both, and the default is the paper's,
for where every residual is negative (rewards of -1 and a fresh V) the other one learns nothing.
Departures: the decay is decoupled, theirs is a part of the gradient; the layer norm has no learned scale and shift; the policy's mean is bounded by tanh (an
option of theirs) and its network as wide as V's (theirs 1,024); backward="true" has target networks as the others do, where their true gradient has none. The
authors tune `balance` and `eta` for each data set. The weights that V settles at have the mean (1 - balance) / balance: V is as if every step paid
2 (2 - 1 / balance) more, and where steps cost less than that, a longer way looks better; rewards are to be scaled (-3 a step on the authors' antmazes).

Logs "weight": the weights of the policy's loss, mean over the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from operant import ops
from operant.core.registry import BatchSize, Discount, LearningRate, NonNegative, Positive, Share, TargetShare, Widths, method
from operant.loops.draw import Uniform
from operant.loops.value_learning import Optim, Phase, Polyak, Update, ValueLearning
from operant.nets.actors import ActorNet, CriticNet


@dataclass(frozen=True)
class ODICE:
    learning_rate: LearningRate = 2e-4  # Adam's, for actor and values
    gamma: Discount = 0.99  # discount a step
    balance: Share = 0.5  # lambda: weight of the residuals' conjugate, 1 - lambda that of V itself; above 0.5 V lies above what is usual in the data
    eta: NonNegative = 1.0  # weight of the backward gradient; 0 is the semi-gradient method
    backward: Literal["orthogonal", "true"] = "orthogonal"  # the backward gradient's part across the forward one, or all of it
    weight: Literal["dual", "residual"] = "dual"  # of an action of the data: max(x / 2 + 1, 0) of its residual x, or max(x, 0)
    max_weight: Positive = 100.0  # largest weight of an action of the data
    weight_decay: NonNegative = 1e-4  # of the actor's optimiser
    tau: TargetShare = 0.005  # share of the values that enters the target network at each update
    batch_size: BatchSize = 256  # transitions an update
    hidden: Widths = (256, 256)  # widths of actor and values


@method("odice", name="O-DICE", family="offline", paper="arXiv:2402.00348", worlds=("data",))
def odice(h: ODICE) -> ValueLearning:
    def forward_residual(u: Update, value: Tensor) -> Tensor:
        with torch.no_grad():
            y = u.bellman(u.target("v")(u.batch.next_observation).amin(1), gamma=h.gamma)
        return y.unsqueeze(1) - value

    def actor_losses(u: Update):
        batch, actor = u.batch, u.net("actor")
        with torch.no_grad():
            residual = forward_residual(u, u.net("v")(batch.observation))
            weight = (residual / 2 + 1 if h.weight == "dual" else residual).clamp(0, h.max_weight).mean(1)
        u.log("weight", weight)
        return {"actor": -weight * actor.distribution.log_prob(actor(batch.observation), batch.action)}

    def value_losses(u: Update):
        batch, v, target = u.batch, u.net("v"), u.target("v")
        value = v(batch.observation)
        with torch.no_grad():
            standing = target(batch.observation).amin(1, keepdim=True)
        through = ops.td_target(batch.reward.unsqueeze(1), v(batch.next_observation), batch.terminated.unsqueeze(1), gamma=h.gamma)
        return {
            "values": (1 - h.balance) * value.mean(1),
            "forward": h.balance * ops.chi_square_conjugate(forward_residual(u, value)).mean(1),
            "backward": h.balance * ops.chi_square_conjugate(through - standing).mean(1),
        }

    def combine(gradients: dict[str, Tensor]) -> Tensor:
        forward, backward = gradients["forward"], gradients["backward"]
        across = ops.orthogonal_part(backward, forward) if h.backward == "orthogonal" else backward
        return gradients["values"] + forward + h.eta * across

    return ValueLearning(
        nets={
            "actor": ActorNet(hidden=h.hidden, log_std="free", log_std_bounds=(-5.0, 2.0), tanh_mean=True),
            "v": CriticNet(inputs=("observation",), hidden=h.hidden, layer_norm=True),
        },
        phases=[
            Phase(actor_losses, trains=("actor",), optim=Optim(h.learning_rate, weight_decay=h.weight_decay)),
            Phase(value_losses, trains=("v",), optim=Optim(h.learning_rate), combine=combine),
        ],
        draw=Uniform(h.batch_size),
        track={"v": Polyak(h.tau)},
    )
