"""Recovering arms: numbers worked by hand."""

from __future__ import annotations

import pytest
import torch

from operant import ops


def test_an_envelope_by_hand():
    """Points (1, 0.3), (1/2, 0.2), (1/3, 0.4/3), (1/4, 1/4): the chord from 1/4 to 1 is above the middle ones."""
    rates, envelope = ops.concave_envelope(torch.tensor([0.3, 0.4, 0.4, 1.0], dtype=torch.float64))
    assert rates.tolist() == pytest.approx([0, 1 / 4, 1 / 3, 1 / 2, 1])
    slope = (0.3 - 0.25) / 0.75
    assert envelope.tolist() == pytest.approx([0, 0.25, 0.25 + slope / 12, 0.25 + slope / 4, 0.3])


def test_rates_are_filled_by_hand():
    """Two arms: one pays 1 whenever it is pulled, the other 0.9 after two steps. Of 1.2 pulls a step the first has all, the second the rest."""
    reward = torch.tensor([[1.0, 1.0], [0.0, 0.9]], dtype=torch.float64)
    rates, envelope = ops.concave_envelope(reward)
    share = ops.fill_rates(rates, envelope, 1.2)
    assert share.tolist() == pytest.approx([1, 0.2])
    assert ops.relaxed_value(rates, envelope, share).item() == pytest.approx(1 + 0.2 * 0.9)
    assert ops.fill_rates(rates, envelope, 9.0).tolist() == pytest.approx([1, 0.5])  # no more than is useful
    assert ops.relaxed_value(rates, envelope, torch.tensor([0.25, 0.5]).double()).item() == pytest.approx(0.25 + 0.45)
