"""CANON: a group is split at the median of a metric, and each half is compared with the other; which trend is better shows itself, and is amplified.

Paper: Chen et al. 2025, arXiv:2509.23962. The metric is the answer's mean token entropy or its length. Inter-group advantage: reward less the other half's
mean; intra-group: less the own half's mean; their mix needs no sign of the metric to be chosen by hand. With equal halves and a weight of 1/2 it is Dr. GRPO.
Settled on, as in the authors' code: an odd group has the larger half on top (the identity with Dr. GRPO then fails); ties are split in sampling order; no
division by a standard deviation, and token losses are divided by a constant as in Dr. GRPO. An answer alone in its group gets 0, for it has nothing to be
compared with (the code leaves it its reward). The scheduled weights follow the code too: "inter-first" is one less the batch's mean reward and "intra-first"
that reward, so training's success drives them; the cosine ones run by the share of training that is done.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from operant import ops
from operant.core.records import Rollout
from operant.core.registry import Count, Positive, Range, Share, method
from operant.loops.credit import Grouped, scored
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups

WARMUP = 0.2  # share of training over which a cosine schedule rises linearly
CYCLES = 3  # of the cosine behind it
PEAK = {"cosine-inter-first": (1.0, 0.4), "cosine-intra-first": (0.6, 0.0)}  # highest and lowest weight of what comes first

Schedule = Literal["constant", "inter-first", "intra-first", "cosine-inter-first", "cosine-intra-first"]


@dataclass(frozen=True)
class CANON(GroupSettings):
    group_size: Annotated[int, Range(2)] = 16  # answers a prompt; even for equal halves
    metric: Literal["entropy", "length"] = "entropy"  # what groups are split by
    schedule: Schedule = "constant"  # of the weight of the inter-group advantage
    inter_weight: Share = 1.0  # that weight where it is constant
    high_factor: Share = 1.0  # multiplies rewards of the high half in the inter-group comparison; below 1 favours short answers
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut
    reduce_length: Count = 16  # tokens; what an answer's summed loss is divided by, however long the answer is


@dataclass(frozen=True)
class MeanEntropy:
    """Mean entropy of the row's chosen tokens, nats, `[S, N]`."""

    needs: ClassVar[frozenset[str]] = frozenset({"entropy"})

    def __call__(self, rollout: Rollout) -> Tensor:
        return ops.row_mean(rollout.extras["entropy"], rollout.mask).squeeze(-1)


def answer_length(rollout: Rollout) -> Tensor:
    """Chosen tokens of the row, `[S, N]`."""
    return rollout.mask.sum(-1).to(rollout.reward.dtype)


@dataclass(frozen=True)
class InterWeight:
    """Weight of the inter-group advantage, 0 to 1, alike for all rows of a seed, `[S, N]`."""

    schedule: Schedule
    weight: float

    def __call__(self, rollout: Rollout) -> Tensor:
        score = rollout.reward.sum(-1)
        if self.schedule == "constant":
            return torch.full_like(score, self.weight)
        if self.schedule in PEAK:
            first = restarted_cosine(rollout.progress, *PEAK[self.schedule])
            return torch.full_like(score, first if self.schedule == "cosine-inter-first" else 1 - first)
        among = scored(rollout)
        mean = (score * among).sum(-1, keepdim=True) / among.sum(-1, keepdim=True).clamp(min=1)
        return (mean if self.schedule == "intra-first" else 1 - mean).clamp(0, 1).expand_as(score)


def restarted_cosine(progress: float, high: float, low: float) -> float:
    """From 0 to `high` in a line over the warm-up, then `CYCLES` half cosines from `high` down to `low`; progress is 0 to 1."""
    if progress < WARMUP:
        return high * progress / WARMUP
    turn = (progress - WARMUP) / (1 - WARMUP) * CYCLES
    within = turn - min(int(turn), CYCLES - 1)
    return low + 0.5 * (high - low) * (1 + math.cos(math.pi * within))


@method("canon", family="rlvr", paper="arXiv:2509.23962", worlds=("text", "sequences"))
def canon(h: CANON) -> PolicyGradient:
    metric = MeanEntropy() if h.metric == "entropy" else answer_length
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(partial(ops.median_split_advantage, high_factor=h.high_factor), measures=[metric, InterWeight(h.schedule, h.inter_weight)]),
        terms=[ClippedRatio(h.clip, h.clip)],
        reduce="sequence-sum",
        reduce_length=h.reduce_length,
        **h.updates,
    )
