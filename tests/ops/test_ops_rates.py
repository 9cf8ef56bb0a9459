"""Exponents of growth."""

import pytest
import torch

from operant import ops


def test_the_exponent_of_a_power_and_of_points_by_hand():
    x = torch.tensor([1.0, 10.0, 100.0, 1000.0], dtype=torch.float64)
    curves = torch.stack([3 * x, 2 * x.sqrt(), x**-1.5, torch.full_like(x, 7.0)])
    assert ops.log_log_slope(x, curves).tolist() == pytest.approx([1, 0.5, -1.5, 0])
    # logs of x in decades 0, 1, 2, 3; of y 0, 0, 1, 1: slope (−1.5·0 − 0.5·0 + 0.5·1 + 1.5·1) / 5
    assert ops.log_log_slope(x, torch.tensor([1.0, 1.0, 10.0, 10.0], dtype=torch.float64)).item() == pytest.approx(0.4)


def test_what_is_not_above_zero_has_no_exponent():
    x = torch.tensor([1.0, 2.0, 4.0])
    assert ops.log_log_slope(x, torch.tensor([[0.0, 1.0, 2.0], [-1.0, 1.0, 2.0], [1.0, 2.0, 4.0]])).isnan().tolist() == [True, True, False]
