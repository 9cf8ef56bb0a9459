"""Scores over decision frequencies."""

from __future__ import annotations

from torch import Tensor


def frequency_averaged_score(interval: Tensor, score: Tensor) -> Tensor:
    """The area under the curve of scores over decision intervals, over their range (FAS, arXiv:2410.08979): of a constant curve its constant. `[...]`

    Args:
        interval: `[I]`, steps between two decisions, rising, two at the least.
        score: `[..., I]`.
    """
    widths = interval.to(score.dtype).diff()
    return (widths * (score[..., 1:] + score[..., :-1]) / 2).sum(-1) / widths.sum()
