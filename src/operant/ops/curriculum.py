"""What a teacher computes of a student's episodes."""

from __future__ import annotations

from torch import Tensor


def absolute_learning_progress(level: Tensor, outcome: Tensor, levels: Tensor, outcomes: Tensor) -> Tensor:
    """|R - R_old|, R_old being the outcome of the nearest level that was tried before, a number (ALP-GMM, arXiv:1910.07224, section 4.1).

    Args:
        level: `[d]`, in units in which distances mean the same along each axis. outcome: a number.
        levels: `[M, d]`, tried before, M at least 1. outcomes: `[M]`, theirs.
    """
    return (outcome - outcomes[(levels - level).square().sum(-1).argmin()]).abs()
