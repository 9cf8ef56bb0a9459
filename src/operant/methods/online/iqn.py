"""IQN: DQN that learns the return's quantile function: a network that is asked for the quantile at any fraction, drawn anew for each transition.

Paper: Dabney et al. 2018, arXiv:1806.06923, section 2.3. A fraction's cosines are embedded, and the embedding multiplies the features; the loss (that of
`qr-dqn`) regresses quantiles at `fractions` draws onto targets at `target_fractions` draws; an action's mean over `policy_fractions` quantiles is its Q, by
which actions are chosen, in training at drawn fractions, out of it at evenly spaced ones. All switches are DQN's, and so is everything that `dqn` says of
departures from its papers.
Numbers of fractions and of cosines are Tianshou's; kappa and Adam's epsilon, 0.01 over the size of a batch (3.125e-4 of 32), are Dopamine's, whose
configurations have 64, 64 and 32 fractions. As in the paper one hidden layer stands behind the product with the embedding. Departures: rows of a pass share
the fractions by which actions are chosen; the next action is the trained network's as in double DQN, which `double=False` undoes; DQN's learning rate, its clip
of gradients, and returns of one step (Dopamine: no clip, three steps).

Logs "value": the mean of the target's quantiles, mean over the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from operant import ops
from operant.core.registry import Count, Positive, method
from operant.loops.deep_q import DeepQSettings, deep_q_learning, of_action
from operant.loops.value_learning import Update, ValueLearning
from operant.nets.actors import ImplicitQuantileNet
from operant.nets.heads import Quantiles


@dataclass(frozen=True)
class IQN(DeepQSettings):
    fractions: Count = 8  # drawn for each transition: quantiles that learn
    target_fractions: Count = 8  # and quantiles that they learn from
    policy_fractions: Count = 32  # quantiles whose mean is Q where actions are chosen
    cosines: Count = 64  # of a fraction, which are embedded
    kappa: Positive = 1.0  # error up to which the loss is quadratic, in units of the return


@method("iqn", name="IQN", family="online", paper="arXiv:1806.06923", worlds=("gym",), actions=("discrete",))
def iqn(h: IQN) -> ValueLearning:
    def losses(u: Update):
        batch, q, target = u.batch, u.net("q"), u.target("q")
        rows = batch.reward.shape[1]
        with torch.no_grad():
            action = q.distribution.mode((q if h.double else target)(batch.next_observation))
            following = target.quantiles(batch.next_observation, u.streams.uniform("target fractions", rows, h.target_fractions))
            y = u.bellman_each(of_action(following, action), gamma=h.gamma)
        fractions = u.streams.uniform("fractions", rows, h.fractions)
        quantiles = of_action(q.quantiles(batch.observation, fractions), batch.action)
        u.prioritize((y.mean(-1) - quantiles.mean(-1)).abs())
        u.log("value", y)
        return {"critic": ops.quantile_huber_loss(quantiles, y, fractions, kappa=h.kappa)}

    return deep_q_learning(h, ImplicitQuantileNet(head=Quantiles(h.policy_fractions), cosines=h.cosines, **h.network), losses, eps=0.01 / h.batch_size)
