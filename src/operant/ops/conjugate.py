"""Linear systems of which only products with the matrix are known."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradients(product: Callable[[Tensor], Tensor], right: Tensor, *, iterations: int, tolerance: float = 1e-10) -> Tensor:
    """An approximate solution x of A x = b for symmetric positive definite A, of all systems side by side (Hestenes and Stiefel 1952), begun at 0.

    Args:
        product: `[..., P] -> [..., P]`, A times a vector of each system.
        right: b, `[..., P]`.
        iterations: at most; the result is exact after P of them, up to rounding.
        tolerance: a system stands still once the square of its residual's length is at most this.

    Returns:
        `[..., P]`. No number is read to the host.
    """
    found, residual, direction = torch.zeros_like(right), right, right
    square = residual.square().sum(-1, keepdim=True)
    for _ in range(iterations):
        image = product(direction)
        going = square > tolerance
        step = torch.where(going, square / (direction * image).sum(-1, keepdim=True), 0.0)
        found = found + step * direction
        residual = residual - step * image
        after = residual.square().sum(-1, keepdim=True)
        direction = residual + torch.where(going, after / square, 0.0) * direction
        square = after
    return found
