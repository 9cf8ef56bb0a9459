"""Advantages: how much better a step, or an answer, was than expected."""

from __future__ import annotations

import torch
from torch import Tensor


def gae(reward: Tensor, value: Tensor, next_value: Tensor, terminated: Tensor, truncated: Tensor, *, gamma: float, lam: float) -> Tensor:
    """Generalised advantage estimation (arXiv:1506.02438, eq. 16, cut at the ends of episodes).

    delta_t = r_t + gamma (1 - terminated_t) V(s'_t) - V(s_t);  A_t = delta_t + gamma lam (1 - ended_t) A_{t+1}, where ended is terminated or truncated.
    Truncation bootstraps from `next_value`, termination does not (and whatever `next_value` holds there is ignored, NaN included).

    Args:
        reward, value: `[..., T]`, V of the observation that was acted on.
        next_value: `[..., T]`, V of the true outcome of step t: the last observation of an episode, not the first of the next one.
        terminated, truncated: `[..., T]` bool.
        gamma: discount, 0 to 1.
        lam: 0 (one-step error) to 1 (return minus value).

    Returns:
        `[..., T]`, the dtype of `value`. The steps after the last one are taken to add nothing beyond its own `next_value`.
    """
    delta = reward + gamma * next_value.masked_fill(terminated, 0.0) - value
    decay = torch.full_like(delta, gamma * lam).masked_fill_(terminated | truncated, 0.0)
    # Sums over twice as many steps each turn: A over the next k steps, and what is left of A beyond them. T steps take log T turns, and no loop over time.
    advantage, ahead = delta, 1
    while ahead < delta.shape[-1]:
        advantage = torch.cat([torch.addcmul(advantage[..., :-ahead], decay[..., :-ahead], advantage[..., ahead:]), advantage[..., -ahead:]], -1)
        decay = torch.cat([decay[..., :-ahead] * decay[..., ahead:], decay[..., -ahead:]], -1)
        ahead *= 2
    return advantage


ROUNDING = 4  # units in the last place of the largest magnitude: what sums of equal rewards in another order differ by


def centre(x: Tensor, mask: Tensor | None = None, *, dim: int | tuple[int, ...] = -1) -> Tensor:
    """Elements less their mean, and exactly 0 where all are equal up to rounding: what is left of equal scores is no signal, and dividing makes it one.

    Equal means that they lie within `ROUNDING` units in the last place of the largest magnitude of each other (of float32, half a millionth of it), or
    within 1e-7, which is what is left of sums of scores near 1.

    Args:
        x: any shape. Where it has a gradient, so has the result, also where it is 0.
        mask: the shape of `x`, bool; elements that are False get 0 and are left out of the mean (they may be NaN). None: all.
        dim: axis or axes that share one mean.

    Returns:
        The shape of `x`.
    """
    if mask is None:
        centred, largest = x - x.mean(dim, keepdim=True), x.detach().abs().amax(dim, keepdim=True)
    else:
        mask = mask.bool()
        x = x.masked_fill(~mask, 0.0)
        centred = (x - x.sum(dim, keepdim=True) / mask.sum(dim, keepdim=True).clamp(min=1)).masked_fill(~mask, 0.0)
        largest = x.detach().abs().amax(dim, keepdim=True)
    value = centred.detach()
    alike = value.amax(dim, keepdim=True) - value.amin(dim, keepdim=True) <= ROUNDING * torch.finfo(x.dtype).eps * largest + 1e-7
    return torch.where(alike, centred - value, centred)


def group_normalized_advantage(score: Tensor, mask: Tensor | None = None, *, normalize_std: bool = True, eps: float = 1e-6) -> Tensor:
    """Group-relative advantage (GRPO, arXiv:2402.03300, section 4.1.2): (score - group mean) / (group standard deviation + eps).

    The paper writes std without a divisor; this is the sample standard deviation (K - 1), as in TRL's trainer, and eps is verl's (TRL has 1e-4). Without
    `normalize_std` it is the centred score of Dr. GRPO (arXiv:2503.20783). A group whose scores are all equal, up to rounding, gets exactly 0 (`centre`).

    Args:
        score: `[..., K]`, one a member of the group.
        mask: `[..., K]` bool; members that are False get 0 and enter neither the mean nor the standard deviation (their score may be NaN). None: all.
        normalize_std: divide by the standard deviation.
        eps: added to the standard deviation, in units of the score.

    Returns:
        `[..., K]`.
    """
    mask = torch.ones_like(score, dtype=torch.bool) if mask is None else mask.bool()
    centred = centre(score, mask)
    if not normalize_std:
        return centred
    count = mask.sum(-1, keepdim=True)
    std = (centred.square().sum(-1, keepdim=True) / (count - 1).clamp(min=1)).sqrt()
    return centred / (std + eps)


def normalize(x: Tensor, mask: Tensor | None = None, *, dim: int | tuple[int, ...], floor: float = 1e-4) -> Tensor:
    """Shift to mean 0 and scale to (population) standard deviation 1 over the axes `dim`: (x - mean) / max(std, floor).

    The floor is that of OpenRLHF's REINFORCE++ (it bounds the variance at 1e-8; verl adds as much to it): a batch without signal is not blown up to one.

    Args:
        x: any shape.
        mask: the shape of `x`, bool; elements that are False get 0 and are left out of both statistics. None: all.
        dim: axis or axes that share one mean and one standard deviation.
        floor: smallest divisor, in units of x.

    Returns:
        The shape of `x`; exactly 0 where all are equal up to rounding (`centre`).
    """
    centred = centre(x, mask, dim=dim)
    if mask is None:
        return centred / centred.square().mean(dim, keepdim=True).sqrt().clamp(min=floor)
    count = mask.sum(dim, keepdim=True).clamp(min=1)
    return centred / (centred.square().sum(dim, keepdim=True) / count).sqrt().clamp(min=floor)
