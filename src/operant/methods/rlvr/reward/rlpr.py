"""RLPR: where no verifier can judge an answer, the policy's own probability of the reference answer behind its reasoning is reward enough.

Paper: Yu et al. 2025, arXiv:2506.18254: r = clip(f − f₀, 0, 1), f the mean probability of the reference answer's tokens in the place of the
answer's own, f₀ the same without reasoning; prompts whose rewards hardly differ are left out, a group's standard deviation being compared with a share of its
moving average. GRPO with clip-higher (0.2 / 0.27), no KL.
Settled on: f₀ is measured of the present policy in the same pass (the authors store it with the data, from the starting one): both sides then move together.
The filter's average has the decay 0.99, starts at iteration 6 and filters from 11 on, with the share 0.5, as in their settings. Their format reward (weight
0.1) is left out: an answer without its marker has no reasoning, and earns 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant import ops
from operant.core.registry import NonNegative, Positive, method
from operant.loops.credit import Grouped
from operant.loops.fill import Fill, SpreadFilter
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.shape import AnswerLikelihood
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class RLPR(GroupSettings):
    spread: NonNegative = 0.5  # groups whose deviation is below this share of its moving average are left out; 0 keeps all
    clip_low: Positive = 0.2  # how far the ratio may fall below 1 where the advantage is negative
    clip_high: Positive = 0.27  # how far it may rise above 1 where the advantage is positive


@method("rlpr", name="RLPR", family="rlvr", paper="arXiv:2506.18254", worlds=("text",))
def rlpr(h: RLPR) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        shape=[AnswerLikelihood()],
        fill=Fill(SpreadFilter(h.spread), rounds=1) if h.spread else None,
        credit=Grouped(ops.group_normalized_advantage),
        terms=[ClippedRatio(h.clip_low, h.clip_high)],
        reduce="sequence-mean",
        **h.updates,
    )
