"""GRPO: policy gradient whose baseline is the mean reward of the other answers to the same prompt; no critic.

Paper: Shao et al. 2024, arXiv:2402.03300: objective eq. 3, advantage section 4.1.2, KL in the loss by the k3 estimator (eq. 4).
Settled on: the mean over each answer's tokens, then over answers, as in eq. 3; the standard deviation is the sample's (K − 1), as in TRL; beta is 0 by
default, as in TRL and most later work (the paper has 0.04), so that no reference model is kept. An answer whose scoring failed leaves its group.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from operant import ops
from operant.core.registry import NonNegative, Positive, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio, KLToReference, KLWeighting
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class GRPO(KLWeighting, GroupSettings):
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut
    beta: NonNegative = 0.0  # weight of the KL to the base policy
    normalize_std: bool = True  # divide advantages by the group's standard deviation
    reduce: Literal["sequence-mean", "token-mean"] = "sequence-mean"  # how tokens are weighted


@method("grpo", family="rlvr", paper="arXiv:2402.03300", worlds=("text", "sequences"))
def grpo(h: GRPO) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(partial(ops.group_normalized_advantage, normalize_std=h.normalize_std)),
        terms=[ClippedRatio(h.clip, h.clip), *([KLToReference(h.beta, "k3", h.kl_importance_weight)] if h.beta else [])],
        reduce=h.reduce,
        **h.updates,
    )
