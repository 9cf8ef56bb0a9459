"""RLCR: an answer that states how sure it is, and is rewarded for being right and for knowing it, becomes calibrated at no cost in accuracy.

Paper: Damani et al. 2025, arXiv:2507.16806: the reward is 1[right] − (q − 1[right])², q the stated confidence; any bounded proper scoring rule
would do, the logarithmic one would not. Trained by GRPO.
Settled on: the Brier score enters as 1 − (q − 1[right])², as in the authors' code, so that an honest answer that is wrong is worth more than one whose
confidence cannot be read (0). The task says where the confidence stands (`text:uncertain`). Advantages are centred and scaled in the group, as in GRPO.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant import ops
from operant.core.registry import Positive, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.shape import CalibratedReward
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class RLCR(GroupSettings):
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut


@method("rlcr", name="RLCR", family="rlvr", paper="arXiv:2507.16806", worlds=("text", "sequences"))
def rlcr(h: RLCR) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        shape=[CalibratedReward()],
        credit=Grouped(ops.group_normalized_advantage),
        terms=[ClippedRatio(h.clip, h.clip)],
        reduce="sequence-mean",
        **h.updates,
    )
