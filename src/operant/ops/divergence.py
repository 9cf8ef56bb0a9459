"""Entropy, Kullback-Leibler divergences and their estimators from samples, in nats."""

from __future__ import annotations

import math

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


def gaussian_kl(mean: Tensor, log_std: Tensor, reference_mean: Tensor, reference_log_std: Tensor) -> Tensor:
    """Exact KL(p || q) of two normals with diagonal covariances, `[..., A]` -> `[...]`, nats: the sum over A of
    log(s_q / s_p) + (s_p^2 + (m_p - m_q)^2) / (2 s_q^2) - 1/2.

    Args:
        mean, log_std: of p.
        reference_mean, reference_log_std: of q.
    """
    scaled = (mean - reference_mean) * (-reference_log_std).exp()
    narrower = log_std - reference_log_std
    return (0.5 * ((2 * narrower).exp() - 1 + scaled.square()) - narrower).sum(-1)


def entropy_from_logits(logits: Tensor) -> Tensor:
    """Entropy of a categorical distribution, -sum_i p_i log p_i, `[..., K]` -> `[...]`, in [0, log K] nats.

    Args:
        logits: `[..., K]`, unnormalised; -inf is a probability of 0.
    """
    log_p = logits.log_softmax(-1)
    # The smallest finite number in place of -inf: times a probability of 0 it is 0, in the gradient too.
    return -(log_p.exp() * log_p.clamp(min=torch.finfo(log_p.dtype).min)).sum(-1)


def q_logarithm(log_x: Tensor, *, q: float) -> Tensor:
    """The q-logarithm of x from its logarithm, (x^(1 - q) - 1) / (1 - q), log x at q = 1: what takes its place in Tsallis' entropy and divergence.

    Args:
        log_x: `[...]`. The exponent (1 - q) log x goes on as its tangent above 40, so that value and gradient stay finite.
        q: any number.
    """
    if q == 1:
        return log_x
    exponent = (1 - q) * log_x
    bounded = exponent.clamp(max=_MAX_EXPONENT)
    return (torch.expm1(bounded) + bounded.exp() * (exponent - bounded)) / (1 - q)


def f_generator(log_ratio: Tensor, *, kind: str, alpha: float = 0.2) -> Tensor:
    """The generator f(u) of an f-divergence, u = pi / pi_0, whose mean over samples of pi_0 is D_f (DPH-RL, arXiv:2509.07430).

    - "forward-kl": -log u + u - 1, whose mean is KL(pi_0 || pi) (u - 1 has mean 0 and makes every value non-negative).
    - "js": u log u - (u + 1) log((u + 1) / 2), whose mean is twice the Jensen-Shannon divergence, in nats.
    - "alpha": (u^(1 - a) - (1 - a) u - a) / (a (a - 1)); a towards 1 is the forward KL, a towards 0 the reverse one.

    Args:
        log_ratio: log u `[...]`. Above 40 it is held there (a token that pi_0 hardly had), so that value and gradient stay finite.
        kind: one of the above.
        alpha: of "alpha", in (0, 1).

    Returns:
        `[...]`, never negative, 0 at u = 1.

    Raises:
        ValueError: unknown kind, or alpha outside (0, 1).
    """
    log_ratio = log_ratio.clamp(max=_MAX_EXPONENT)
    u = log_ratio.exp()
    if kind == "forward-kl":
        return torch.expm1(log_ratio) - log_ratio
    if kind == "js":
        return u * log_ratio - (u + 1) * (torch.log1p(u) - math.log(2))
    if kind == "alpha":
        if not 0 < alpha < 1:
            raise ValueError(f"alpha={alpha} must lie between 0 and 1")
        return (((1 - alpha) * log_ratio).exp() - (1 - alpha) * u - alpha) / (alpha * (alpha - 1))
    raise ValueError(f"unknown kind of f-divergence {kind!r}: forward-kl, js or alpha")


def bernoulli_tilt_kl(p: Tensor, *, beta: float) -> Tensor:
    """KL(pi_0 || pi*) of the KL-regularised optimum pi* ~ pi_0 exp(r / beta) for a 0/1 reward: log(1 - p + p e^(1/beta)) - p / beta, nats.

    What there is to learn from a prompt; about p (1 - p) / (2 beta^2) for large beta, 0 at p = 0 and p = 1 (arXiv:2504.03380).

    Args:
        p: `[...]`, the chance of success under pi_0, 0 to 1.
        beta: weight of the KL, > 0.
    """
    return torch.log1p(p * math.expm1(1 / beta)) - p / beta
