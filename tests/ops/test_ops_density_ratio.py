"""Ratios of densities: the loss by hand, and where it is smallest."""

from __future__ import annotations

import math

import pytest
import torch

from operant import ops


def test_the_contrastive_loss_by_hand():
    """f = 1 says nothing: 2 log 2. f = 4 where it was seen and 1/4 where it was drawn: 2 log 5/4; the other way round 2 log 5."""
    f = torch.tensor([1.0, 4.0, 0.25]).double()
    assert ops.contrastive_loss(f, 1 / f).tolist() == pytest.approx([2 * math.log(2), 2 * math.log(1.25), 2 * math.log(5)])
    assert ops.contrastive_loss(torch.zeros(1), torch.ones(1)).item() == math.inf


def test_it_is_smallest_at_the_ratio():
    """Seen with probability 0.6, drawn with 0.2: f = 3."""
    f = torch.linspace(0.1, 10, 991).double()
    nothing = torch.zeros_like(f)
    expected = 0.6 * ops.contrastive_loss(f, nothing) + 0.2 * ops.contrastive_loss(torch.full_like(f, math.inf), f)
    assert f[expected.argmin()].item() == pytest.approx(3.0, abs=0.01)


def test_a_weighted_residual_by_hand():
    """Pairs seen 3 times and once, ratios 0.5 and 9, which is clipped at 2, penalty 1/4: 0.5 · 3/4 of the one residual, 2 / 4 of the other, less
    (3/4 + 4) / 16; and a ratio that lies on the first pair alone."""
    weight, residual, count = torch.tensor([[0.5, 9.0], [1.0, 0.0]]), torch.tensor([[1.0, -2.0], [0.0, 4.0], [-1.0, 0.0]]), torch.tensor([3.0, 1.0])
    found = ops.clipped_weighted_residual(weight, residual, count, clip=2.0, penalty=0.25)
    assert found.tolist() == [
        pytest.approx([0.375 - 1 - 0.296875, 2 - 0.296875, -0.375 - 0.296875]),
        pytest.approx([0.75 - 0.1875, -0.1875, -0.75 - 0.1875]),
    ]
    assert ops.clipped_weighted_residual(torch.full((1, 2), torch.inf), torch.ones(1, 2), torch.zeros(2), clip=1.0, penalty=0.1).item() == 0
