"""What methods share that learn from what their policy has just done in an environment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from operant.core.registry import Count, Discount, LearningRate, NonNegative, Passes, Positive, Share, Tune, Widths, Workers
from operant.loops.policy_gradient import Fit
from operant.loops.settings import Activation
from operant.loops.terms import EntropyBonus, SquaredValueError, Term
from operant.nets.actors import ActorCriticNet
from operant.worlds.gym.collect import Steps


@dataclass(frozen=True)
class OnPolicySettings:
    """How policies of environments learn from what they have just done."""

    environments: Count = 8  # copies of the environment a seed
    rollout_length: Annotated[Count, Tune(choices=(16, 32, 64, 128, 256, 512))] = 128  # steps of each copy between updates
    gamma: Discount = 0.99  # discount a step
    lam: Annotated[Share, Tune(0.8, 1.0)] = 0.95  # lambda of GAE
    hidden: Widths = (64, 64)  # widths of the two towers
    activation: Activation = "tanh"  # of their hidden layers
    normalize_observation: bool = False  # running mean and deviation of observations
    normalize_reward: bool = False  # divide rewards by the running deviation of their discounted sum

    @property
    def towers(self) -> ActorCriticNet:
        """An actor and a critic, with nothing between them and the observation."""
        return ActorCriticNet(hidden=self.hidden, activation=self.activation, normalize=self.normalize_observation)

    @property
    def steps(self) -> Steps:
        return Steps(self.environments, self.rollout_length, self.normalize_reward, self.gamma)


@dataclass(frozen=True)
class WorkerSettings:
    """Processes that sample, as a setting of the method, which stays what it is."""

    workers: Workers = 1  # processes that step the environments, 1 for the one that trains; better --sample-workers, which resume can change


@dataclass(frozen=True)
class ApartSettings(OnPolicySettings):
    """The same where the value function is fitted by itself, behind the policy's update."""

    value_learning_rate: LearningRate = 1e-3  # Adam's, of the value function
    value_epochs: Passes = 10  # passes over each rollout that fit the value function
    value_minibatches: Count = 8  # optimiser steps in each of them

    @property
    def towers(self) -> ActorCriticNet:
        return replace(super().towers, shared=False)

    @property
    def fit(self) -> Fit:
        return Fit([SquaredValueError(1.0)], self.value_epochs, self.value_minibatches, self.value_learning_rate)


@dataclass(frozen=True)
class ActorCriticSettings(OnPolicySettings):
    """The same where actor and critic take their steps together."""

    learning_rate: LearningRate = 3e-4  # Adam's
    anneal: bool = False  # lower the learning rate linearly to 0 at the last step
    value_coefficient: NonNegative = 0.5  # weight of the squared value error
    entropy_coefficient: Annotated[NonNegative, Tune(choices=(0.0, 1e-4, 1e-3, 1e-2))] = 0.0  # weight of the entropy bonus
    max_grad_norm: Positive = 0.5  # L2, over all parameters of a seed

    @property
    def beside(self) -> list[Term]:
        """The terms beside the policy's: the value's error, and the entropy bonus where it has a weight."""
        return [SquaredValueError(self.value_coefficient), *([EntropyBonus(self.entropy_coefficient)] if self.entropy_coefficient else [])]
