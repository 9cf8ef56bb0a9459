"""Lite PPO: two tricks are enough; advantages centred in the group and scaled by the batch's standard deviation, and the mean over all tokens.

Paper: Liu et al. 2025, "Part I: Tricks or Traps?", arXiv:2508.08221. A group that is nearly all right or all wrong has a tiny standard deviation, which blows
its advantages up; that of the batch is steady.
Settled on: the standard deviation is of the rewards themselves (REINFORCE++ takes that of the centred ones), the sample's, over answers and not tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant import ops
from operant.core.registry import Positive, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class LitePPO(GroupSettings):
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut


@method("lite-ppo", name="Lite PPO", family="rlvr", paper="arXiv:2508.08221", worlds=("text", "sequences"))
def lite_ppo(h: LitePPO) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(ops.batch_scaled_advantage),
        terms=[ClippedRatio(h.clip, h.clip)],
        reduce="token-mean",
        **h.updates,
    )
