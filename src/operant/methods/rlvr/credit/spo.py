"""SPO: credit to segments of an answer, each worth what it changed in the mean reward of fresh completions; no critic.

Paper: Guo et al. 2025, arXiv:2505.23564. Chain: tokens of probability below 0.9 are cut points, every fifth closes a segment, the value of a boundary is the
mean reward of 9 completions from it. Tree: 6 ways to begin, and 6 to go on after each of two chunks; a node is worth the mean of its children. The advantage
of a segment, or of an edge, is the change of value along it, A = V(end) − V(start); the clipped loss takes tokens of probability below 0.9 alone, and is
their mean.
Settled on: a boundary stands before its uncertain token, as in the authors' code. Edges of a tree whose advantage is 0 are dropped, as there. Edges of
earlier iterations are not replayed (the authors' tree keeps them): the loop learns from what the present weights drew. A boundary none of whose completions
could be scored is passed over, its segment joined with the one before; where that is the start of the problem, its value is the mean score of the problem's
answers. No KL. Completions that only measure are counted in the tokens drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from operant import ops
from operant.core.records import Rollout
from operant.core.registry import Count, Positive, Range, Widths, method
from operant.core.status import Status
from operant.loops.credit import Grouping, scored
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio
from operant.worlds.trees import SegmentProbes, Tree


@dataclass(frozen=True)
class SPO(GroupSettings):
    structure: Literal["chain", "tree"] = "chain"  # how values are measured
    group_size: Count = 8  # answers a prompt that are learned from; chain
    probes: Count = 9  # completions that measure a boundary; chain
    cut_every: Count = 5  # uncertain tokens a segment; chain
    branching: Widths = (6, 6, 6)  # ways to go on, level by level; tree
    chunk: Count = 4  # tokens between two branchings; tree
    normalize_std: bool = False  # divide the advantages of siblings by their standard deviation; tree
    threshold: Annotated[float, Range(0, 1, open_low=True)] = 0.9  # tokens of a smaller probability are uncertain: they cut, and they learn
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut


def chain_advantage(rollout: Rollout) -> Tensor:
    """The change of value over the segment that a token stands in, `[S, N, T]`; values are the mean scores of probes (`SegmentProbes`)."""
    score = rollout.reward.sum(-1)
    probes = rollout.extras.get("probe", torch.zeros_like(rollout.group, dtype=torch.bool)) & (rollout.status == int(Status.OK))
    parents, places = branching(rollout)
    present = rollout.extras.get("present", rollout.mask)
    result = torch.zeros_like(rollout.reward)
    for seed in range(len(score)):
        counts = probes[seed] & present[seed].any(-1)
        within, whole = counts & (parents[seed] >= 0), counts & (parents[seed] < 0)
        index = (parents[seed][within], places[seed][within])
        total = torch.zeros_like(rollout.reward[seed]).index_put(index, score[seed][within], accumulate=True)
        number = torch.zeros_like(total).index_put(index, torch.ones_like(score[seed][within]), accumulate=True)
        groups = Grouping(rollout.group[seed])
        starts = groups.pack(whole)
        starts = torch.where(starts.any(1, keepdim=True), starts, groups.pack(scored(rollout)[seed]))
        mean = (groups.pack(score[seed]) * starts).sum(1, keepdim=True) / starts.sum(1, keepdim=True).clamp(min=1)
        value = total / number.clamp(min=1)
        value[:, 0] = groups.unpack(mean.expand(groups.shape))
        known = number > 0
        known[:, 0] = True
        result[seed] = ops.segment_advantage(value, known & rollout.mask[seed], rollout.mask[seed], score[seed])
    return result


def branching(rollout: Rollout) -> tuple[Tensor, Tensor]:
    """The row that each row branched from (-1: none) and where, `[S, N]` each; all -1 and 0 where no row branched."""
    if rollout.parent is None:
        return torch.full_like(rollout.group, -1), torch.zeros_like(rollout.group)
    return rollout.parent, rollout.branch_at


@dataclass(frozen=True)
class TreeAdvantage:
    """The value of an edge's end less that of its beginning, on all of its tokens, `[S, N, T]`: the distance from the mean of its siblings."""

    normalize_std: bool = False

    def __call__(self, rollout: Rollout) -> Tensor:
        score, counts, (parent, _) = rollout.reward.sum(-1), scored(rollout), branching(rollout)
        result = torch.zeros_like(score)
        for seed in range(len(score)):
            value, known = ops.tree_values(score[seed], parent[seed], counts[seed])
            # Edges from the start of a problem are siblings by their group.
            siblings = Grouping(torch.where(parent[seed] >= 0, parent[seed], len(value) + rollout.group[seed]))
            advantage = ops.group_normalized_advantage(siblings.pack(value), siblings.pack(known), normalize_std=self.normalize_std)
            result[seed] = siblings.unpack(advantage)
        return result.unsqueeze(-1) * rollout.mask


@dataclass(frozen=True)
class UncertainTokens:
    """The steps of tokens less probable than `threshold`, `[S, N, T]`."""

    threshold: float

    def __call__(self, rollout: Rollout) -> Tensor:
        return rollout.mask & (rollout.log_prob.exp() < self.threshold)


def deciding_edges(rollout: Rollout) -> Tensor:
    """The steps of edges whose advantage is not 0, `[S, N, T]`; where all siblings are worth the same it is 0 exactly."""
    return rollout.mask & (rollout.extras["advantage"] != 0)


@method("spo", family="rlvr", paper="arXiv:2505.23564", worlds=("text", "sequences"))
def spo(h: SPO) -> PolicyGradient:
    if h.structure == "chain":
        sample = SegmentProbes(h.prompts, h.group_size, probes=h.probes, threshold=h.threshold, every=h.cut_every)
    else:
        sample = Tree(h.prompts, h.branching, h.chunk)
    return PolicyGradient(
        sample=sample,
        credit=chain_advantage if h.structure == "chain" else TreeAdvantage(h.normalize_std),
        focus=[UncertainTokens(h.threshold), *([deciding_edges] if h.structure == "tree" else [])],
        terms=[ClippedRatio(h.clip, h.clip)],
        reduce="token-mean",
        **h.updates,
    )
