"""NGRPO: an imagined best answer joins every group, so that groups that are all wrong teach too; the clip holds negative updates back.

Paper: Nan et al. 2025, arXiv:2509.18851. The imagined answer has the highest reward and enters the group's mean and standard deviation alone. An all-wrong
group of K then gets −1/√(K + 1) each, an all-right one 0.
Settled on: sample standard deviations, as in the authors' code (population ones would give −1/√K); four optimiser steps a batch, as there: with a single one
the ratio is 1 and the clip does nothing. The paper's groups have 8 answers; no KL, no entropy bonus.
Departs from the authors' scripts in two things. They take the mean over all tokens of a batch; here it is over each answer's tokens and then over answers, as
in GRPO. They drop groups that are all right and sample until the batch is full; here such groups stay in the batch with an advantage of 0, so that no answer is
drawn for nothing, and the others' share of the mean is smaller.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from operant import ops
from operant.core.registry import Count, Positive, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class NGRPO(GroupSettings):
    minibatches: Count = 4  # optimiser steps in each pass
    max_reward: float = 1.0  # reward of the imagined best answer
    clip_low: Positive = 0.16  # how far the ratio may fall below 1 where the advantage is negative
    clip_high: Positive = 0.24  # how far it may rise above 1 where the advantage is positive


@method("ngrpo", family="rlvr", paper="arXiv:2509.18851", worlds=("text", "sequences"))
def ngrpo(h: NGRPO) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(partial(ops.virtual_max_advantage, max_reward=h.max_reward)),
        terms=[ClippedRatio(h.clip_low, h.clip_high)],
        reduce="sequence-mean",
        **h.updates,
    )
