"""Learning by playing a finite MDP: how actions are chosen, how tables move, and how much better than what was seen things may be."""

from __future__ import annotations

import torch
from torch import Tensor

from operant.ops.finite_mdp import greedy_policy


def epsilon_greedy_policy(q: Tensor, epsilon: float) -> Tensor:
    """The greedy action with probability 1 - epsilon, and else any, all alike: `[..., K, A]` (Sutton and Barto 2018, section 2.2).

    Args:
        q: `[..., K, A]`.
        epsilon: 0 to 1.
    """
    return (1 - epsilon) * greedy_policy(q) + epsilon / q.shape[-1]


def rescaled_linear_rate(count: Tensor, *, horizon: int) -> Tensor:
    """(H + 1) / (H + t), the step size of the t-th visit: old targets, of a time when the values behind them were wrong, are forgotten within a share 1 / H of
    the visits (Jin et al. 2018, arXiv:1807.03765, eq. 3.1).

    Args:
        count: `[...]`, t, 1 or more.
        horizon: H.
    """
    return (horizon + 1) / (horizon + count)


def moved_entries(table: Tensor, place: Tensor, target: Tensor, rate: Tensor) -> Tensor:
    """A table whose entries at some places have moved by a rate towards targets: Q + α (y - Q) there (Watkins 1989).

    Args:
        table: `[S, *shape]`.
        place: `[S, M]` int64, in row-major order of `shape`; a seed's are all different.
        target: `[S, M]`.
        rate: `[S, M]`, 0 to 1.
    """
    flat = table.flatten(1)
    return flat.scatter_add(1, place, rate * (target - flat.gather(1, place))).view_as(table)


def optimistic_next_value(transition: Tensor, radius: Tensor, next_value: Tensor) -> Tensor:
    """The largest mean of what comes next, over all distributions within an L1 distance of the one that was estimated: `[..., K, A]`.

    Half of the distance is added to the likelihood of the best state, and taken from the worst ones (Auer, Jaksch and Ortner 2008, figure 2).

    Args:
        transition: `[..., K, A, K]`, rows that sum to 1; a row of zeros, of what was not seen, gives the largest value.
        radius: `[..., K, A]`, the distance.
        next_value: `[..., K]`.
    """
    value, order = next_value.sort(-1)
    order = order.unsqueeze(-2).unsqueeze(-2)
    ranked = transition.gather(-1, order.expand(*transition.shape[:-1], order.shape[-1]))  # from the worst state to the best
    others = ranked[..., :-1]
    best = (ranked[..., -1] + radius / 2).clamp(max=1)
    excess = (others.sum(-1) + best - 1).unsqueeze(-1)
    kept = others - torch.minimum((excess - (others.cumsum(-1) - others)).clamp(min=0), others)
    value = value.unsqueeze(-2).unsqueeze(-2)
    return (kept * value[..., :-1]).sum(-1) + (1 - kept.sum(-1)) * value[..., -1]


def gamma_variate(shape: Tensor, normal: Tensor, uniform: Tensor) -> Tensor:
    """Draws of gamma distributions of scale 1, `[...]`, made of normal and uniform ones, so that they hang on no generator of a device's.

    Of P proposals d (1 + x / √(9 d))³ with d = shape - 1/3 the first is taken that is not rejected; a shape below 1 is that of 1 more, times U^(1 / shape)
    (Marsaglia and Tsang 2000). One proposal in twenty is rejected at most: where all were, which is as rare as 20^-P, the first one is taken.

    Args:
        shape: `[...]`, above 0.
        normal: `[..., P]`, standard normal.
        uniform: `[..., P + 1]`, in [0, 1).
    """
    small = shape < 1
    d = (shape + small.to(shape.dtype) - 1 / 3).unsqueeze(-1)
    cube = (1 + normal / (9 * d).sqrt()).pow(3)
    safe = cube.clamp(min=1e-12)
    taken = (cube > 0) & (uniform[..., :-1].log() < normal.square() / 2 + d - d * cube + d * safe.log())
    drawn = (d * safe).gather(-1, taken.to(torch.int8).argmax(-1, keepdim=True)).squeeze(-1)
    return torch.where(small, drawn * uniform[..., -1] ** (1 / shape), drawn)
