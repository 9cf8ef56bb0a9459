"""PPO on tokens: a learned value of every beginning of an answer says which of its tokens were better than expected.

Paper: Schulman et al. 2017, arXiv:1707.06347: clipped surrogate, eq. 7; advantage: GAE (arXiv:1506.02438, eq. 16) with gamma 1. The KL to the base policy,
where asked for, is taken from the reward token by token (k1), as in RLHF (arXiv:2203.02155).
Settled on: the reward stands on the answer's last token, and an answer that reaches the limit is over there (no bootstrap: the verifier has seen all of it).
The critic starts at 0 and is a copy of the model with one output, or one more output of the policy itself; both learn at one rate in one Adam. Its targets are
the returns of the same GAE; the value loss is not clipped. Advantages are normalised over the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from operant.core.registry import Count, NonNegative, Passes, Positive, Range, Share, method
from operant.loops.credit import TokenGAE
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.shape import KLInReward
from operant.loops.terms import ClippedRatio, SquaredValueError
from operant.nets.language import TokenCritic
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class PPOText:
    prompts: Count = 16  # prompts an iteration
    group_size: Count = 16  # answers a prompt
    learning_rate: Positive = 3e-4  # Adam's, for a model of 1M parameters; the default shrinks with the size of a given model
    epochs: Passes = 1  # passes over each batch of answers
    minibatches: Count = 4  # optimiser steps in each pass
    micro_batch: Annotated[int, Range(0)] = 64  # answers that go through the model at once, 0 for all; never changes the loss
    critic: Literal["model", "head"] = "model"  # a copy of the model with one output, or one more output of the policy
    gamma: Share = 1.0  # discount a token
    lam: Share = 0.95  # lambda of GAE
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut
    value_coefficient: NonNegative = 0.5  # weight of the squared value error
    beta: NonNegative = 0.0  # weight of the KL to the base policy, in the reward
    max_grad_norm: Positive = 1.0  # L2


@method("ppo-text", name="PPO (text)", family="rlvr", paper="arXiv:1707.06347", worlds=("text", "sequences"), baseline=True)
def ppo_text(h: PPOText) -> PolicyGradient:
    return PolicyGradient(
        policy=TokenCritic(h.critic),
        sample=Groups(h.prompts, h.group_size),
        shape=[KLInReward(h.beta)] if h.beta else [],
        credit=TokenGAE(h.gamma, h.lam),
        terms=[ClippedRatio(h.clip, h.clip), SquaredValueError(h.value_coefficient)],
        normalize_advantage="rollout",
        reduce="token-mean",
        epochs=h.epochs,
        minibatches=h.minibatches,
        micro_batch=h.micro_batch,
        learning_rate=h.learning_rate,
        max_grad_norm=h.max_grad_norm,
    )
