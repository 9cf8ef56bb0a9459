"""Distributions of returns: histograms of values, their projections, and the losses that fit them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from operant.ops.shapes import same_axes


def project_distribution(probability: Tensor, location: Tensor, *, low: float, high: float, count: int) -> Tensor:
    """A distribution on any atoms, moved onto `count` evenly spaced ones from `low` to `high`: `[..., K]` -> `[..., count]` (C51, arXiv:1707.06887).

    An atom beyond the range moves to its end; one between two neighbours is shared between them so that its mean stays.

    Args:
        probability: `[..., K]`, each row sums to 1.
        location: `[..., K]`, where these atoms are.
        count: at least 2.
    """
    same_axes("project_distribution", probability=probability, location=location)
    place = (location.clamp(low, high) - low) / ((high - low) / (count - 1))
    below = place.floor().clamp(max=count - 2)
    share = place - below
    index, found = below.long(), probability.new_zeros(*torch.broadcast_shapes(probability.shape, location.shape)[:-1], count)
    return found.scatter_add(-1, index, probability * (1 - share)).scatter_add(-1, index + 1, probability * share)


def two_hot(value: Tensor, *, low: float, high: float, count: int) -> Tensor:
    """A value as a distribution on the two of `count` atoms from `low` to `high` beside it, whose mean is that value: `[...]` -> `[..., count]`.

    It is the projection of C51 of a single atom (Two-Hot, arXiv:2403.03950). Values beyond the range stand at its end.
    """
    return project_distribution(torch.ones_like(value).unsqueeze(-1), value.unsqueeze(-1), low=low, high=high, count=count)


def gaussian_histogram(value: Tensor, edges: Tensor, *, deviation: float) -> Tensor:
    """A value as the histogram of a normal distribution around it, `[...]` -> `[..., M]` (HL-Gauss, arXiv:1806.04613; arXiv:2403.03950).

    What lies beyond the edges is dropped and the rest divided by its sum, so that a value near an end is biased inwards. Values beyond an end stand at it.

    Args:
        edges: `[M + 1]`, ascending.
        deviation: of the normal distribution, > 0, in units of the value.
    """
    value = torch.maximum(torch.minimum(value, edges[-1]), edges[0])
    below = torch.erf((edges - value.unsqueeze(-1)) / (math.sqrt(2) * deviation))
    return below.diff(dim=-1) / (below[..., -1:] - below[..., :1])


def cross_entropy(logits: Tensor, probability: Tensor) -> Tensor:
    """Cross-entropy with a distribution, -sum_i p_i log softmax(logits)_i, `[..., K]` -> `[...]`, nats. Its gradient to the logits is softmax(logits) - p.

    Args:
        probability: `[..., K]`, each row sums to 1.
    """
    same_axes("cross_entropy", logits=logits, probability=probability)
    return -(probability * logits.log_softmax(-1)).sum(-1)


def quantile_huber_loss(quantiles: Tensor, targets: Tensor, fractions: Tensor, *, kappa: float) -> Tensor:
    """Quantile regression of each quantile onto all targets, with Huber's loss near 0: `[..., K]`, `[..., L]` -> `[...]` (IQN, arXiv:1806.06923, section 2.3).

    sum_i mean_j |tau_i - 1(u_ij < 0)| L_kappa(u_ij) / kappa, with u_ij = target_j - quantile_i. QR-DQN (arXiv:1710.10044) does
    not divide by kappa, which is 1 there.

    Args:
        quantiles: `[..., K]`, with gradients.
        targets: `[..., L]`, without gradients.
        fractions: of the quantiles, in (0, 1): `[..., K]`, or `[K]` where they are always the same.
        kappa: where the quadratic becomes linear, > 0, in units of the return.
    """
    same_axes("quantile_huber_loss", quantiles=quantiles, targets=targets)
    return _QuantileHuber.apply(quantiles, targets, fractions, kappa)


class _QuantileHuber(torch.autograd.Function):
    """Of all that stands between the quantiles and the loss, K × L numbers a row, the slopes' means are kept."""

    @staticmethod
    def forward(ctx, quantiles: Tensor, targets: Tensor, fractions: Tensor, kappa: float) -> Tensor:
        error = targets.detach().unsqueeze(-2) - quantiles.unsqueeze(-1)  # [..., K, L]
        slope = error.clamp(-kappa, kappa)  # of Huber's loss, which is slope (error - slope / 2)
        fractions = fractions.unsqueeze(-1)
        weighted = slope * torch.where(error < 0, 1 - fractions, fractions)
        ctx.save_for_backward(weighted.mean(-1) / kappa)
        return (weighted * error.sub_(slope, alpha=0.5)).mean(-1).sum(-1) / kappa

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return -gradient.unsqueeze(-1) * ctx.saved_tensors[0], None, None, None
