"""Advantages and clips that look at tokens: statistics in which long answers weigh more, and changes by how uncertain a token is (HAPO, arXiv:2509.16591)."""

from __future__ import annotations

import torch
from torch import Tensor

from operant.ops.advantage import group_normalized_advantage


def token_weighted_advantage(score: Tensor, mask: Tensor | None, length: Tensor, *, limit: float = 5.0, eps: float = 1e-6) -> Tensor:
    """Group-relative advantage whose mean and standard deviation are over all tokens of the group: an answer counts once a token (HAPO).

    With answers of one length it is GRPO's with the population's standard deviation. One short answer among long ones may come out huge: a group in which any
    advantage reaches `limit` gets `group_normalized_advantage`, as in the authors' code.

    Args:
        score: `[..., K]`.
        mask: `[..., K]` bool; members that are False get 0 and enter no statistic. None: all.
        length: `[..., K]`, tokens of each answer, >= 1.
        limit: of the advantage's magnitude, > 0.
        eps: added to the standard deviation, in units of the score.

    Returns:
        `[..., K]`; exactly 0 in groups whose scores are all equal.
    """
    mask = torch.ones_like(score, dtype=torch.bool) if mask is None else mask.bool()
    plain = group_normalized_advantage(score, mask)
    weight = length.to(score.dtype).masked_fill(~mask, 0.0)
    total = weight.sum(-1, keepdim=True).clamp(min=1)
    score = score.masked_fill(~mask, 0.0)
    centred = (score - (weight * score).sum(-1, keepdim=True) / total).masked_fill(~mask, 0.0)
    std = ((weight * centred.square()).sum(-1, keepdim=True) / total).sqrt()
    advantage = centred / (std + eps)
    alike = (plain == 0).all(-1, keepdim=True)
    large = (advantage.abs() >= limit).any(-1, keepdim=True)
    return torch.where(large | alike, plain, advantage)


def entropy_scaled_clip(signal: Tensor, *, clip_low: float, clip_high: float) -> tuple[Tensor, Tensor]:
    """Clip range of each token: below 1 it is wider for certain tokens, above 1 for uncertain ones (HAPO).

    clip_low (1 - signal) where the signal is negative, clip_high (1 + signal) where it is positive; the other bound stays.

    Args:
        signal: `[...]`, -1 (most certain of the batch) to 1 (`normalized_log_entropy`).
        clip_low, clip_high: where the signal is 0.

    Returns:
        (clip_low, clip_high), `[...]` each.
    """
    return clip_low * (1 - signal.clamp(max=0)), clip_high * (1 + signal.clamp(min=0))


def redistributed_advantage(advantage: Tensor, signal: Tensor, ratio: Tensor, *, clip_low: Tensor, clip_high: Tensor) -> Tensor:
    """A (1 + signal) for uncertain tokens whose ratio left the neutral zone, and for certain ones within it; else A (HAPO).

    The zone reaches half of the way to either clip. Uncertain tokens that move are pushed on, certain ones are held back until they move.

    Args:
        advantage, ratio: `[...]`, without gradient.
        signal: `[...]`, -1 to 1.
        clip_low, clip_high: `[...]`, of `entropy_scaled_clip`.
    """
    neutral = (ratio > 1 - clip_low / 2) & (ratio < 1 + clip_high / 2)
    return torch.where((signal > 0) ^ neutral, advantage * (1 + signal), advantage)
