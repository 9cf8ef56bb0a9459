"""FAPO: right answers by flawed steps are a shortcut at first and a fault later; their advantage changes its sign by itself.

Paper: Ding et al. 2025, arXiv:2510.22543: +1 for a right answer by sound steps, 1 − λ by flawed ones, −1 for a wrong answer, normalised in the
group. With λ = 1 a flawed right answer has a positive advantage while wrong answers outnumber sound ones, and a negative one from then on.
Settled on: the task's own check of steps finds flaws (the paper trains a generative one, which matters where no program can check); clip-higher and the mean
over tokens as in the paper's DAPO setting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from operant import ops
from operant.core.registry import Positive, Range, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.shape import FlawPenalty
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class FAPO(GroupSettings):
    penalty: Annotated[float, Range(0, 2)] = 1.0  # what a flawed right answer loses of its reward
    clip_low: Positive = 0.2  # how far the ratio may fall below 1 where the advantage is negative
    clip_high: Positive = 0.28  # how far it may rise above 1 where the advantage is positive


@method("fapo", name="FAPO", family="rlvr", paper="arXiv:2510.22543", worlds=("text", "sequences"))
def fapo(h: FAPO) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        shape=[FlawPenalty(h.penalty)],
        credit=Grouped(ops.group_normalized_advantage),
        terms=[ClippedRatio(h.clip_low, h.clip_high)],
        reduce="token-mean",
        **h.updates,
    )
