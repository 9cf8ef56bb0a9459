"""Linear regression on known features of pairs, and how far what it says may be off: tables `[..., K, A, d]` with seeds and steps in front, which broadcast."""

from __future__ import annotations

import torch
from torch import Tensor


def elliptic_norm(features: Tensor, inverse: Tensor) -> Tensor:
    """√(phiᵀ Λ⁻¹ phi) of each pair, `[..., K, A]`: large where little was seen that is like it (Jin et al. 2020, arXiv:1907.05388, algorithm 1, line 6).

    Args:
        features: `[..., K, A, d]`.
        inverse: Λ⁻¹, `[..., d, d]`, symmetric and positive.
    """
    return ((features @ inverse.unsqueeze(-3)) * features).sum(-1).clamp(min=0).sqrt()


def feature_covariance(features: Tensor, count: Tensor) -> Tensor:
    """Σ N(s, a) phi phiᵀ, `[..., d, d]`.

    Args:
        features: `[..., K, A, d]`.
        count: `[..., K, A]`, N, how often each pair was seen (of an occupancy: the expected features' second moment).
    """
    phi = features.flatten(-3, -2)
    return phi.mT @ (phi * count.flatten(-2).unsqueeze(-1))


def ridge_model(features: Tensor, count: Tensor, following: Tensor, gained: Tensor, *, ridge: float) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards `[..., K, A]` and transitions `[..., K, A, K]` as ridge regression on features has them, and the elliptic norm of each pair `[..., K, A]`.

    With Λ = ridge · I + Σ phi phiᵀ over all steps, the reward of a pair is phiᵀ Λ⁻¹ Σ phi r, and what comes next phiᵀ Λ⁻¹ Σ phi e(s'); so that reward plus
    transition times V is what least squares says of r + V(s') (Jin et al. 2020, arXiv:1907.05388, algorithm 1, line 5), for every V at once.

    Args:
        features: `[..., K, A, d]`.
        count, gained: `[..., K, A]`, how often each pair was seen, and the sum of its rewards.
        following: `[..., K, A, K]`, how often each state came next.
        ridge: above 0.
    """
    phi = features.flatten(-3, -2)
    eye = torch.eye(features.shape[-1], dtype=features.dtype, device=features.device)
    inverse = torch.linalg.inv_ex(ridge * eye + feature_covariance(features, count))[0]
    sums = torch.cat([gained.flatten(-2).unsqueeze(-1), following.flatten(-3, -2)], -1)
    found = (phi @ (inverse @ (phi.mT @ sums))).unflatten(-2, count.shape[-2:])
    return found[..., 0], found[..., 1:], elliptic_norm(features, inverse)


def excess_squared_loss(q: Tensor, fitted: Tensor, mean: Tensor, count: Tensor) -> Tensor:
    """Σ (Q - y)² over the data, less that of the best fit: by how much a Q misses its targets more than any Q must, `[...]` (Jin, Liu and Miryoosefi 2021,
    arXiv:2102.00815, algorithm 1, the set that GOLF keeps). The targets' own scatter is in both and drops out.

    Args:
        q: `[..., K, A]`.
        fitted: the least-squares fit to the targets, of the same shape.
        mean: of each pair's targets.
        count: how many there are.
    """
    return (count * ((q - mean).square() - (fitted - mean).square())).sum((-2, -1))


def mixture_features(kernels: Tensor, value: Tensor) -> Tensor:
    """phi_V(s, a) = (Σ_s' P_j(s'|s, a) V(s'))_j of transitions that are a mixture of known ones, so that <phi_V, theta> is the mean of V next: `[..., K, A, d]`
    (Ayoub et al. 2020, arXiv:2006.01107, section 3).

    Args:
        kernels: `[..., d, K, A, K]`.
        value: `[..., K]`.
    """
    count, states, actions = kernels.shape[-4:-1]
    flat = kernels.flatten(-4, -2) @ value.unsqueeze(-1)
    return flat.view(*flat.shape[:-2], count, states, actions).movedim(-3, -1)


def uncertainty_weight(variance: Tensor, norm: Tensor, *, floor: float, gamma: float) -> Tensor:
    """w² = max(variance, floor, gamma² · norm), by whose inverse a target counts in a weighted regression: neither its noise nor what its features are unlike
    lets it weigh too much (Zhou and Gu 2022, arXiv:2205.11507, algorithm 2).

    Args:
        variance: `[...]`, an upper bound of the target's.
        norm: the elliptic norm of its features.
        floor: alpha², above 0.
        gamma: 0 or more.
    """
    return torch.maximum(variance, gamma**2 * norm).clamp(min=floor)
