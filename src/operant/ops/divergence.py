"""Entropy, Kullback-Leibler divergences and their estimators from samples, in nats."""

from __future__ import annotations

import torch
from torch import Tensor

_MAX_EXPONENT = 40.0  # exp(40) = 2e17: its square is still finite in float32, so a gradient's norm is too


def kl_k1(log_prob: Tensor, reference_log_prob: Tensor) -> Tensor:
    """Estimator k1 of KL(pi || ref) from a sample of pi: log pi - log ref. Unbiased, high variance, of either sign.

    Source: J. Schulman, "Approximating KL divergence" (2020). As a reward it gives the gradient of the KL; differentiated as a loss on samples, its expected
    gradient is 0.

    Args:
        log_prob, reference_log_prob: `[...]`, log-probabilities of the sampled action.
    """
    return log_prob - reference_log_prob


def kl_k2(log_prob: Tensor, reference_log_prob: Tensor) -> Tensor:
    """Estimator k2: (log pi - log ref)^2 / 2. Biased in value, never negative; as a loss on fresh samples its expected gradient is that of KL(pi || ref).

    Source and arguments as `kl_k1`.
    """
    return 0.5 * (log_prob - reference_log_prob).square()


def kl_k3(log_prob: Tensor, reference_log_prob: Tensor) -> Tensor:
    """Estimator k3: exp(r) - 1 - r with r = log ref - log pi (GRPO, arXiv:2402.03300, eq. 4). Unbiased in value, never negative, low variance.

    As a loss on fresh samples its expected gradient is that of KL(ref || pi), not of KL(pi || ref). Above r = 40 the exponential goes on as its tangent:
    value and gradient stay finite in float32 and keep their sign. Source and arguments as `kl_k1`.
    """
    r = reference_log_prob - log_prob
    bounded = r.clamp(max=_MAX_EXPONENT)
    return torch.expm1(bounded) + bounded.exp() * (r - bounded) - r


def categorical_kl(logits: Tensor, reference_logits: Tensor) -> Tensor:
    """Exact KL(p || q) of two categorical distributions: sum_i p_i (log p_i - log q_i), `[..., K]` -> `[...]`.

    Args:
        logits, reference_logits: `[..., K]`, unnormalised; -inf is a probability of 0. Infinite where p_i > 0 = q_i.
    """
    log_p, log_q = logits.log_softmax(-1), reference_logits.log_softmax(-1)
    possible = log_p > -torch.inf
    return (log_p.exp() * torch.where(possible, log_p - log_q, 0.0)).sum(-1)


def entropy_from_logits(logits: Tensor) -> Tensor:
    """Entropy of a categorical distribution, -sum_i p_i log p_i, `[..., K]` -> `[...]`, in [0, log K] nats.

    Args:
        logits: `[..., K]`, unnormalised; -inf is a probability of 0.
    """
    log_p = logits.log_softmax(-1)
    # The smallest finite number in place of -inf: times a probability of 0 it is 0, in the gradient too.
    return -(log_p.exp() * log_p.clamp(min=torch.finfo(log_p.dtype).min)).sum(-1)
