"""Duals of distribution correction: convex conjugates of f-divergences, and the update that keeps one gradient out of another's way."""

from __future__ import annotations

from torch import Tensor


def chi_square_conjugate(residual: Tensor) -> Tensor:
    """Convex conjugate over weights w >= 0 of Pearson's f(w) = (w - 1)^2: x w - (w - 1)^2 at its largest, w = max(x / 2 + 1, 0) (arXiv:2402.00348, eq. 6).

    It is x + x^2 / 4 from x = -2 on, and -1 below; its derivative is w. The dual of f-DICE takes it of the Bellman residual r + gamma V(s') - V(s).

    Args:
        residual: `[...]`.
    """
    weight = (residual / 2 + 1).clamp(min=0)
    return residual * weight - (weight - 1).square()


def orthogonal_part(gradient: Tensor, along: Tensor) -> Tensor:
    """What is left of a gradient without its component along another: g - (g . a / |a|^2) a, orthogonal to a (O-DICE, arXiv:2402.00348, eq. 8).

    A step along it leaves, to first order, a loss alone whose gradient is a. Sums are taken in float64, so that what is left is orthogonal to rounding even
    where it is small beside what was taken away.

    Args:
        gradient, along: `[..., P]`, all parameters end to end; each leading index is a gradient of its own.
    """
    g, a = gradient.double(), along.double()
    share = (g * a).sum(-1, keepdim=True) / a.square().sum(-1, keepdim=True).clamp(min=1e-20)
    return (g - share * a).to(gradient.dtype)
