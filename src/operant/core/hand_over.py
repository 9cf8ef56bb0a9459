"""Tensors on their way from the processor's memory to a device."""

from __future__ import annotations

import torch
from torch import Tensor


def handed_over(x: Tensor, device: torch.device) -> Tensor:
    """A tensor of the processor on the device where it is wanted; itself where it is there already.

    A GPU takes it from memory that the system does not move, while the processor goes on: what stands in `x` may be overwritten at once.
    """
    if device.type != "cuda":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)
