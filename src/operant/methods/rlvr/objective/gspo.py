"""GSPO: the ratio is the answer's, normalised by its length, and the clip takes or leaves whole answers. A baseline.

Paper: Zheng et al. 2025, arXiv:2507.18071: objective eq. 5, ratio eq. 7. The gradient is taken in the form of eq. 14, a token's log-probability times the
answer's ratio, which for one advantage an answer is the same. Clip 3e-4 below and 4e-4 above.
Settled on: the standard deviation is the sample's (K − 1), as for GRPO here; no KL. With one optimiser step a batch every ratio is 1 and this is GRPO.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant import ops
from operant.core.registry import Positive, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedSequenceRatio
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class GSPO(GroupSettings):
    clip_low: Positive = 3e-4  # how far an answer's ratio may fall below 1 where the advantage is negative
    clip_high: Positive = 4e-4  # how far it may rise above 1 where the advantage is positive


@method("gspo", family="rlvr", paper="arXiv:2507.18071", worlds=("text", "sequences"), baseline=True)
def gspo(h: GSPO) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(ops.group_normalized_advantage),
        terms=[ClippedSequenceRatio(h.clip_low, h.clip_high)],
        reduce="sequence-mean",
        **h.updates,
    )
