"""Divergence from a reference policy as a cost: numbers by hand, and what is largest."""

from __future__ import annotations

import math

import pytest
import torch

from operant import ops

F64 = torch.float64


def test_the_soft_value_by_hand():
    """Reference (1/4, 3/4), Q = (log 2, 0), temperature 1: log(1/4 · 2 + 3/4) = log 5/4, the policy (2/5, 3/5)."""
    q, reference = torch.tensor([math.log(2), 0.0], dtype=F64), torch.tensor([0.25, 0.75], dtype=F64)
    assert ops.kl_regularized_value(q, reference, temperature=1.0).item() == pytest.approx(math.log(1.25))
    assert ops.kl_regularized_policy(q, reference, temperature=1.0).tolist() == pytest.approx([0.4, 0.6])
    cost = ops.policy_divergence(torch.tensor([0.4, 0.6], dtype=F64), reference).item()
    assert cost == pytest.approx(0.4 * math.log(1.6) + 0.6 * math.log(0.8))
    assert 0.4 * math.log(2) - cost == pytest.approx(math.log(1.25))  # the value is what the policy has


def test_no_other_policy_has_more():
    draw = torch.Generator().manual_seed(1)
    q, reference = torch.rand(5, 3, generator=draw, dtype=F64), torch.rand(5, 3, generator=draw, dtype=F64)
    reference = reference / reference.sum(-1, keepdim=True)
    others = torch.rand(1000, 5, 3, generator=draw, dtype=F64)
    others = others / others.sum(-1, keepdim=True)
    found = (others * q).sum(-1) - 0.3 * ops.policy_divergence(others, reference)
    best = ops.kl_regularized_value(q, reference, temperature=0.3)
    assert (found <= best + 1e-12).all() and (found.amax(0) > best - 0.05).all()
    assert ((reference * q).sum(-1) <= best).all() and (best <= q.amax(-1)).all()


def test_what_the_reference_never_does_costs_without_end():
    certain = torch.tensor([1.0, 0.0], dtype=F64)
    assert ops.policy_divergence(torch.tensor([0.5, 0.5], dtype=F64), certain).item() == math.inf
    assert ops.policy_divergence(certain, certain).item() == 0
    assert ops.kl_regularized_policy(torch.tensor([0.0, 99.0], dtype=F64), certain, temperature=1.0).tolist() == [1.0, 0.0]


def test_a_clone_by_hand():
    """Three demonstrations of two: (3 + 1) / (3 + 2); what was not demonstrated is uniform."""
    found = ops.cloned_policy(torch.tensor([[3.0, 0.0], [0.0, 0.0]], dtype=F64))
    torch.testing.assert_close(found, torch.tensor([[0.8, 0.2], [0.5, 0.5]], dtype=F64))
