"""Objectives of a policy, a number a step. None of them averages: the reducer owns every denominator."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from operant.ops.reduce import row_mean
from operant.ops.shapes import same_axes


def policy_ratio(log_prob: Tensor, old_log_prob: Tensor) -> Tensor:
    """Likelihood ratio pi(a|s) / pi_old(a|s) of each step (arXiv:1707.06347, section 3.1).

    Args:
        log_prob: `[...]`, log-probability under the policy being trained, with gradient.
        old_log_prob: `[...]`, under the policy that acted.
    """
    same_axes("policy_ratio", log_prob=log_prob, old_log_prob=old_log_prob)
    return (log_prob - old_log_prob).exp()


def clipped_ratio_loss(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, *, clip_low: float | Tensor, clip_high: float | Tensor) -> Tensor:
    """Clipped surrogate (PPO, arXiv:1707.06347, eq. 7), to be minimised: -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A).

    The bounds may differ (clip-higher, arXiv:2503.14476, eq. 8); PPO's epsilon is both.

    Args:
        log_prob, old_log_prob: `[...]` as in `policy_ratio`.
        advantage: `[...]`, without gradient.
        clip_low: how far the ratio may fall below 1 before a negative advantage stops pushing, 0 to 1.
        clip_high: how far it may rise above 1 before a positive advantage stops pushing, >= 0. Each bound is a number or `[...]`, one a step.

    Returns:
        `[...]`, a loss a step.
    """
    same_axes("clipped_ratio_loss", log_prob=log_prob, advantage=advantage)
    # The ratio is bounded on one side, which the advantage's sign tells: the smaller of two products, in fewer steps of differentiation.
    gain = advantage >= 0
    low, high = (bound if isinstance(bound, Tensor) else advantage.new_full((), bound) for bound in (1 - clip_low, 1 + clip_high))
    ratio = policy_ratio(log_prob, old_log_prob)
    return ratio.clamp(torch.where(gain, -torch.inf, low), torch.where(gain, high, torch.inf)) * -advantage


def dual_clipped_ratio_loss(
    log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, *, clip_low: float | Tensor, clip_high: float | Tensor, max_ratio: float
) -> Tensor:
    """The clipped surrogate whose loss for a negative advantage stops growing at -max_ratio A (dual-clip PPO, arXiv:1912.09729).

    Args:
        log_prob, old_log_prob, advantage, clip_low, clip_high: as `clipped_ratio_loss`.
        max_ratio: > 1.
    """
    loss = clipped_ratio_loss(log_prob, old_log_prob, advantage, clip_low=clip_low, clip_high=clip_high)
    return torch.where(advantage < 0, torch.minimum(loss, -max_ratio * advantage), loss)


def sequence_log_ratio(log_prob: Tensor, old_log_prob: Tensor, mask: Tensor) -> Tensor:
    """Log-ratio of a whole answer divided by its length, log(pi(y|x) / pi_old(y|x)) / |y|, at each of its steps (GSPO, arXiv:2507.18071, eq. 7 and 14).

    Every step of a row has the same value; its gradient is that of the step's own log-probability (the paper's GSPO-token). The mean over a row's steps then
    has the gradient of the row's log-ratio.

    Args:
        log_prob, old_log_prob: `[..., T]` as in `policy_ratio`.
        mask: `[..., T]` bool, the answer's tokens.
    """
    return row_mean((log_prob - old_log_prob).detach(), mask) + (log_prob - log_prob.detach())


def clipped_importance_loss(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, *, clip_low: float, clip_high: float) -> Tensor:
    """Policy gradient with a clipped importance weight, -sg[clip(r, 1 - clip_low, 1 + clip_high)] A log pi (CISPO, arXiv:2506.13585, eq. 4).

    The clip bounds the weight and not the update: no token loses its gradient.

    Args:
        as `clipped_ratio_loss`. clip_low = 1 sets no lower bound.
    """
    same_axes("clipped_importance_loss", log_prob=log_prob, advantage=advantage)
    weight = policy_ratio(log_prob.detach(), old_log_prob).clamp(1 - clip_low, 1 + clip_high)
    return -weight * advantage * log_prob


def ratio_clip_fraction(
    log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, *, clip_low: float | Tensor, clip_high: float | Tensor, max_ratio: float = math.inf
) -> Tensor:
    """Whether the clip takes each step's gradient away: 1.0 or 0.0 a step, whose weighted mean is the clip fraction.

    It does where the advantage is positive and the ratio above 1 + clip_high, and where the advantage is negative and the ratio below 1 - clip_low, or above
    `max_ratio`. A ratio that has left the bounds against its advantage is not clipped.

    Args:
        as `dual_clipped_ratio_loss`; by default there is no `max_ratio`. The result has no gradient.
    """
    same_axes("ratio_clip_fraction", log_prob=log_prob, advantage=advantage)
    ratio = policy_ratio(log_prob.detach(), old_log_prob)
    clipped = ((advantage > 0) & (ratio > 1 + clip_high)) | ((advantage < 0) & ((ratio < 1 - clip_low) | (ratio > max_ratio)))
    return clipped.to(log_prob.dtype)


def advantage_weight(advantage: Tensor, *, beta: float, max_weight: float) -> Tensor:
    """Weight of advantage-weighted regression, min(exp(beta A), max_weight) (IQL, arXiv:2110.06169, eq. 7; AWR, arXiv:1910.00177).

    Args:
        advantage: `[...]`, Q - V.
        beta: inverse temperature, >= 0; 0 is behaviour cloning.
        max_weight: upper bound, > 0 (IQL's authors use 100). The exponent is bounded, so nothing overflows.
    """
    return (beta * advantage).clamp(max=math.log(max_weight)).exp()
