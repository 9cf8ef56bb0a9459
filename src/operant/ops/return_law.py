"""Distributions of returns on a grid, states that say what was gained, and what is made large of them.

A law is probabilities `[..., F]` of returns that are whole numbers of units, f counting from `low`.
"""

from __future__ import annotations

import torch
from torch import Tensor


def stock_backup(law: Tensor, transition: Tensor, units: Tensor) -> Tensor:
    """One step of distributional dynamic programming with stock (arXiv:2501.13028): the law of r + G' with G' of (s', c + r), for every action.

    Args:
        law: `[..., K, C, F]`, of what is to come from a state and a stock c, which is one of C whole numbers in a row.
        transition: `[..., K, A, K]`.
        units: `[K, A]` int64, r. What leaves the stocks' range counts as at its end; what leaves that of the returns must have no probability.

    Returns:
        `[..., K, A, C, F]`.
    """
    stocks, returns = law.shape[-2:]
    mixed = torch.einsum("...kaj,...jcf->...kacf", transition, law)
    stock = (torch.arange(stocks, device=law.device) + units.unsqueeze(-1)).clamp(0, stocks - 1)
    mixed = mixed.gather(-2, stock.unsqueeze(-1).expand_as(mixed))
    before = torch.arange(returns, device=law.device) - units.unsqueeze(-1)
    moved = mixed.gather(-1, before.clamp(0, returns - 1).unsqueeze(-2).expand_as(mixed))
    return torch.where(((before >= 0) & (before < returns)).unsqueeze(-2), moved, 0.0)


def conditional_value_at_risk(value: Tensor, law: Tensor, *, level: float) -> Tensor:
    """CVaR: the mean of the worst share `level` of a distribution, max_c c - E[(c - G)+] / level (Rockafellar and Uryasev 2000), `[...]`.

    Args:
        value: `[F]`, ascending.
        law: `[..., F]`, probabilities of them.
        level: above 0, to 1, which is the mean.
    """
    before = law.cumsum(-1) - law
    return (torch.minimum(law, (level - before).clamp(min=0)) * value).sum(-1) / level
