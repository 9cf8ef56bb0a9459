"""RLOO: REINFORCE on whole answers, whose baseline is the mean reward of the prompt's other answers. A baseline.

Paper: Ahmadian et al. 2024, arXiv:2402.14740; the estimator is Kool et al. 2019. An answer is one action: its log-probability is the sum over its tokens, so
the loss averages over answers. The KL to the base policy is part of the answer's reward (k1, summed over its tokens).
Settled on: the answer's ratio is clipped, π(y|x) / π_old(y|x), as in TRL, which changes nothing in the one update a batch that the paper makes; beta is 0 by
default, which keeps no reference (TRL has 0.05).
"""

from __future__ import annotations

from dataclasses import dataclass

from operant import ops
from operant.core.registry import NonNegative, Positive, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.row_terms import ClippedAnswerRatio
from operant.loops.settings import GroupSettings
from operant.loops.shape import KLInReward
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class RLOO(GroupSettings):
    clip: Positive = 0.2  # the answer's ratio's distance from 1 beyond which it is cut
    beta: NonNegative = 0.0  # weight of the KL to the base policy, in the reward


@method("rloo", family="rlvr", paper="arXiv:2402.14740", worlds=("text", "sequences"), baseline=True)
def rloo(h: RLOO) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        shape=[KLInReward(h.beta, "k1")] if h.beta else [],
        credit=Grouped(ops.leave_one_out),
        terms=[ClippedAnswerRatio(h.clip, h.clip)],
        reduce="sequence-mean",
        **h.updates,
    )
