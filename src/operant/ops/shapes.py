"""What tensors that belong together must agree in."""

from __future__ import annotations

from torch import Tensor


def same_axes(op: str, **tensors: Tensor) -> None:
    """Raise `ValueError` where tensors that an op combines have not the same number of axes.

    An axis that one of them lacks would be lined up from the right, `[S, B]` with the last two of `[S, E, B]`: seeds with critics. What is shared along an axis
    has it with size 1. A number alone goes with everything.
    """
    if len({tensor.ndim for tensor in tensors.values() if tensor.ndim}) > 1:
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
        raise ValueError(f"{op}: the same number of axes is wanted (size 1 where one is shared, by unsqueeze), found {shapes}")
