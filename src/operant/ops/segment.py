"""Advantages of parts of an answer: windows of one that is still being written, segments, edges of a tree."""

from __future__ import annotations

import torch
from torch import Tensor

from operant.ops.advantage import ROUNDING, gae


def extended_gae(reward: Tensor, value: Tensor, next_value: Tensor, terminated: Tensor, unfinished: Tensor, *, gamma: float, lam: float) -> Tensor:
    """GAE of answers that are cut before their end: the value behind the cut is taken to be the last known one (T-PPO, arXiv:2506.15050, section 3.1).

    At the cut delta = r + gamma V(s_t) - V(s_t), which is 0 for gamma = 1 and no reward; elsewhere this is `gae`.

    Args:
        reward, value, next_value: `[..., T]`, as for `gae`; `next_value` is not looked at where a row is cut.
        terminated: `[..., T]` bool, the last step of a finished answer.
        unfinished: `[..., T]` bool, the last step so far of an answer that goes on later.
        gamma: discount, 0 to 1.
        lam: 0 to 1.

    Returns:
        `[..., T]`, the dtype of `value`.
    """
    return gae(reward, value, torch.where(unfinished, value, next_value), terminated, unfinished, gamma=gamma, lam=lam)


def segment_starts(log_prob: Tensor, mask: Tensor, *, threshold: float, every: int) -> Tensor:
    """Where the segments of answers begin (SPO, arXiv:2505.23564, section 4.1): each holds `every` cut points, tokens less probable than `threshold`.

    A boundary stands before its cut point, where the answer may still go either way. The first segment begins with the answer; the last may hold fewer.

    Args:
        log_prob: `[..., T]` of the tokens under the policy that drew them, nats.
        mask: `[..., T]` bool, the answer's tokens; they come first.
        threshold: probability, 0 to 1.
        every: cut points a segment, >= 1.

    Returns:
        `[..., T]` bool.
    """
    cut = mask & (log_prob.exp() < threshold)
    number = cut.cumsum(-1) - 1  # of the cut point, from 0
    starts = cut & (number > 0) & (number % every == 0)
    first = torch.zeros_like(mask)
    first[..., 0] = True
    return (starts | first) & mask


def segment_advantage(value: Tensor, start: Tensor, mask: Tensor, score: Tensor) -> Tensor:
    """V(end) - V(start) of the segment that each token stands in; the end of the last one is worth the score (SPO, arXiv:2505.23564, section 4.2).

    Over the segments of an answer the advantages sum to score - V(first start).

    Args:
        value: `[..., T]`, looked at where `start` is True only: the value of what stands before that token.
        start: `[..., T]` bool, tokens that begin a segment; the first token of every answer is one.
        mask: `[..., T]` bool, the answer's tokens; they come first.
        score: `[...]` of the whole answer.

    Returns:
        `[..., T]`, 0 where the mask is False, and where the two values are equal up to rounding.
    """
    steps = torch.arange(value.shape[-1], device=value.device).expand(value.shape)
    end = value.shape[-1]
    own = torch.where(start, steps, 0).cummax(-1).values
    following = torch.where(start, steps, end)[..., 1:]
    following = torch.cat([following, torch.full_like(steps[..., :1], end)], -1).flip(-1).cummin(-1).values.flip(-1)
    known = torch.cat([value.masked_fill(~start, 0.0), score.unsqueeze(-1)], -1)
    before, after = known.gather(-1, own), known.gather(-1, following)
    alike = (after - before).abs() <= ROUNDING * torch.finfo(value.dtype).eps * torch.maximum(before.abs(), after.abs())
    return (after - before).masked_fill(~mask | alike, 0.0)


def tree_values(score: Tensor, parent: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Values of the nodes of trees from the bottom up: a leaf is worth its score, another node the mean of its children (SPO, arXiv:2505.23564, section 4.2).

    Args:
        score: `[N]`, looked at for leaves only.
        parent: `[N]` int64, -1 for none; a parent stands before its children.
        counts: `[N]` bool, leaves that were scored; looked at for leaves only.

    Returns:
        Values `[N]`, and which nodes have one `[N]`: scored leaves, and nodes with a child that has one.
    """
    depth = torch.zeros_like(parent)
    above = parent
    while bool((above >= 0).any()):
        depth = depth + (above >= 0)
        above = torch.where(above >= 0, parent[above], -1)
    inner = torch.zeros_like(counts)
    inner[parent[parent >= 0]] = True
    value, known = score.masked_fill(inner | ~counts, 0.0), counts & ~inner
    for level in range(int(depth.max()), 0, -1):
        children = (depth == level) & known
        number = torch.zeros_like(value).index_add(0, parent[children], torch.ones_like(value[children]))
        total = torch.zeros_like(value).index_add(0, parent[children], value[children])
        value = torch.where(number > 0, total / number.clamp(min=1), value)
        known = known | (number > 0)
    return value, known
