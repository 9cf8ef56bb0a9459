"""Submodular utilities of the places that a path visits, as what each step adds to them: F(S + s) − F(S), which shrinks as S grows.

Each is monotone, F of no place is 0, and the gains of a path sum to F of the set of its places, however often they are visited (arXiv:2307.13372).
"""

from __future__ import annotations

import torch
from torch import Tensor


def facility_gains(similarity: Tensor, weight: Tensor, visited: Tensor) -> Tensor:
    """Gains of facility location, F(S) = Σ_c w_c max_{s in S} a(s, c); with a(s, c) of 0 or 1 that is the weight of what S covers.

    Args:
        similarity: a, `[K, C]`, at least 0.
        weight: w, `[C]`, at least 0.
        visited: places `[..., T]` int64, in order.

    Returns:
        `[..., T]`, the gain of each.
    """
    best = similarity[visited].cummax(-2).values  # [..., T, C]
    before = torch.cat([torch.zeros_like(best[..., :1, :]), best[..., :-1, :]], -2)
    return ((best - before) * weight).sum(-1)


def information_gains(covariance: Tensor, visited: Tensor, *, noise: float) -> Tensor:
    """Gains of what noisy measurements tell of a Gaussian process, F(S) = log det(I + K_S / noise) / 2, nats.

    A gain is log(1 + v / noise) / 2, v being the variance that is left at a place, and 0 where it was measured before.

    Args:
        covariance: K, `[K, K]`.
        visited: places `[..., T]` int64, in order.
        noise: variance of a measurement, above 0.

    Returns:
        `[..., T]`, the gain of each.
    """
    length = visited.shape[-1]
    among = covariance[visited.unsqueeze(-1), visited.unsqueeze(-2)]  # [..., T, T]
    again = ((visited.unsqueeze(-1) == visited.unsqueeze(-2)) & torch.ones(length, length, dtype=torch.bool, device=visited.device).tril(-1)).any(-1)
    first = (~again).to(among.dtype)
    # Places that were measured before become independent of all others and certain, so that they say nothing.
    system = torch.eye(length, dtype=among.dtype, device=among.device) + among / noise * first.unsqueeze(-1) * first.unsqueeze(-2)
    return torch.linalg.cholesky(system).diagonal(dim1=-2, dim2=-1).log()
