"""Log-probabilities and entropies of the action distributions, in nats, from their parameters."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def gaussian_log_prob(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log-density of a diagonal Gaussian, summed over the last axis: sum_i -((x - mean) / std)^2 / 2 - log std - log(2 pi) / 2.

    Args:
        x, mean: `[..., A]`.
        log_std: `[..., A]` or anything that broadcasts to it, such as `[A]`.
    """
    return _GaussianLogProb.apply(*torch.broadcast_tensors(x, mean, log_std))


class _GaussianLogProb(torch.autograd.Function):
    """One step of differentiation in the place of nine; its gradient may be differentiated again."""

    @staticmethod
    def forward(ctx, x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        ctx.save_for_backward(x, mean, log_std)
        return ((x - mean) * (-log_std).exp()).square_().mul_(-0.5).sub_(log_std).sub_(_HALF_LOG_2PI).sum(-1)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        x, mean, log_std = ctx.saved_tensors
        precision = (-log_std).exp()
        distance, gradient = (x - mean) * precision, gradient.unsqueeze(-1)
        for_mean = gradient * distance * precision
        for_x = -for_mean if ctx.needs_input_grad[0] else None
        return for_x, for_mean, gradient * (distance.square() - 1) if ctx.needs_input_grad[2] else None


def gaussian_entropy(log_std: Tensor) -> Tensor:
    """Entropy of a diagonal Gaussian, `[..., A]` -> `[...]`: sum_i log std_i + (1 + log(2 pi)) / 2."""
    return (log_std + (0.5 + _HALF_LOG_2PI)).sum(-1)


def tanh_log_det(u: Tensor) -> Tensor:
    """Log-determinant of a = tanh(u), `[..., A]` -> `[...]`: sum_i log(1 - tanh(u_i)^2), by the identity 2 (log 2 - u - softplus(-2 u)).

    The identity (SAC, arXiv:1812.05905, appendix C, made stable) is exact where tanh(u) rounds to 1 and the formula as written gives log 0.
    """
    return (2 * (math.log(2) - u - F.softplus(-2 * u))).sum(-1)


def tanh_gaussian_log_prob(u: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log-density of the action tanh(u), u drawn from a diagonal Gaussian (SAC, arXiv:1812.05905, eq. 26), `[..., A]` -> `[...]`.

    Args:
        u: the draw before tanh; arguments otherwise as `gaussian_log_prob`.
    """
    return gaussian_log_prob(u, mean, log_std) - tanh_log_det(u)


class _TanhGaussianSample(torch.autograd.Function):
    @staticmethod
    def forward(ctx, mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        spread = log_std.exp().mul_(noise)
        u = mean + spread
        action = torch.tanh(u)
        ctx.save_for_backward(action, spread)
        each = F.softplus(u * -2).add_(u).mul_(2).sub_(log_std).addcmul_(noise, noise, value=-0.5)
        return action, each.sum(-1).sub_(mean.shape[-1] * (_HALF_LOG_2PI + 2 * math.log(2)))

    @staticmethod
    @once_differentiable
    def backward(ctx, for_action: Tensor, for_log_prob: Tensor):
        action, spread = ctx.saved_tensors
        for_log_prob = for_log_prob.unsqueeze(-1)
        # The draw's own density does not hang on mean and deviation: -log std is left of it. And d log(1 - tanh(u)^2) / du = -2 tanh(u).
        for_mean = torch.addcmul(torch.ops.aten.tanh_backward(for_action, action), action, for_log_prob, value=2)
        return for_mean, (for_mean * spread).sub_(for_log_prob), None


def tanh_gaussian_sample(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The action tanh(mean + std * noise) `[..., A]` and its log-density `[...]`, as `tanh_gaussian_log_prob` gives it; gradients are once differentiable.

    One step of differentiation in the place of some forty, for actions that are learned from as they are drawn (SAC, arXiv:1812.05905, eq. 7).

    Args:
        mean, log_std, noise: `[..., A]`, noise standard normal and without gradient.
    """
    return _TanhGaussianSample.apply(*torch.broadcast_tensors(mean, log_std, noise))


FEW = 64  # choices up to which a second tensor of the logits' size is cheaper than the dozen operations of logsumexp


def categorical_log_prob(logits: Tensor, action: Tensor) -> Tensor:
    """Log-probability of `action` under softmax(logits): logits `[..., K]`, action `[...]` int64 in [0, K) -> `[...]`."""
    if logits.shape[-1] <= FEW:
        return logits.log_softmax(-1).gather(-1, action.unsqueeze(-1)).squeeze(-1)
    return logits.gather(-1, action.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(-1)


FORBIDDEN = -1e8  # far below any logit or value, and finite, so that 0 * log 0 stays 0


def forbid(values: Tensor, allowed: Tensor) -> Tensor:
    """Logits or action values `[..., K]` of which only those that are `allowed` (bool, broadcastable) can be drawn, preferred or bootstrapped from.

    The others become -1e8: their probability, and what they add to an entropy, are exactly 0, and no gradient reaches them (Huang and Ontanon,
    arXiv:2006.14171). Where nothing is allowed, all become equal.
    """
    return torch.where(allowed, values, FORBIDDEN)


class _ChosenAndEntropy(torch.autograd.Function):
    """Of log-probabilities `[..., K]`, in one step of differentiation; its gradient may be differentiated again."""

    @staticmethod
    def forward(ctx, log_p: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(log_p, action)
        return log_p.gather(-1, action.unsqueeze(-1)).squeeze(-1), _surprise(log_p).sum(-1).neg_()

    @staticmethod
    def backward(ctx, for_chosen: Tensor, for_entropy: Tensor):
        log_p, action = ctx.saved_tensors
        found = (_surprise(log_p) + log_p.exp()) * -for_entropy.unsqueeze(-1)
        return found.scatter_add(-1, action.unsqueeze(-1), for_chosen.unsqueeze(-1)), None


def _surprise(log_p: Tensor) -> Tensor:
    # The smallest finite number in place of -inf: times a probability of 0 it is 0.
    return log_p.exp() * log_p.clamp(min=torch.finfo(log_p.dtype).min)


def categorical_log_prob_and_entropy(logits: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of the action (or token) drawn and the entropy of its whole distribution, from one log-softmax.

    Args:
        logits: `[..., K]`; -inf is a probability of 0.
        action: `[...]` int64 in [0, K).

    Returns:
        (log_prob, entropy), each `[...]`.
    """
    return _ChosenAndEntropy.apply(logits.log_softmax(-1), action)


def categorical_score(logits: Tensor, action: Tensor, entropy_weight: Tensor | float = 0.0) -> Tensor:
    """The gradient of log π(a) + w H with respect to the logits, `[..., A]`, H being the entropy in nats.

    Args:
        logits: `[..., A]`.
        action: `[...]` int64.
        entropy_weight: w, `[...]`.
    """
    log_prob = logits.log_softmax(-1)
    prob = log_prob.exp()
    entropy = -(prob * log_prob).sum(-1, keepdim=True)
    weight = entropy_weight.unsqueeze(-1) if isinstance(entropy_weight, Tensor) else entropy_weight
    taken = torch.zeros_like(logits).scatter_(-1, action.unsqueeze(-1), 1.0)
    return taken - prob * (1 + weight * (log_prob + entropy))


def gaussian_score(action: Tensor, mean: Tensor, log_std: Tensor, entropy_weight: Tensor | float = 0.0) -> Tensor:
    """The gradient of log π(a) + w H of independent normals with respect to means and log standard deviations side by side, `[..., 2 A]`.

    Args:
        action, mean, log_std: `[..., A]`.
        entropy_weight: w, `[...]`.
    """
    inverse = (-log_std).exp()
    distance = (action - mean) * inverse
    weight = entropy_weight.unsqueeze(-1) if isinstance(entropy_weight, Tensor) else entropy_weight
    return torch.cat([distance * inverse, distance.square() - 1 + weight], -1)
