"""Experiment design over policies: what to play so that the values of many policies are known at once, beside what logged data already say.

N policies, whose mean features at each of H steps, phi_pi = E_pi[phi(s_h, a_h)], are `[..., H, N, d]`; covariances of features are `[..., H, d, d]`, or with 1
in the place of H where all steps share their data. The error of a policy's value is governed by the largest phi_piᵀ Λ⁻¹ phi_pi of its steps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from operant.ops.finite_mdp import horizon_occupancy, horizon_optimum
from operant.ops.linear_mdp import elliptic_norm, feature_covariance

SHARPNESS = 10.0  # of the softened maximum at the first step of Frank-Wolfe; it grows as the root of the steps


def policy_features(features: Tensor, occupancy: Tensor) -> Tensor:
    """phi_pi = Σ_{s, a} d_pi(s, a) phi(s, a), `[..., d]`.

    Args:
        features: `[..., K, A, d]`.
        occupancy: `[..., K, A]`.
    """
    return torch.einsum("...kad,...ka->...d", features, occupancy)


def design_norms(mean: Tensor, inverse: Tensor) -> Tensor:
    """phi_piᵀ Λ⁻¹ phi_pi of every policy and step, `[..., H, N]` (Wagenmaker and Pacchiano 2022, arXiv:2211.04974, definition of the coefficient).

    Args:
        mean: `[..., H, N, d]`.
        inverse: `[..., H or 1, d, d]`, Λ⁻¹, positive.
    """
    return elliptic_norm(mean.unsqueeze(-3), inverse).squeeze(-2).square()


def exploration_reward(features: Tensor, mean: Tensor, weight: Tensor, inverse: Tensor) -> Tensor:
    """Σ_pi w_pi (phi(s, a)ᵀ Λ⁻¹ phi_pi)², by how much a visit of a pair lowers Σ_pi w_pi phi_piᵀ Λ⁻¹ phi_pi: the linear problem of a step of Frank-Wolfe is to
    collect most of it, `[..., H or 1, K, A]` (arXiv:2211.04974, the regret minimiser's reward).

    Args:
        features: `[..., H or 1, K, A, d]`.
        mean: `[..., H, N, d]`.
        weight: `[..., H, N]`, w.
        inverse: `[..., H or 1, d, d]`, Λ⁻¹.
    """
    return elliptic_norm(features, inverse @ _pooled(feature_covariance(mean.unsqueeze(-3), weight.unsqueeze(-2)), inverse) @ inverse).square()


def design_direction(features: Tensor, transition: Tensor, mean: Tensor, norms: Tensor, weight: Tensor, inverse: Tensor, *, step: int) -> Tensor:
    """The policy `[..., H, K, A]` of a step of Frank-Wolfe on max_pi w_pi phi_piᵀ Λ⁻¹ phi_pi, whose maximum is softened, the less the later the step.

    Args:
        features: `[..., H or 1, K, A, d]`.
        transition: `[..., H or 1, K, A, K]`.
        mean: `[..., H, N, d]`.
        norms: `[..., H, N]`, as `design_norms` has them.
        weight: `[..., N]`, w, 0 or more.
        inverse: `[..., H or 1, d, d]`, Λ⁻¹.
        step: from 0.
    """
    weighted = norms * weight.unsqueeze(-2)
    share = weighted / weighted.amax((-2, -1), keepdim=True).clamp(min=torch.finfo(weighted.dtype).tiny)
    soft = (SHARPNESS * math.sqrt(step + 1) * share).flatten(-2).softmax(-1).view_as(share)
    reward = exploration_reward(features, mean, soft * weight.unsqueeze(-2), inverse)
    return horizon_optimum(reward, transition, horizon=mean.shape[-3])[1]


def frank_wolfe_design(
    features: Tensor, transition: Tensor, initial: Tensor, mean: Tensor, weight: Tensor, prior: Tensor, episodes: Tensor, *, steps: int = 300
) -> tuple[Tensor, Tensor]:
    """The smallest max over policies and steps of w_pi phi_piᵀ (T Λ + Λ_off)⁻¹ phi_pi, Λ being the expected covariance of features in an episode of some
    mixture of policies, `[...]`, and the occupancy `[..., H, K, A]` of the mixture that has it (arXiv:2211.04974, by Frank-Wolfe with steps 1 / (t + 2)).

    With w = 1 / max(V* - V_pi, epsilon)² it is the paper's offline-to-online concentrability coefficient, over all steps at once.

    Args:
        features: `[..., H or 1, K, A, d]`.
        transition: `[..., H or 1, K, A, K]`.
        initial: `[..., K]`.
        mean: `[..., H, N, d]`.
        weight: `[..., N]`, w.
        prior: `[..., H or 1, d, d]`, Λ_off, positive: what logged data have, and a ridge.
        episodes: `[...]`, T, 0 or more.
        steps: of the algorithm.
    """
    size, batch = features.shape[-3:-1], torch.broadcast_shapes(mean.shape[:-3], prior.shape[:-3], transition.shape[:-4])
    occupancy = horizon_occupancy(initial.expand(*batch, -1), transition, mean.new_full((*batch, mean.shape[-3], *size), 1 / size[-1]))
    value, found = mean.new_full(batch, torch.inf), occupancy
    for step in range(steps):
        inverse = torch.linalg.inv_ex(prior + episodes[..., None, None, None] * _pooled(feature_covariance(features, occupancy), prior))[0]
        norms = design_norms(mean, inverse)
        here = (norms * weight.unsqueeze(-2)).amax((-2, -1))
        found = torch.where((here < value)[..., None, None, None], occupancy, found)
        value = torch.minimum(here, value)
        policy = design_direction(features, transition, mean, norms, weight, inverse, step=step)
        occupancy = occupancy + (horizon_occupancy(initial, transition, policy) - occupancy) / (step + 2)
    return value, found


def offline_to_online_episodes(
    features: Tensor,
    transition: Tensor,
    initial: Tensor,
    mean: Tensor,
    gap: Tensor,
    prior: Tensor,
    *,
    epsilon: float,
    beta: float,
    most: float,
    steps: int = 100,
) -> Tensor:
    """The smallest number T of episodes for which some mixture of policies has max_pi phi_piᵀ (T Λ + Λ_off)⁻¹ phi_pi / max(V* - V_pi, epsilon)² ≤ 1 / beta:
    `[...]`, by bisection of log T, to 1 % (arXiv:2211.04974, the minimal number of online samples). It is 0 where logged data are enough.

    Args:
        features, transition, initial, mean, prior, steps: as of `frank_wolfe_design`.
        gap: `[..., N]`, V* - V_pi.
        epsilon, beta: above 0.
        most: T is searched up to this, at least 1, and is it where more would be needed.
    """
    weight = gap.clamp(min=epsilon) ** -2
    enough = (design_norms(mean, torch.linalg.inv_ex(prior)[0]) * weight.unsqueeze(-2)).amax((-2, -1)) <= 1 / beta
    low, high = torch.zeros_like(enough, dtype=mean.dtype), torch.full_like(enough, math.log(most), dtype=mean.dtype)
    for _ in range(math.ceil(math.log2(max(math.log(most), 1.0) / 1e-2))):
        middle = (low + high) / 2
        met = frank_wolfe_design(features, transition, initial, mean, weight, prior, middle.exp(), steps=steps)[0] <= 1 / beta
        low, high = torch.where(met, low, middle), torch.where(met, middle, high)
    return torch.where(enough, 0.0, high.exp())


def _pooled(covariance: Tensor, like: Tensor) -> Tensor:
    """Covariances of all steps, added up where they share their data."""
    return covariance.sum(-3, keepdim=True) if like.shape[-3] == 1 else covariance
