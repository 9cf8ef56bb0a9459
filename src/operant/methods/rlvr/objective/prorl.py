"""ProRL: training goes on for long without collapse where the KL holds on to a reference that is reset whenever progress stalls.

Paper: Liu et al. 2025, arXiv:2505.24864: GRPO with clip-higher (0.2 / 0.4), dynamic sampling, a high sampling temperature (1.2), a KL to the
reference, and hard resets: the reference becomes the present policy and the optimiser starts anew.
Settled on: resets in the paper were made by hand on watching validation scores; here the reference is reset when the moving average of the training reward has
not risen for `patience` iterations, or every `reset_every`. The KL coefficient is not given in the abstract; 0.001. Answers are learned from at the temperature
that they were sampled with, so that ratios stay ratios of one policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from operant import ops
from operant.core.registry import Count, NonNegative, Positive, Range, method
from operant.loops.credit import Grouped
from operant.loops.fill import Fill, mixed_groups
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.reference import Reference
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio, KLToReference, KLWeighting
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class ProRL(KLWeighting, GroupSettings):
    temperature: Positive = 1.2  # of sampling and learning; evaluation is at 1
    clip_low: Positive = 0.2  # how far the ratio may fall below 1 where the advantage is negative
    clip_high: Positive = 0.4  # how far it may rise above 1 where the advantage is positive
    rounds: Count = 4  # most times that an iteration samples to fill its batch with groups of mixed scores
    beta: NonNegative = 0.001  # weight of the KL to the reference
    patience: Annotated[int, Range(0)] = 20  # iterations without a higher mean reward after which the reference is reset; 0 for never
    reset_every: Annotated[int, Range(0)] = 0  # iterations between resets on a schedule; 0 for none


@method("prorl", family="rlvr", paper="arXiv:2505.24864", worlds=("text", "sequences"))
def prorl(h: ProRL) -> PolicyGradient:
    resets = h.patience > 0 or h.reset_every > 0
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size, h.temperature),
        fill=Fill(mixed_groups, h.rounds),
        credit=Grouped(ops.group_normalized_advantage),
        terms=[ClippedRatio(h.clip_low, h.clip_high), *([KLToReference(h.beta, "k3", h.kl_importance_weight)] if h.beta else [])],
        reference=Reference("reset", every=h.reset_every, patience=h.patience) if resets else Reference(),
        reduce="token-mean",
        **h.updates,
    )
