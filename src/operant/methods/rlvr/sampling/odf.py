"""Balanced online difficulty filtering: only prompts that the policy solves about half of the time are learned from, and the batch is filled with such.

Paper: Bae et al. 2025, arXiv:2504.03380 What a prompt can teach is bounded by p (1 − p) / (2 β²), the lead of the KL between the starting policy
and the regularised optimum (`ops.bernoulli_tilt_kl`); it is 0 at p = 0 and p = 1. A prompt is kept where the share of right answers in its own group lies
between two thresholds, symmetric about one half, and sampling goes on until the batch is full; then GRPO.
Settled on: thresholds 0.25 and 0.75 (the paper treats them as a hyper-parameter); the group that is judged is the one that is learned from, so that its share
of right answers is a biased estimate of p in small groups; what is sampled and not kept counts as spent.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant import ops
from operant.core.registry import Count, Positive, Share, method
from operant.loops.credit import Grouped
from operant.loops.fill import AccuracyWindow, Fill
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class ODF(GroupSettings):
    accuracy_low: Share = 0.25  # groups with a smaller share of right answers are not kept
    accuracy_high: Share = 0.75  # nor those with a larger one
    rounds: Count = 4  # most times that an iteration samples to fill its batch
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut


@method("odf", name="Online difficulty filtering", family="rlvr", paper="arXiv:2504.03380", worlds=("text", "sequences"))
def odf(h: ODF) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        fill=Fill(AccuracyWindow(h.accuracy_low, h.accuracy_high), h.rounds),
        credit=Grouped(ops.group_normalized_advantage),
        terms=[ClippedRatio(h.clip, h.clip)],
        reduce="sequence-mean",
        **h.updates,
    )
