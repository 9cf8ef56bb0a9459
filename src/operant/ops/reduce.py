"""The reducer: the one place that knows what a loss is divided by.

Weights are computed once, on the mask of everything that one optimiser step learns from; micro-batches, padding and the order of rows then cannot change
the loss `sum(weights * per_step_value)` or its gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

KINDS = ("token-mean", "sequence-mean", "sequence-sum")


def step_weights(mask: Tensor, kind: str, *, length: int | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """Weight of every step, such that the loss of a seed is the sum over its rows and steps of weight times per-step value.

    - `token-mean`: 1 / (the seed's chosen steps): every step counts alike (DAPO, arXiv:2503.14476, section 3.3; PPO's mean over a batch).
    - `sequence-mean`: the mean over rows of each row's own mean over steps (GRPO, arXiv:2402.03300, eq. 3). Rows without a chosen step count for nothing.
    - `sequence-sum`: the sum of steps divided by (rows with a chosen step) * `length` (Dr. GRPO, arXiv:2503.20783, section 3.2): no bias by length.

    Args:
        mask: `[S, N, T]` bool, the steps that the policy chose.
        kind: one of the above.
        length: the constant divisor of `sequence-sum`, steps > 0 (the largest number of new tokens), the same for every update of a run.
        dtype: of the weights.

    Returns:
        `[S, N, T]`; 0 where the mask is False, and all 0 for a seed with no chosen step. The values it multiplies must be finite in the padding too.

    Raises:
        ValueError: unknown kind, or `sequence-sum` without a positive length.
    """
    mask = mask.bool()
    chosen = mask.to(dtype)
    if kind == "token-mean":
        return chosen / chosen.sum((-2, -1), keepdim=True).clamp(min=1)
    rows = mask.any(-1, keepdim=True).to(dtype).sum(-2, keepdim=True).clamp(min=1)
    if kind == "sequence-mean":
        return chosen / (chosen.sum(-1, keepdim=True).clamp(min=1) * rows)
    if kind == "sequence-sum":
        if length is None or length <= 0:
            raise ValueError(f"sequence-sum divides by a constant length: give length > 0, got {length}")
        return chosen / (rows * length)
    raise ValueError(f"unknown kind of reduction {kind!r}: known: {', '.join(KINDS)}")


def row_sum(x: Tensor, mask: Tensor) -> Tensor:
    """Sum over the chosen steps of each row, `[..., T]` -> `[..., 1]`.

    Args:
        x: `[..., T]`; what stands where the mask is False does not matter, NaN included.
        mask: `[..., T]` bool.
    """
    return x.masked_fill(~mask.bool(), 0.0).sum(-1, keepdim=True)


def row_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the chosen steps of each row, `[..., T]` -> `[..., 1]`; 0 for a row without one. Arguments as `row_sum`."""
    return row_sum(x, mask) / mask.sum(-1, keepdim=True).clamp(min=1)
