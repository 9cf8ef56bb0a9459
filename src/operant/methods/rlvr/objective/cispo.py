"""CISPO: REINFORCE whose importance weight is clipped, so that no token, however rare, drops out of an update. A baseline.

Paper: MiniMax 2025, arXiv:2506.13585, eq. 4 and 5: −sg[clip(r, 1 − ε_low, 1 + ε_high)] · A · log π, the mean over all tokens, advantages as in GRPO, no KL.
Settled on: no lower bound (ε_low = 1), as in the paper; its upper one is not stated, and 4 is the middle of what later work found to matter little. Dynamic
sampling and the length penalty that the paper's run also used are left to DAPO.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant import ops
from operant.core.registry import Positive, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedImportance
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class CISPO(GroupSettings):
    clip_low: Positive = 1.0  # how far the importance weight may fall below 1; 1 sets no bound
    clip_high: Positive = 4.0  # how far it may rise above 1


@method("cispo", family="rlvr", paper="arXiv:2506.13585", worlds=("text", "sequences"), baseline=True)
def cispo(h: CISPO) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(ops.group_normalized_advantage),
        terms=[ClippedImportance(h.clip_low, h.clip_high)],
        reduce="token-mean",
        **h.updates,
    )
