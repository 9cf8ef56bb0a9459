"""Mixtures of Gaussians with full covariances, fitted by expectation maximisation."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mixture_log_density(data: Tensor, weight: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """log w_k + log N(x; m_k, C_k) of each row and component, `[N, K]`; its logsumexp over K is the log density (Bishop 2006, eq. 9.7).

    Args:
        data: `[N, D]`.
        weight: `[K]`, sums to 1. mean: `[K, D]`. covariance: `[K, D, D]`, positive definite.
    """
    factor = torch.linalg.cholesky(covariance)
    away = torch.linalg.solve_triangular(factor, (data.unsqueeze(0) - mean.unsqueeze(1)).mT, upper=False)
    log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return (weight.log() - log_det - 0.5 * (data.shape[-1] * math.log(2 * math.pi) + away.square().sum(1).T)).contiguous()


def mixture_step(data: Tensor, responsibility: Tensor, *, floor: float = 1e-6) -> tuple[Tensor, Tensor, Tensor]:
    """The maximisation step (Bishop 2006, eq. 9.24 to 9.26): (weight `[K]`, mean `[K, D]`, covariance `[K, D, D]`).

    Args:
        data: `[N, D]`.
        responsibility: `[N, K]`, rows sum to 1.
        floor: added to the variances, so that a component may stand on one point.
    """
    count = responsibility.sum(0) + 1e-10
    mean = (responsibility.T @ data) / count.unsqueeze(-1)
    away = data.unsqueeze(0) - mean.unsqueeze(1)
    covariance = torch.einsum("nk,kni,knj->kij", responsibility, away, away) / count[:, None, None]
    return count / len(data), mean, covariance + floor * torch.eye(data.shape[-1], dtype=data.dtype, device=data.device)


def fit_gaussian_mixture(data: Tensor, first: Tensor, *, iterations: int = 100, tolerance: float = 1e-3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights `[K]`, means `[K, D]`, covariances `[K, D, D]` and the mean log density of the data, by expectation maximisation from k-means.

    Args:
        data: `[N, D]` float64.
        first: `[K]` int64, the rows at which k-means begins.
        iterations: at most; it ends where the mean log density has gained less than `tolerance`, in nats.
    """
    centre = data[first]
    for _ in range(10):
        nearest = torch.cdist(data, centre).argmin(-1)
        member = torch.nn.functional.one_hot(nearest, len(first)).to(data.dtype)
        count = member.sum(0).unsqueeze(-1)
        centre = torch.where(count > 0, member.T @ data / count.clamp(min=1), centre)
    weight, mean, covariance = mixture_step(data, member)
    before = -math.inf
    for _ in range(iterations):
        log_density = mixture_log_density(data, weight, mean, covariance)
        total = log_density.logsumexp(-1)
        likelihood = total.mean()
        if float(likelihood) - before < tolerance:
            break
        before = float(likelihood)
        weight, mean, covariance = mixture_step(data, (log_density - total.unsqueeze(-1)).exp())
    return weight, mean, covariance, mixture_log_density(data, weight, mean, covariance).logsumexp(-1).mean()


def mixture_aic(log_density: Tensor, *, rows: int, components: int, size: int) -> Tensor:
    """Akaike's criterion, 2 · (free parameters) - 2 · (log density of all rows); lower is better (Akaike 1974).

    A component has size means and size (size + 1) / 2 covariances, and all but one a weight.

    Args:
        log_density: mean over the rows. rows: N. components: K. size: D.
    """
    free = components * (size + size * (size + 1) // 2) + components - 1
    return 2 * free - 2 * rows * log_density
