"""CURE: for most of training, part of each group is written anew from an uncertain token on, so that answers stay diverse; then plain DAPO makes use of it.

Paper: Li et al. 2025, arXiv:2508.11016. First stage: 4 answers a prompt; in each, one of its 20 positions of highest entropy is drawn, and 3 more answers go
on from before it. All 4 + 4 · 3 = 16 share one group advantage. Second stage: 16 answers from the start. Both learn as DAPO does (arXiv:2503.14476): clip 0.2
below and 0.28 above, mean over all tokens, groups of equal rewards sampled again, no KL.
Settled on: a branch learns from its new tokens only, as in the authors' code, where the prefix is moved into the prompt. The first stage is two thirds of
training (200 of 300 updates there). The first token and the end token are never branched at; an answer without another one is written again from the start,
as there. That code also passes over tokens of one visible character, which tokenizers of characters do not allow. There is no penalty for overlong answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from operant import ops
from operant.core.registry import Count, Positive, Range, Share, method
from operant.loops.credit import Grouped
from operant.loops.fill import Fill, mixed_groups
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import UpdateSettings
from operant.loops.terms import ClippedRatio
from operant.worlds.trees import ExploringStage


@dataclass(frozen=True)
class CURE(UpdateSettings):
    prompts: Count = 16  # prompts an iteration
    trunks: Count = 4  # answers a prompt from its start, in the first stage
    branches: Count = 3  # answers that branch off each of them; a group has trunks x (1 + branches)
    uncertain: Annotated[int, Range(0)] = 20  # positions of highest entropy that the branching one is drawn from, 0 for all
    explore: Share = 2 / 3  # share of training that the first stage takes
    rounds: Count = 4  # most times that an iteration samples for groups of unequal rewards
    clip_low: Positive = 0.2  # how far the ratio may fall below 1
    clip_high: Positive = 0.28  # how far it may rise above 1


@method("cure", family="rlvr", paper="arXiv:2508.11016", worlds=("text", "sequences"))
def cure(h: CURE) -> PolicyGradient:
    return PolicyGradient(
        sample=ExploringStage(h.prompts, h.trunks, branches=h.branches, uncertain=h.uncertain, explore=h.explore),
        fill=Fill(mixed_groups, h.rounds),
        credit=Grouped(ops.group_normalized_advantage),
        terms=[ClippedRatio(h.clip_low, h.clip_high)],
        reduce="token-mean",
        **h.updates,
    )
