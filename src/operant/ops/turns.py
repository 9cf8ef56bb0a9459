"""Rewards and advantages of turns: what a policy writes until somebody replies.

Tokens stand as `[..., T]` with the number of their turn; turns as `[..., M]`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from operant.ops.advantage import group_normalized_advantage


def turn_sums(x: Tensor, turn: Tensor, turns: int) -> Tensor:
    """The sum of `x` over the tokens of each turn.

    Args:
        x: `[..., T]`, 0 where a token belongs to nothing.
        turn: `[..., T]` int64, 0 to `turns` - 1.

    Returns:
        `[..., turns]`.
    """
    return x.new_zeros(*x.shape[:-1], turns).scatter_add(-1, turn, x)


def turn_ends(turn: Tensor, mask: Tensor) -> Tensor:
    """The last chosen token of each turn.

    Args:
        turn: `[..., T]` int64.
        mask: `[..., T]` bool, the tokens that the policy chose.

    Returns:
        `[..., T]` bool; none in turns without a chosen token.
    """
    place = torch.arange(turn.shape[-1], device=turn.device).expand(turn.shape).masked_fill(~mask, -1)
    last = torch.full_like(turn, -1).scatter_reduce(-1, turn, place, "amax")
    return mask & (place == last.gather(-1, turn))


def turn_gains(value: Tensor, start: Tensor) -> Tensor:
    """How much each turn adds to a value: g_t - g_{t-1} (IGPO, arXiv:2510.14967). Their sum is the last value less that at the start.

    Args:
        value: `[..., M]`, after each turn.
        start: `[...]`, before the first.

    Returns:
        `[..., M]`.
    """
    return value - torch.cat([start.unsqueeze(-1), value[..., :-1]], -1)


def turn_returns(reward: Tensor, *, gamma: float) -> Tensor:
    """Discounted sums from each turn to the last, `[..., M]` of rewards `[..., M]`; `gamma` (0 to 1) is the discount a turn."""
    total, found = torch.zeros_like(reward[..., 0]), []
    for place in reversed(range(reward.shape[-1])):
        total = reward[..., place] + gamma * total
        found.append(total)
    return torch.stack(found[::-1], -1)


def pooled_turn_advantage(reward: Tensor, mask: Tensor, *, gamma: float = 1.0, eps: float = 1e-6) -> Tensor:
    """Rewards of all turns of a group standardised together, and summed from each turn on (IGPO, arXiv:2510.14967).

    Args:
        reward: `[..., K, M]`, of K rows of a group.
        mask: `[..., K, M]` bool, turns that there are.
        gamma: discount a turn, 0 to 1.
        eps: added to the standard deviation, in units of the reward.

    Returns:
        `[..., K, M]`; exactly 0 in groups whose turns are all rewarded alike, and where there is no turn.
    """
    standard = group_normalized_advantage(reward.flatten(-2), mask.flatten(-2), eps=eps).view_as(reward)
    return turn_returns(standard.masked_fill(~mask, 0.0), gamma=gamma).masked_fill(~mask, 0.0)
