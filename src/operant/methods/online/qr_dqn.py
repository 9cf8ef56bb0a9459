"""QR-DQN: DQN that learns quantiles of the return in the place of its mean, each by quantile regression onto all targets.

Paper: Dabney et al. 2018, arXiv:1710.10044. The quantile at (i + ½) / K learns from all targets y = r + γ quantile' by |fraction − 1(u < 0)| Huber(u), with u =
y − quantile. The mean of an action's quantiles is its Q: greedy choice and target actions are DQN's, and so are all switches and everything that `dqn` says of
departures from its papers.
25 quantiles are what RL Baselines3 Zoo takes for Acrobot and MountainCar (10 for CartPole, 170 for LunarLander); Adam's epsilon is 0.01 over the size of a
batch, as in Stable-Baselines3 contrib. Departures: the next action is the trained network's as in double DQN, which `double=False` undoes; DQN's learning rate,
and its clip of gradients, which Stable-Baselines3 contrib has not.

Logs "value": the mean of the target's quantiles, mean over the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from operant import ops
from operant.core.registry import Count, Positive, method
from operant.loops.deep_q import DeepQSettings, deep_q_learning, next_outputs, taken_outputs
from operant.loops.value_learning import Update, ValueLearning
from operant.nets.actors import ActionValueNet
from operant.nets.heads import Quantiles


@dataclass(frozen=True)
class QRDQN(DeepQSettings):
    quantiles: Count = 25  # of an action's return
    kappa: Positive = 1.0  # error up to which the loss is quadratic, in units of the return


@method("qr-dqn", name="QR-DQN", family="online", paper="arXiv:1710.10044", worlds=("gym",), actions=("discrete",))
def qr_dqn(h: QRDQN) -> ValueLearning:
    head = Quantiles(h.quantiles)

    def losses(u: Update):
        with torch.no_grad():
            y = u.bellman_each(next_outputs(u, double=h.double), gamma=h.gamma)
        quantiles = taken_outputs(u)
        u.prioritize((y.mean(-1) - quantiles.mean(-1)).abs())
        u.log("value", y)
        return {"critic": ops.quantile_huber_loss(quantiles, y, head.fractions(quantiles), kappa=h.kappa)}

    return deep_q_learning(h, ActionValueNet(head=head, **h.network), losses, eps=0.01 / h.batch_size)
