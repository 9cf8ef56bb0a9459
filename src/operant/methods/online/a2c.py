"""A2C: the advantage actor-critic, one gradient step on each few steps of many copies of the environment.

Paper: Mnih et al. 2016, arXiv:1602.01783 (A3C, whose actors step side by side here and wait for each other). The reference is A2C of Stable-Baselines3, whose
defaults these are: rollouts of 5 steps with the returns of as many steps as are left of them (lambda 1), learning rate 7e-4, decay 0.99, epsilon 1e-5, half
the squared value error, no entropy bonus, gradients clipped at 0.5. Departures from it: RMSProp's epsilon stands within the root and its squares begin at 1, as
in TensorFlow (its RMSpropTFLike, which it advises where training is unstable; `rms_prop=torch` is its default); 8 copies, there 1 unless more are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from operant.core.flat import RMSProp
from operant.core.registry import Count, LearningRate, Share, method
from operant.loops.credit import GAE
from operant.loops.on_policy import ActorCriticSettings, WorkerSettings
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import WeightedLogLikelihood


@dataclass(frozen=True)
class A2C(WorkerSettings, ActorCriticSettings):
    rollout_length: Count = 5  # steps of each copy between updates
    learning_rate: LearningRate = 7e-4  # RMSProp's
    lam: Share = 1.0  # lambda of GAE; 1 for the return of all steps that are left of a rollout
    rms_prop: Literal["tensorflow", "torch"] = "tensorflow"  # epsilon within the root and squares from 1, or beside the root and from 0


@method("a2c", family="online", paper="arXiv:1602.01783", worlds=("gym",))
def a2c(h: A2C) -> PolicyGradient:
    return PolicyGradient(
        policy=h.towers,
        sample=h.steps,
        credit=GAE(h.gamma, h.lam),
        terms=[WeightedLogLikelihood(), *h.beside],
        reduce="token-mean",
        learning_rate=h.learning_rate,
        anneal=h.anneal,
        optimizer=partial(RMSProp, eps=1e-5, inside=h.rms_prop == "tensorflow"),
        max_grad_norm=h.max_grad_norm,
        workers=h.workers,
    )
