"""Bandits: which action is played after what was seen of all of them. A actions; leading axes (seeds, contexts) broadcast."""

from __future__ import annotations

import torch
from torch import Tensor


def ucb_index(count: Tensor, mean: Tensor, *, scale: float) -> Tensor:
    """x̄_a + √(scale · ln n / n_a), n = Σ_a n_a; infinite of an action that was not tried: `[..., A]` (UCB1: Auer, Cesa-Bianchi and Fischer 2002, figure 1, with
    a scale of 2).

    Args:
        count: `[..., A]`, n_a, how often each action was played.
        mean: `[..., A]`, of its rewards.
        scale: 0 or more.
    """
    plays = count.sum(-1, keepdim=True).clamp(min=1)
    return torch.where(count > 0, mean + (scale * plays.log() / count.clamp(min=1)).sqrt(), torch.inf)


def exponential_weights(gain: Tensor, rate: Tensor | float) -> Tensor:
    """p(a) ∝ exp(rate · G(a)): `[..., A]` (Freund and Schapire 1997, figure 1, with weights β^loss written as exponentials).

    Args:
        gain: `[..., A]`, the sum of what each action has gained.
        rate: above 0, of a shape that broadcasts.
    """
    return (rate * gain).softmax(-1)


def exp3_policy(gain: Tensor, gamma: Tensor | float) -> Tensor:
    """(1 - γ) · w(a) / Σ w + γ / A with w(a) = exp(γ · Ĝ(a) / A): `[..., A]` (Auer, Cesa-Bianchi, Freund and Schapire 2002, figure 1).

    Args:
        gain: `[..., A]`, Ĝ, the sum of `importance_weighted` gains.
        gamma: γ in (0, 1], of a shape that broadcasts.
    """
    actions = gain.shape[-1]
    return (1 - gamma) * exponential_weights(gain, gamma / actions) + gamma / actions


def exp3_share(count: Tensor, actions: int) -> Tensor:
    """γ = min(1, √(A ln A / ((e - 1) t))), the share of uniform play with which Exp3's regret over t rounds is at most 2.63 √(t A ln A): `[...]` (Auer et al.
    2002, corollary 3.2, the largest gain being at most t).

    Args:
        count: `[...]`, t.
        actions: A.
    """
    size = torch.tensor(float(actions), dtype=count.dtype, device=count.device)
    return (size * size.log() / ((torch.e - 1) * count.clamp(min=1))).sqrt().clamp(max=1)


def inverse_gap_weighting(value: Tensor, gamma: Tensor | float, available: Tensor | None = None) -> Tensor:
    """p(a) = 1 / (A + γ (y(b) - y(a))) of all actions but the best one, b, which has the rest: `[..., A]`, at least 1 / A of it (Abe and Long 1999; SquareCB:
    Foster and Rakhlin 2020, arXiv:2002.04926, algorithm 1, with μ = A).

    Args:
        value: `[..., A]`, y, what each action is predicted to be worth.
        gamma: γ, 0 or more, of a shape that broadcasts; 0 is uniform.
        available: `[..., A]` bool, the actions that can be taken, A being their number, at least one; None for all.
    """
    if available is not None:
        value = value.masked_fill(~available, -torch.inf)
        actions = available.sum(-1, keepdim=True)
    else:
        actions = value.shape[-1]
    best = value.argmax(-1, keepdim=True)
    others = 1 / (actions + gamma * (value.gather(-1, best) - value))
    others = others.scatter(-1, best, 0.0) if available is None else others.masked_fill(~available, 0.0).scatter(-1, best, 0.0)
    return others.scatter(-1, best, 1 - others.sum(-1, keepdim=True))


def ridge_regression(features: Tensor, count: Tensor, gained: Tensor, *, ridge: float) -> tuple[Tensor, Tensor]:
    """θ̂ = A⁻¹ Σ φ r with A = ridge · I + Σ φ φ', which has the smallest Σ (r - φ'θ)² + ridge ‖θ‖²: θ̂ `[..., d]`, and A `[..., d, d]`.

    Args:
        features: `[..., N, d]`.
        count: `[..., N]`, how often each was seen, or its weight.
        gained: `[..., N]`, the sum of its rewards, or the weighted one.
        ridge: above 0.
    """
    gram = (features * count.unsqueeze(-1)).mT @ features + ridge * torch.eye(features.shape[-1], dtype=features.dtype, device=features.device)
    return torch.linalg.solve_ex(gram, (features * gained.unsqueeze(-1)).sum(-2))[0], gram


def logistic_regression(features: Tensor, count: Tensor, gained: Tensor, *, ridge: float, steps: int = 10) -> Tensor:
    """The θ of the smallest Σ_i (n_i log(1 + exp(φ_i'θ)) - g_i φ_i'θ) + ridge / 2 ‖θ‖², by Newton's method from 0: `[..., d]`. A step changes no φ_i'θ by more
    than 5, so that it does not run away.

    Args:
        features: `[..., N, d]`, φ.
        count: `[..., N]`, n, how often each was seen, or its weight.
        gained: `[..., N]`, g, how many of these were successes.
        ridge: above 0.
        steps: of Newton's method.
    """
    parameter = (features * gained.unsqueeze(-1)).sum(-2) * 0.0
    penalty = ridge * torch.eye(features.shape[-1], dtype=features.dtype, device=features.device)
    for _ in range(steps):
        chance = (features @ parameter.unsqueeze(-1)).squeeze(-1).sigmoid()
        slope = (features * (count * chance - gained).unsqueeze(-1)).sum(-2) + ridge * parameter
        curve = (features * (count * chance * (1 - chance)).unsqueeze(-1)).mT @ features + penalty
        step = torch.linalg.solve_ex(curve, slope)[0]
        longest = (features @ step.unsqueeze(-1)).abs().amax((-2, -1)).unsqueeze(-1)
        parameter = parameter - step * (5 / longest.clamp(min=5))
    return parameter


def g_optimal_design(features: Tensor, *, steps: int = 300) -> Tensor:
    """Weights of actions that make the largest φ' V⁻¹ φ, V = Σ_a w_a φ_a φ_a', as small as it can be, which is d: `[S, A]`, a distribution (Kiefer and
    Wolfowitz 1960), by the multiplicative algorithm w_a ← w_a φ_a' V⁻¹ φ_a / d (Silvey, Titterington and Torsney 1978).

    Args:
        features: `[S, A, d]`, which span all d dimensions.
        steps: of the algorithm.
    """
    size = features.shape[-1]
    weight = torch.full_like(features[..., 0], 1 / features.shape[-2])
    for _ in range(steps):
        inverse = ((features * weight.unsqueeze(-1)).mT @ features).inverse()
        weight = weight * ((features @ inverse) * features).sum(-1) / size
    return weight


def ball_net(dimension: int, distance: float) -> Tensor:
    """Points within `distance` of every point of the unit ball: `[N, dimension]` float64, of a cubic lattice through 0, those whose cells meet the ball.

    N is at most (1 + 2 / distance)^dimension in up to 3 dimensions and distances up to 1/2, the number that there are of points so far apart (Vershynin 2018,
    corollary 4.2.13).
    """
    side = 2 * distance / dimension**0.5
    steps = torch.arange(-int(1 / side + 0.5), int(1 / side + 0.5) + 1, dtype=torch.float64) * side
    points = torch.cartesian_prod(*[steps] * dimension).view(-1, dimension)
    nearest = (points.abs() - side / 2).clamp(min=0)
    return points[nearest.square().sum(-1) <= 1]
