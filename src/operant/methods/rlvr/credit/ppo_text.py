"""PPO on tokens: a learned value of every beginning of an answer says which of its tokens were better than expected.

Paper: Schulman et al. 2017, arXiv:1707.06347: clipped surrogate, eq. 7; advantage: GAE (arXiv:1506.02438, eq. 16) with gamma 1. The KL to the base policy,
where asked for, is taken from the reward token by token (k1), as in RLHF (arXiv:2203.02155).
Settled on: the reward stands on the answer's last token, and an answer that reaches the limit is over there (no bootstrap: the verifier has seen all of it).
The critic starts at 0 and is a copy of the model with one output, or one more output of the policy itself; both learn at one rate in one Adam. Its targets are
the returns of the same GAE; the value loss is not clipped. Advantages are normalised over the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from operant.core.registry import Count, NonNegative, Positive, Share, method
from operant.loops.credit import TokenGAE
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.shape import KLInReward
from operant.loops.terms import ClippedRatio, SquaredValueError
from operant.nets.language import TokenCritic
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class PPOText(GroupSettings):
    group_size: Count = 16  # answers a prompt
    minibatches: Count = 4  # optimiser steps in each pass
    critic: Literal["model", "head"] = "model"  # a copy of the model with one output, or one more output of the policy
    gamma: Share = 1.0  # discount a token
    lam: Share = 0.95  # lambda of GAE
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut
    value_coefficient: NonNegative = 0.5  # weight of the squared value error
    beta: NonNegative = 0.0  # weight of the KL to the base policy, in the reward


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
        **h.updates,
    )
