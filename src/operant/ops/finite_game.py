"""Finite games of two players with perfect recall, in sequence form: what a player does is a table over information sets and actions, both players' in one.

A player's own earlier moves lead to each of its information sets: `parent [I]` has the place i · A + a of the last one among the flattened table, and -1 where
there was none. `levels` are index tensors that cover the sets, each of sets whose parents are in earlier ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def realization_plan(policy: Tensor, parent: Tensor, levels: Sequence[Tensor]) -> Tensor:
    """How likely a player's own moves make each of its sequences: x(i, a) = x(parent(i)) · π(a|i), 1 before its first move (von Stengel 1996, eq. 3.3).

    Args:
        policy: `[S, I, A]`.
        parent, levels: see the module.

    Returns:
        `[S, I, A]`.
    """
    plan = torch.cat([torch.zeros_like(policy).flatten(1), torch.ones_like(policy[:, 0, :1])], 1)  # the last place, -1, is that before any move
    actions = torch.arange(policy.shape[-1], device=policy.device)
    for level in levels:
        plan[:, level.unsqueeze(-1) * policy.shape[-1] + actions] = plan[:, parent[level]].unsqueeze(-1) * policy[:, level]
    return plan[:, :-1].view_as(policy)


def plan_policy(plan: Tensor, available: Tensor) -> Tensor:
    """The policy π(a|i) = x(i, a) / Σ_b x(i, b) of a realization plan, `[S, I, A]`: uniform over what is available `[I, A]` where the plan never comes."""
    total = plan.sum(-1, keepdim=True)
    uniform = available.to(plan.dtype)
    return torch.where(total > 0, plan / total, uniform / uniform.sum(-1, keepdim=True))


def sequence_values(gain: Tensor, parent: Tensor, root: Tensor, levels: Sequence[Tensor], worth: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Counterfactual values of every action, Q(i, a) = gain(i, a) + Σ V(i') over the sets i' that (i, a) leads to, and of both players before the first move.

    With what each sequence gains on average against the other player and chance, Q is the counterfactual value of Zinkevich et al. 2007, eq. 7.

    Args:
        gain: `[S, I, A]`, what ends after a sequence without a further move of its player.
        parent, levels: see the module.
        root: `[I]`, whose set it is: 0 or 1.
        worth: `(level, Q [S, n, A]) → V [S, n]` of a level's sets.

    Returns:
        Q `[S, I, A]` and `[S, 2]`.
    """
    seeds, sets, actions = gain.shape
    q = torch.cat([gain.flatten(1), gain.new_zeros(seeds, 2)], 1)
    above = torch.where(parent < 0, sets * actions + root, parent)
    for level in reversed(levels):
        here = q[:, :-2].view_as(gain)[:, level]
        q = q.index_add(1, above[level], worth(level, here))
    return q[:, :-2].view_as(gain), q[:, -2:]


def regret_matching(regret: Tensor, available: Tensor) -> Tensor:
    """π(a) ∝ max(R(a), 0), `[S, I, A]`: uniform over what is available `[I, A]` where no regret is above 0 (Hart and Mas-Colell 2000, eq. 2.2; Zinkevich et al.
    2007, eq. 8)."""
    return plan_policy(regret.clamp(min=0) * available, available)


def kl_proximal_step(policy: Tensor, reference: Tensor, gain: Tensor, *, rate: float, weight: float) -> Tensor:
    """The π of the largest rate · (<π, gain> - weight · KL(π ‖ reference)) - KL(π ‖ policy): ∝ (policy · reference^(rate · weight) · exp(rate · gain)) to the
    power of 1 / (1 + rate · weight) (arXiv:2505.19731v1, section 4, one proximal step of Nash-MP).

    Args:
        policy, reference: probabilities `[..., A]`; what one of them has none of keeps none.
        gain: `[..., A]`, what each action gains against the opponent, P(a ≻ π').
        rate: above 0. weight: of the reference, at least 0.
    """
    pull = rate * weight * reference.log() if weight else 0.0
    return ((policy.log() + pull + rate * gain) / (1 + rate * weight)).softmax(-1)


def geometric_mixture(policy: Tensor, reference: Tensor, share: float) -> Tensor:
    """∝ policy^(1 - share) · reference^share, `[..., A]`, share in [0, 1] (Nash-MD, arXiv:2312.00886, section 5)."""
    if share == 1:
        return reference.expand_as(policy).clone()
    return ((1 - share) * policy.log() + share * reference.log()).softmax(-1)
