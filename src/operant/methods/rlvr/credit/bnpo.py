"""BNPO: the centred binary reward divided by a Beta density that follows the spread of success rates over the batch's prompts.

Paper: Xiao et al. 2025, arXiv:2506.02864. Success rates p are matched to Beta(a, b) by moments; the normaliser is the density of Beta(1 + a/3, 1 + b/3) at
p, which makes the gradient's variance least. Beta(1, 1) is REINFORCE with a baseline, Beta(3/2, 3/2) GRPO up to a factor.
Settled on, as in the authors' code: p includes the answer itself; sample variance over prompts; parameters at least 1; 1/density at most 1e6. Where success
rates do not vary (one prompt) both parameters are 1. Token losses are summed over an answer and averaged over answers.
Advantage decomposition: with `process_reward`, right answers and sound reasoning are two rewards that are normalised each by itself; their advantages are
averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from operant import ops
from operant.core.records import Rollout
from operant.core.registry import Positive, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class BNPO(GroupSettings):
    process_reward: bool = False  # a second reward for answers whose every step is right, where the task can check that
    clip_low: Positive = 0.2  # how far the ratio may fall below 1 where the advantage is negative
    clip_high: Positive = 0.28  # how far it may rise above 1 where the advantage is positive


@dataclass(frozen=True)
class Soundness:
    """Whether every step of the row is right, `[S, N]` 0 or 1."""

    needs: ClassVar[frozenset[str]] = frozenset({"sound"})

    def __call__(self, rollout: Rollout) -> Tensor:
        return rollout.extras["sound"].to(rollout.reward.dtype)


def decomposed_advantage(score: Tensor, mask: Tensor, *others: Tensor) -> Tensor:
    """Mean of the Beta-normalised advantages of several binary rewards, `[G, K]` each."""
    return torch.stack([ops.beta_normalized_advantage(reward, mask) for reward in (score, *others)]).mean(0)


@method("bnpo", family="rlvr", paper="arXiv:2506.02864", worlds=("text", "sequences"))
def bnpo(h: BNPO) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(decomposed_advantage, measures=[Soundness()] if h.process_reward else []),
        terms=[ClippedRatio(h.clip_low, h.clip_high)],
        reduce="sequence-sum",
        reduce_length=1,
        **h.updates,
    )
