"""Dr. GRPO: GRPO without its two biases; no division by the group's standard deviation, and none by the answer's own length. A baseline.

Paper: Liu et al. 2025, arXiv:2503.20783, section 3.2. The advantage is the centred reward; token losses are summed over an answer and divided by a constant.
Its gradient is (K − 1)/K times that of RLOO, over that constant: a multiple of the unbiased policy gradient.
Settled on: the constant is a hyper-parameter of its own and not the generation limit, so that changing the limit does not change the step; Adam makes it matter
only to the clip of the gradient's norm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from operant import ops
from operant.core.registry import Count, NonNegative, Positive, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio, KLToReference, KLWeighting
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class DrGRPO(KLWeighting, GroupSettings):
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut
    beta: NonNegative = 0.0  # weight of the KL to the base policy
    reduce_length: Count = 16  # tokens; what an answer's summed loss is divided by, however long the answer is


@method("dr-grpo", name="Dr. GRPO", family="rlvr", paper="arXiv:2503.20783", worlds=("text", "sequences"), baseline=True)
def dr_grpo(h: DrGRPO) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(partial(ops.group_normalized_advantage, normalize_std=False)),
        terms=[ClippedRatio(h.clip, h.clip), *([KLToReference(h.beta, "k3", h.kl_importance_weight)] if h.beta else [])],
        reduce="sequence-sum",
        reduce_length=h.reduce_length,
        **h.updates,
    )
