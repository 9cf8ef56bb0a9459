"""PROPS: PPO on what lies around the policy's own distribution, for what acts corrects the sampling error of the last few rollouts.

Paper: Corrado and Hanna 2023, arXiv:2311.08290. Rollouts of the last `batches` iterations are learned from as if they were on policy, with values, advantages
and log-probabilities as the policy of now gives them. So that they are, as a whole, nearly what it would have done, each is collected by a behaviour policy
that every few steps is set to the policy and then lowers the likelihood of what they hold already (`loops/correction.py`, with the objective). The reference is
the authors' code (NicholasCorrado/PROPS), whose settings of the behaviour for choices these are (ppo_discrete.py): every 16 steps, 16 passes of 4 minibatches,
clip 0.3, Adam at 1e-3 (epsilon 1e-5, gradients clipped at 0.5), stopped above a KL of 0.01; ppo_continuous.py has 8 steps, 16 minibatches and a KL of 0.1.
Departures from it: two rollouts are learned from, there one unless more are asked for; Adam begins anew with each adaptation; the first adaptation to a policy
comes before its first step, there 16 steps later; PPO is that of `ppo`, there with clipped values, an entropy bonus and a stop by KL. With `correct` off it is
PPO with a buffer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from operant.core.registry import Count, NonNegative, Passes, Positive, method
from operant.loops.clipped import ClippedSettings, clipped_policy_gradient
from operant.loops.correction import Correction
from operant.loops.policy_gradient import PolicyGradient


@dataclass(frozen=True)
class PROPS(ClippedSettings):
    batches: Count = 2  # rollouts that are learned from: this iteration's and those before
    correct: bool = True  # act so that they are together nearer to the policy; False for the policy itself
    correct_every: Count = 16  # steps of each copy after which what acts is adapted
    correct_epochs: Passes = 16  # passes over what was collected, of an adaptation
    correct_minibatches: Count = 4  # optimiser steps in each of them
    correct_clip: Positive = 0.3  # the ratio's distance from 1 beyond which an action is not made less likely
    correct_kl: NonNegative = 0.0  # weight of the KL from the policy to what acts, which normals need
    correct_max_kl: Positive = 0.01  # estimated KL above which an adaptation ends, nats
    correct_learning_rate: Positive = 1e-3  # Adam's, of what acts


@method("props", name="PROPS", family="online", paper="arXiv:2311.08290", worlds=("gym",))
def props(h: PROPS) -> PolicyGradient:
    spine = clipped_policy_gradient(h)
    plan = Correction(
        h.correct_every, h.correct_epochs, h.correct_minibatches, h.correct_clip, h.correct_kl, h.correct_max_kl, h.correct_learning_rate, h.max_grad_norm
    )
    return replace(spine, sample=replace(h.steps, batches=h.batches, behaviour=plan if h.correct else None))
