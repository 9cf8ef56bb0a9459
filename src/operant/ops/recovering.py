"""Recovering arms: what an arm pays hangs on how long it was left alone (arXiv:2106.14813).

An arm that is pulled every d steps pays reward[d - 1] each time, in the long run a d-th of that a step. Rewards do not fall as d grows, and stay as they are
from the last d on.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pull_rates(delays: int) -> Tensor:
    """The shares of steps 0, 1 / D, …, 1 / 2, 1 at which an arm can be pulled with one delay, ascending: `[D + 1]` float64."""
    return torch.cat([torch.zeros(1, dtype=torch.float64), 1 / torch.arange(delays, 0, -1, dtype=torch.float64)])


def concave_envelope(reward: Tensor) -> tuple[Tensor, Tensor]:
    """The most that an arm can pay a step when it is pulled in a share of the steps: the smallest concave function above (1 / d, reward(d) / d) and (0, 0).

    Args:
        reward: `[..., D]`, by the delay 1 … D, not falling.

    Returns:
        the rates `[D + 1]`, ascending, and the envelope at them `[..., D + 1]`.
    """
    rates = pull_rates(reward.shape[-1]).to(reward.device)
    pays = torch.cat([torch.zeros_like(reward[..., :1]), reward.flip(-1) * rates[1:]], -1)
    low, middle, high = rates.view(-1, 1, 1), rates.view(1, -1, 1), rates.view(1, 1, -1)
    between = (low <= middle) & (middle <= high) & (low < high)
    share = ((middle - low) / (high - low).clamp(min=1e-300)).clamp(0, 1)
    chord = pays[..., :, None, None] * (1 - share) + pays[..., None, None, :] * share
    return rates, torch.maximum(pays, torch.where(between, chord, -torch.inf).amax((-3, -1)))


def fill_rates(rates: Tensor, envelope: Tensor, pulls: float) -> Tensor:
    """The pull rates of all arms that pay most together within a number of pulls a step: max Σ F_i(x_i), Σ x_i ≤ K, F_i concave and linear between the rates.

    The steepest pieces first, so that all arms but one end at one of the rates.

    Args:
        rates: `[D + 1]`.
        envelope: `[..., N, D + 1]`, as `concave_envelope` gives it.
        pulls: K, above 0.

    Returns:
        `[..., N]`.
    """
    width = rates.diff()
    slope = envelope.diff(dim=-1) / width
    order = slope.flatten(-2).argsort(dim=-1, descending=True, stable=True)
    widths = width.expand(slope.shape).flatten(-2).gather(-1, order)
    useful = slope.flatten(-2).gather(-1, order) > 0
    taken = (pulls - (widths.cumsum(-1) - widths)).clamp(min=0).minimum(widths) * useful
    return torch.zeros_like(taken).scatter(-1, order, taken).unflatten(-1, slope.shape[-2:]).sum(-1)


def relaxed_value(rates: Tensor, envelope: Tensor, share: Tensor) -> Tensor:
    """Σ F_i(x_i), `[...]`: no schedule pays more a step.

    Args:
        rates, envelope: as of `fill_rates`.
        share: `[..., N]`, x.
    """
    inside = ((share.unsqueeze(-1) - rates[:-1]) / rates.diff()).clamp(0, 1)
    return (envelope[..., 0] + (inside * envelope.diff(dim=-1)).sum(-1)).sum(-1)
