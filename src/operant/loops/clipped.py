"""PPO's settings and the loop that they configure, for the methods that train policies of environments by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from operant.core.registry import Count, NonNegative, Passes, Positive, Share, Widths
from operant.loops.credit import GAE
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import ClippedRatio, EntropyBonus, SquaredValueError
from operant.nets.actors import ActorCriticNet
from operant.worlds.gym.collect import Steps


@dataclass(frozen=True)
class ClippedSettings:
    environments: Count = 8  # copies of the environment a seed
    rollout_length: Count = 128  # steps of each copy between updates
    epochs: Passes = 4  # passes over each rollout
    minibatches: Count = 4  # optimiser steps in each pass
    learning_rate: Positive = 3e-4  # Adam's
    anneal: bool = False  # lower the learning rate linearly to 0 at the last step
    gamma: Share = 0.99  # discount a step
    lam: Share = 0.95  # lambda of GAE
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut
    value_coefficient: NonNegative = 0.5  # weight of the squared value error
    entropy_coefficient: NonNegative = 0.0  # weight of the entropy bonus
    normalize_advantage: Literal["minibatch", "rollout"] = "minibatch"  # which steps' advantages are shifted together to mean 0 and divided by their deviation
    max_grad_norm: Positive = 0.5  # L2, over all parameters of a seed
    hidden: Widths = (64, 64)  # widths of the two towers
    normalize_observation: bool = False  # running mean and deviation of observations
    normalize_reward: bool = False  # divide rewards by the running deviation of their discounted sum

    def __post_init__(self):
        steps = self.environments * self.rollout_length
        if steps < self.minibatches * (2 if self.normalize_advantage == "minibatch" else 1):  # of one step alone the normalised advantage is 0
            least = "two steps each" if self.normalize_advantage == "minibatch" else "as many steps"
            raise ValueError(f"{self.minibatches} minibatches need {least}; environments × rollout_length is {steps}")


def clipped_policy_gradient(h: ClippedSettings, *, policy: ActorCriticNet | None = None, workers: int = 1) -> PolicyGradient:
    """PPO (Schulman et al. 2017, arXiv:1707.06347), as `methods/online/ppo.py` describes it.

    Args:
        policy: how the network is built; None for two towers.
        workers: processes that step the environments.
    """
    return PolicyGradient(
        policy=ActorCriticNet(hidden=h.hidden, normalize=h.normalize_observation) if policy is None else policy,
        sample=Steps(h.environments, h.rollout_length, h.normalize_reward, h.gamma),
        credit=GAE(h.gamma, h.lam),
        terms=[ClippedRatio(h.clip, h.clip), SquaredValueError(h.value_coefficient), *([EntropyBonus(h.entropy_coefficient)] if h.entropy_coefficient else [])],
        normalize_advantage=h.normalize_advantage,
        reduce="token-mean",
        epochs=h.epochs,
        minibatches=h.minibatches,
        learning_rate=h.learning_rate,
        anneal=h.anneal,
        adam_eps=1e-5,
        max_grad_norm=h.max_grad_norm,
        workers=workers,
    )
