"""Halpern iteration for 0 = F(u), and an estimate of F that remembers."""

from __future__ import annotations

from torch import Tensor


def halpern_step(start: Tensor, point: Tensor, operator: Tensor, *, iteration: int, rate: float) -> Tensor:
    """u ← λ u_0 + (1 - λ) (u - rate · F(u)), λ = 2 / (k + 4): each step leans back towards the start, ever less (Halpern 1967; arXiv:2310.02987, eq. 2).

    Args:
        start, point, operator: u_0, u and F(u) or an estimate of it, `[..., d]`.
        iteration: k, from 0.
        rate: above 0; 1 / (4 L) of an operator that is 1 / L-cocoercive.
    """
    anchor = 2 / (iteration + 4)
    return anchor * start + (1 - anchor) * (point - rate * operator)


def recursive_estimate(estimate: Tensor, now: Tensor, before: Tensor) -> Tensor:
    """F̃ ← F̃ + mean_i (F_i(u) - F_i(v)), of a batch of components at a point and the one before: PAGE between its full evaluations (Li et al. 2021).

    Args:
        estimate: F̃ at the point before, `[..., d]`.
        now, before: of each component of the batch at the point and the one before, `[..., B, d]`.
    """
    return estimate + (now - before).mean(-2)
