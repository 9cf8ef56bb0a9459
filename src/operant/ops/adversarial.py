"""Learning against losses that an adversary chose, from what was paid along the way alone: estimates that are unbiased, and policies that follow them."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 20  # of Newton's method: x doubles at least until it is near, and then twice as many digits are right each time


def log_barrier_policy(loss: Tensor, *, rate: float) -> Tensor:
    """The p that minimises rate · <p, loss> + Σ_a log(1 / p_a) over distributions: p_a = 1 / (rate · loss_a + x), with x such that they sum to 1, by
    Newton's method (Foster et al. 2016, arXiv:1606.06247, section 3).

    Args:
        loss: `[..., A]`, what each action has cost so far.
        rate: above 0.
    """
    above = rate * (loss - loss.amin(-1, keepdim=True))
    x = torch.ones_like(above[..., :1])  # where they sum to 1 or more: from there Newton's steps only go up
    for _ in range(ROUNDS):
        p = 1 / (above + x)
        x = x + (p.sum(-1, keepdim=True) - 1) / p.square().sum(-1, keepdim=True)
    p = 1 / (above + x)
    return p / p.sum(-1, keepdim=True)


def magnitude_reduced(projection: Tensor, paid: Tensor, mean_negative: Tensor, *, most: float) -> Tensor:
    """X · L - most · min(X, 0) + m, an estimate of a linear loss from one that was paid: as unbiased as X · L, and never below m, m = most · E min(X, 0) (Dai,
    Luo, Wei and Zimmert 2023, arXiv:2301.12942, section 4).

    Args:
        projection: X, `[...]`, phi(x, a)ᵀ Σ⁻¹ phi of the pair that was taken.
        paid: L, in [0, most].
        mean_negative: E min(X, 0) over the pairs that may be taken.
        most: the largest loss.
    """
    return projection * paid - most * projection.clamp(max=0) + most * mean_negative
