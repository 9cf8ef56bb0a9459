"""The worst that transitions can become where nature pays for their change: inf_mu E_mu[V] + price · D(mu, mu0), in closed form.

Source: Tang et al. 2024, arXiv:2411.18612, propositions of its section on duality. mu0 is weights of the K next states, `[..., d, K]` for d factors, which
estimates need not have made probabilities; values are `[..., K]` and at least 0. For probabilities the closed forms are exact.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def total_variation_robust(weight: Tensor, value: Tensor, *, price: float, least: Tensor) -> Tensor:
    """E_mu0[min(V, least + price)], `[..., d]`: of D = Σ |mu - mu0| / 2.

    Args:
        weight: mu0, `[..., d, K]`.
        value: `[..., K]`.
        price: above 0, in units of the value.
        least: `[...]`, the smallest value that nature can lead to.
    """
    return (weight @ torch.minimum(value, least.unsqueeze(-1) + price).unsqueeze(-1)).squeeze(-1)


def kl_robust(weight: Tensor, value: Tensor, *, price: float, most: float) -> Tensor:
    """-price · log E_mu0[exp(-V / price)], `[..., d]`: of D = KL(mu, mu0). The mean is held above exp(-most / price), whatever estimates make of it.

    Args:
        weight, value, price: as of `total_variation_robust`.
        most: the largest value.
    """
    mean = (weight @ (-value / price).exp().unsqueeze(-1)).squeeze(-1)
    return -price * mean.clamp(min=max(math.exp(-most / price), 1e-300)).log()


def chi_square_robust(weight: Tensor, value: Tensor, *, price: float) -> Tensor:
    """sup_a E_mu0[V_a] - Var_mu0[V_a] / (4 price), V_a = min(V, a), `[..., d]`: of D = E_mu0[(dmu / dmu0 - 1)²].

    Between two values that follow each other the supremand is quadratic in a, so that its largest value is at one of the values or where its slope is 0.

    Args:
        weight, value, price: as of `total_variation_robust`.
    """
    low = value.sort(-1).values
    high = torch.cat([low[..., 1:], low[..., -1:]], -1)
    below = value.unsqueeze(-2) <= low.unsqueeze(-1)  # [..., K, K]: of each piece the states whose value is not cut there
    first = torch.einsum("...dk,...nk->...dn", weight, below * value.unsqueeze(-2))
    second = torch.einsum("...dk,...nk->...dn", weight, below * value.unsqueeze(-2).square())
    kept = torch.einsum("...dk,...nk->...dn", weight, below.to(weight.dtype))
    over = weight.sum(-1, keepdim=True) - kept  # the weight of what is cut
    flat = torch.where(kept > 1e-9, (2 * price + first) / kept.clamp(min=1e-9), high.unsqueeze(-2))  # where the slope is 0
    found = []
    for cut in (low.unsqueeze(-2).expand_as(flat), torch.minimum(torch.maximum(flat, low.unsqueeze(-2)), high.unsqueeze(-2))):
        mean = first + over * cut
        variance = (second + over * cut.square() - mean.square()).clamp(min=0)
        found.append(mean - variance / (4 * price))
    return torch.maximum(*found).amax(-1)

