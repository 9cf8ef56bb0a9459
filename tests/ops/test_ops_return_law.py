"""Distributions of returns: numbers worked by hand."""

from __future__ import annotations

import pytest
import torch

from operant import ops


def test_a_step_with_stock_by_hand():
    """Two states, one action that pays 1 in state 0 and nothing in state 1. Stocks -1, 0, 1; returns 0, 1, 2. State 1 returns 1 where the stock is 1."""
    law = torch.zeros(2, 3, 3, dtype=torch.float64)
    law[:, :, 0] = 1
    law[1, 2] = torch.tensor([0.0, 1.0, 0.0])
    transition = torch.tensor([[[0.25, 0.75]], [[0.0, 1.0]]], dtype=torch.float64)
    found = ops.stock_backup(law, transition, torch.tensor([[1], [0]]))
    assert found.shape == (2, 1, 3, 3)
    assert found[0, 0].tolist() == [[0, 1, 0], [0, 0.25, 0.75], [0, 0.25, 0.75]]  # 1 more of each, and a stock beyond the last is the last
    assert found[1, 0].tolist() == law[1].tolist()


def test_conditional_value_at_risk_by_hand():
    """Of 0, 1, 2 with 0.1, 0.3, 0.6: the worst fifth is half 0 and half 1; all of it is the mean."""
    value, law = torch.tensor([0.0, 1.0, 2.0]).double(), torch.tensor([[0.1, 0.3, 0.6], [0.0, 0.0, 1.0]], dtype=torch.float64)
    for level, expected in ((0.05, [0, 2]), (0.2, [0.5, 2]), (0.5, [(0.3 + 0.2) / 0.5, 2]), (1.0, [1.5, 2])):
        assert ops.conditional_value_at_risk(value, law, level=level).tolist() == pytest.approx(expected)
        cut = value.unsqueeze(-1) - (law.unsqueeze(1) * (value.unsqueeze(-1) - value).clamp(min=0)).sum(-1).T / level  # max_c c - E(c - G)+ / level
        assert cut.amax(0).tolist() == pytest.approx(expected)
