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
