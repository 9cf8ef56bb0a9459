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


def clipped_weighted_residual(weight: Tensor, residual: Tensor, count: Tensor, *, clip: float, penalty: float) -> Tensor:
    """Σ N (w δ - penalty w²) / Σ N over P pairs with w clipped at `clip`, of every ratio and every value function, `[..., W, F]`: what density ratios make of
    Bellman residuals, by which a value function is held or dropped (Amortila et al. 2024, arXiv:2401.09681, algorithm 1). The clip keeps a ratio that the data
    hardly cover from deciding all.

    Args:
        weight: `[..., W, P]`, w, 0 or more, infinite allowed.
        residual: `[..., F, P]`, δ, its mean over the data of each pair.
        count: `[..., P]`, N, how often each pair was seen.
        clip: above 0.
        penalty: 0 or more.
    """
    w = weight.clamp(max=clip)
    weighted = w * (count / count.sum(-1, keepdim=True).clamp(min=1)).unsqueeze(-2)
    return weighted @ residual.mT - penalty * (weighted * w).sum(-1, keepdim=True)
