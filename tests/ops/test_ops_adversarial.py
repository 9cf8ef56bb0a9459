"""Policies and estimates against an adversary: numbers by hand, and what is smallest."""

from __future__ import annotations

import pytest
import torch

from operant import ops

F64 = torch.float64


def test_the_log_barrier_by_hand():
    """Two actions, losses 0 and 3/2, rate 1: 1/x + 1/(x + 3/2) = 1 at x = 3/2: (2/3, 1/3). Losses that are alike are shared alike, at any height."""
    assert ops.log_barrier_policy(torch.tensor([0.0, 1.5], dtype=F64), rate=1.0).tolist() == pytest.approx([2 / 3, 1 / 3])
    assert ops.log_barrier_policy(torch.tensor([-7.0, -5.5], dtype=F64), rate=1.0).tolist() == pytest.approx([2 / 3, 1 / 3])
    assert ops.log_barrier_policy(torch.full((50,), 3.0, dtype=F64), rate=9.0).tolist() == pytest.approx([0.02] * 50)
    steep = ops.log_barrier_policy(torch.tensor([0.0, 1e9], dtype=F64), rate=1.0)
    assert steep[1].item() == pytest.approx(1e-9, rel=1e-6)


def test_no_other_policy_has_less():
    draw = torch.Generator().manual_seed(2)
    loss, others = 5 * torch.rand(4, 3, generator=draw, dtype=F64), torch.rand(2000, 4, 3, generator=draw, dtype=F64)
    others = others / others.sum(-1, keepdim=True)

    def objective(p):
        return (0.7 * p * loss - p.log()).sum(-1)

    assert (objective(ops.log_barrier_policy(loss, rate=0.7)) <= objective(others) + 1e-9).all()


def test_the_reduced_estimate_by_hand():
    """X = 2 or -2 alike, losses 1 and 3 of at most 4: X L is 2 and -6, E min(X, 0) = -1, and the estimates 2 - 4 and -6 + 8 - 4, in the mean -2 too."""
    found = ops.magnitude_reduced(torch.tensor([2.0, -2.0]), torch.tensor([1.0, 3.0]), torch.tensor(-1.0), most=4.0)
    assert found.tolist() == [-2.0, -2.0]
