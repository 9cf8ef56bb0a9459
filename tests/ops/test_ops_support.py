"""Empirical support and mass balance: counted by hand, and against autograd and small steps."""

from __future__ import annotations

import pytest
import torch

from operant import ops


def test_answers_are_sorted_by_what_is_in_reach():
    before = torch.tensor([0.5, 0.2, 0.0, 0.0, 0.3, 0.1])
    after = torch.tensor([0.6, 0.0, 0.1, 0.0, 0.3, 0.1])
    right = torch.tensor([True, True, True, True, False, True])
    assert [int(count) for count in ops.support_counts(before, after, right, threshold=0.0)] == [2, 1, 1, 1]
    assert [int(count) for count in ops.support_counts(before, after, right, threshold=0.1)] == [1, 0, 1, 3]  # at the threshold is not above it
    assert [int(count) for count in ops.support_counts(before, after, right, threshold=0.0, threshold_after=0.1)] == [1, 0, 2, 2]


def test_dynamics_by_hand():
    found = ops.support_dynamics(torch.tensor(6), torch.tensor(2), torch.tensor(4))
    assert [float(value) for value in found] == pytest.approx([0.6, 0.25, 2 * 0.6 * 0.25 / 0.85, -2 / 12])
    nothing = ops.support_dynamics(torch.tensor(0), torch.tensor(0), torch.tensor(0))
    assert all(bool(value.isnan()) for value in nothing)


def test_the_step_is_the_gradient_of_the_sampled_reward():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    right, sampled = (torch.rand(3, 7, generator=generator) < 0.5 for _ in range(2))
    p = logits.softmax(-1)
    value = (p * sampled * torch.where(right, 2.0, -0.5)).sum()
    (gradient,) = torch.autograd.grad(value, logits)
    assert torch.allclose(ops.sampled_logit_step(p.detach(), right, sampled, reward=2.0, penalty=-0.5), gradient, atol=1e-12)


def test_the_balance_is_what_a_small_step_does_and_its_first_two_parts_are_never_negative():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(50, 20, generator=generator, dtype=torch.float64)
    right, sampled = (torch.rand(50, 20, generator=generator) < 0.4 for _ in range(2))
    p = logits.softmax(-1)
    found = ops.mass_balance(p, right, sampled)
    moved = (logits + 1e-6 * ops.sampled_logit_step(p, right, sampled)).softmax(-1)
    assert torch.allclose(sum(found), ((moved - p) * right).sum(-1) / 1e-6, rtol=1e-4, atol=1e-9)
    assert (found.reinforced >= 0).all() and (found.suppressed >= 0).all() and (found.unsampled < 0).any()
    everything = ops.mass_balance(p, right, torch.ones_like(sampled))
    assert everything.unsampled.abs().max() == 0
