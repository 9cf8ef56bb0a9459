"""PQN: Q-learning without replay and without a target network, on fresh steps of many environments side by side; layer norm keeps it stable.

Paper: Gallici et al. 2024, arXiv:2407.04811. The returns are those of Q(λ) along what the policy did: G = r + γ ((1 − λ) max Q(s', ·) + λ G'), cut where
episodes end. With V = max Q that is GAE with the value added, so `GAE` gives them. The reference is the authors' code (mttga/purejaxql), whose settings for
CartPole these are: 32 environments, rollouts of 64 steps, 4 passes of 16 minibatches, two layers of 256, half the squared error, gradients clipped at 10, an
epsilon that falls from 1 to 0.2 over a fifth of training. Departures from it: Adam for RAdam; layer norm without learned scale and shift; layers that begin as
PyTorch's, uniform in ±1/√in, there as Flax's, normal of variance 1 / in, cut at two deviations, with biases of 0; a learning rate of 5e-4 that falls to 0 for
the 1e-4 there, where rewards are divided by 10 on CartPole (`reward_scale`, 1 here); the last step but one of a rollout has the value of the state it leads to
in its return, there that of the one behind; time limits bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from operant.core.records import Rollout
from operant.core.registry import Count, Discount, LearningRate, Passes, Positive, Share, Widths, method
from operant.loops.credit import GAE
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import SquaredValueError
from operant.nets.exploring import Exploration, ExploringValueNet
from operant.worlds.gym.collect import Steps


@dataclass(frozen=True)
class PQN:
    environments: Count = 32  # copies of the environment a seed
    rollout_length: Count = 64  # steps of each copy between updates
    epochs: Passes = 4  # passes over each rollout
    minibatches: Count = 16  # optimiser steps in each pass
    learning_rate: LearningRate = 5e-4  # Adam's
    anneal: bool = True  # lower the learning rate linearly to 0 at the last step
    gamma: Discount = 0.99  # discount a step
    lam: Share = 0.95  # lambda of Q(lambda)
    reward_scale: Positive = 1.0  # what rewards are multiplied by
    epsilon_start: Share = 1.0  # probability of a random action at the start
    epsilon_end: Share = 0.2  # and once it has fallen
    epsilon_share: Share = 0.2  # share of training in which it falls
    max_grad_norm: Positive = 10.0  # L2
    hidden: Widths = (256, 256)  # widths of the network
    layer_norm: bool = True  # normalise each hidden layer

    def __post_init__(self):
        if self.environments * self.rollout_length < self.minibatches:
            steps = self.environments * self.rollout_length
            raise ValueError(f"{self.minibatches} minibatches need as many steps; environments × rollout_length is {steps}; nearest: {steps} of them")


@method("pqn", family="online", paper="arXiv:2407.04811", worlds=("gym",), actions=("discrete",))
def pqn(h: PQN) -> PolicyGradient:
    def scaled(rollout: Rollout) -> Tensor:
        return rollout.reward * h.reward_scale

    return PolicyGradient(
        policy=ExploringValueNet(h.hidden, h.layer_norm, Exploration(h.epsilon_start, h.epsilon_end, h.epsilon_share)),
        sample=Steps(h.environments, h.rollout_length),
        shape=[scaled] if h.reward_scale != 1 else [],
        credit=GAE(h.gamma, h.lam),
        terms=[SquaredValueError(0.5)],
        reduce="token-mean",
        epochs=h.epochs,
        minibatches=h.minibatches,
        learning_rate=h.learning_rate,
        anneal=h.anneal,
        max_grad_norm=h.max_grad_norm,
    )
