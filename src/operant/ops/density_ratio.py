"""Ratios of densities, from what was seen beside what was drawn from a reference."""

from __future__ import annotations

import torch
from torch import Tensor


def contrastive_loss(positive: Tensor, negative: Tensor) -> Tensor:
    """log(1 + 1 / f) of f where something was seen plus log(1 + f) of f where something was drawn from a reference, `[...]`; its mean is smallest where f is
    the density of the one over that of the other (Qiu et al. 2022, arXiv:2207.14800, eq. 3.1).

    Args:
        positive, negative: f there, at least 0; an f of 0 where something was seen costs infinity.
    """
    return torch.log1p(1 / positive) + torch.log1p(negative)
