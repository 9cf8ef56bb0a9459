"""Finite MDPs whose policies pay for leaving a reference policy: the value of a policy is its return less temperature times the trajectories' divergence."""

from __future__ import annotations

import torch
from torch import Tensor


def kl_regularized_policy(q: Tensor, reference: Tensor, *, temperature: float) -> Tensor:
    """The policy of the largest Σ_a pi Q - temperature · KL(pi ‖ reference): reference · exp(Q / temperature), normalised (Neu, Jonsson and Gómez 2017).

    Args:
        q: `[..., A]`.
        reference: probabilities, `[..., A]`; what has none keeps none.
        temperature: above 0, in units of Q.
    """
    return (reference.log() + q / temperature).softmax(-1)


def kl_regularized_value(q: Tensor, reference: Tensor, *, temperature: float) -> Tensor:
    """What that policy has, temperature · log Σ_a reference · exp(Q / temperature): `[...]`, between the mean of Q under the reference and its largest."""
    return temperature * (reference.log() + q / temperature).logsumexp(-1)


def policy_divergence(policy: Tensor, reference: Tensor) -> Tensor:
    """KL(pi ‖ reference) in each state, nats: `[...]` of probabilities `[..., A]`; infinite where a policy takes what the reference never does.

    Weighted by how often the policy is in each state, and summed over steps, it is the divergence of the trajectories (arXiv:2310.17303, section 2).
    """
    return torch.where(policy > 0, policy * (policy / reference).log(), 0.0).sum(-1)


def cloned_policy(count: Tensor) -> Tensor:
    """Behaviour cloning of demonstrations, smoothed by one imagined demonstration of each action: (n + 1) / (N + A) (arXiv:2310.17303, section 3).

    Args:
        count: `[..., K, A]`, how often each action was demonstrated in each state.
    """
    return (count + 1) / (count.sum(-1, keepdim=True) + count.shape[-1])
