"""Numbers as paths through bins within bins."""

from __future__ import annotations

import torch
from torch import Tensor


def coarse_to_fine_bins(x: Tensor, *, levels: int, bins: int) -> Tensor:
    """Which bin a number lies in at each level, where each cuts the bin of the level before, and the first [-1, 1], into as many equal parts (coarse to fine,
    CQN, arXiv:2407.07787): the digits, in base `bins`, of its place among the smallest ones. `[...]` -> `[..., L]` int64.

    Args:
        x: what lies outside counts as the nearest end.
        levels, bins: bins^levels must be exact in the numbers' type (2^24 in float32).
    """
    place = ((x + 1) / 2 * bins**levels).long().clamp(0, bins**levels - 1)
    return place.unsqueeze(-1) // bins ** torch.arange(levels - 1, -1, -1, device=x.device) % bins


def coarse_to_fine_middles(index: Tensor, *, bins: int) -> Tensor:
    """The middle of what a path has come down to before its first level (0) and behind each, the last being the number that it stands for: sums of
    (2 i_l + 1 - bins) / bins^l, l from 1. `[..., L]` -> `[..., L + 1]`, of torch's default type.

    Args:
        index: of a bin at each level, 0 to bins - 1.
    """
    level = torch.arange(1, index.shape[-1] + 1, device=index.device)
    return torch.nn.functional.pad(((2 * index + 1 - bins) / bins**level).cumsum(-1), (1, 0))
