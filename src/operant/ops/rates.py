"""Rates of growth and decay."""

from __future__ import annotations

from torch import Tensor


def log_log_slope(x: Tensor, y: Tensor) -> Tensor:
    """The slope of the least-squares line of log y on log x: the exponent b of y = a x^b. `[...]`; NaN where a y is not above 0.

    Args:
        x: `[P]`, above 0, not all equal.
        y: `[..., P]`.
    """
    across, up = x.log(), y.clamp(min=0).log()
    across = across - across.mean()
    slope = (across * up).sum(-1) / across.square().sum()
    return slope.where((y > 0).all(-1), slope.new_tensor(float("nan")))
