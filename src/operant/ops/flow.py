"""Rectified flows: x_t = (1 − t) x_0 + t ε between data (t = 0) and noise (t = 1), with the velocity v = ε − x_0."""

from __future__ import annotations

import math

from torch import Tensor


def flow_point(clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """x_t = (1 − t) x_0 + t ε (arXiv:2209.03003).

    Args:
        clean, noise: `[..., D]`.
        time: `[...]`, 0 to 1.
    """
    time = time.unsqueeze(-1)
    return (1 - time) * clean + time * noise


def flow_sde_step(time: float, step: float, *, noise_level: float, latest: float) -> tuple[float, float, float]:
    """A denoising step as a Gaussian: x_{t − Δ} ~ N(keep · x_t + gain · v(x_t, t), deviation²), by the SDE that has the flow's marginals.

    dx = [v + σ²/(2t) (x + (1 − t) v)] dt + σ dw with σ = a √(t / (1 − t)), run from t to t − Δ (Flow-GRPO, arXiv:2505.05470, eqs. 8 and 9).

    Args:
        time: t, above 0, at most 1.
        step: Δ, above 0, at most t.
        noise_level: a, at least 0; with 0 it is Euler's step of the ODE, and the deviation is 0.
        latest: the time that stands for t in 1 − t of σ where t is later, below 1: σ has no value at t = 1.

    Returns:
        (keep, gain, deviation).
    """
    variance = noise_level**2 * time / (1 - min(time, latest))
    pull = variance / (2 * time)
    return 1 - step * pull, -step * (1 + pull * (1 - time)), math.sqrt(variance * step)


def noised_target(point: Tensor, earlier: Tensor, time: Tensor, before: Tensor) -> Tensor:
    """The velocity that a denoising step from x_t back to x_s is fitted to, where x_s stands for x_0 (AWM, arXiv:2509.25050, section 3: what DDPO matches).

    The noising that has the flow's marginals is Markov: x_t ~ N(a x_s, b²) with a = (1 − t)/(1 − s) and b² = t² − a² s². Its score gives the noise
    t (x_t − a x_s) / b², and that the velocity (ε − x_t)/(1 − t). With s = 0 it is ε − x_0; its mean given x_t is the same for every s, its variance grows.

    Args:
        point, earlier: x_t and x_s `[..., D]`.
        time, before: t and s `[...]`, 0 ≤ s < t < 1.
    """
    time, before = time.unsqueeze(-1), before.unsqueeze(-1)
    a = (1 - time) / (1 - before)
    noise = time * (point - a * earlier) / (time.square() - (a * before).square())
    return (noise - point) / (1 - time)
