"""What transitions can become for a price: numbers by hand, and minimised by brute force."""

from __future__ import annotations

import pytest
import torch

from operant import ops

WEIGHT, VALUE = torch.tensor([[0.5, 0.5], [0.2, 0.8]], dtype=torch.float64), torch.tensor([0.0, 2.0], dtype=torch.float64)


def brute(divergence, weight: torch.Tensor, price: float) -> float:
    """Over two states, by every share of the second one."""
    share = torch.linspace(0, 1, 200_001, dtype=torch.float64)
    mu = torch.stack([1 - share, share], -1)
    return (mu @ VALUE + price * divergence(mu, weight)).min().item()


def total_variation(mu, weight):
    return (mu - weight).abs().sum(-1) / 2


def kl(mu, weight):
    return torch.special.xlogy(mu, mu / weight).sum(-1)


def chi_square(mu, weight):
    return (weight * (mu / weight - 1).square()).sum(-1)


@pytest.mark.parametrize("price", [0.3, 1.0, 3.0])
def test_closed_forms_are_the_minimum(price: float):
    least = VALUE.amin()
    found = {
        total_variation: ops.total_variation_robust(WEIGHT, VALUE, price=price, least=least),
        kl: ops.kl_robust(WEIGHT, VALUE, price=price, most=2.0),
        chi_square: ops.chi_square_robust(WEIGHT, VALUE, price=price),
    }
    for divergence, value in found.items():
        assert value.tolist() == pytest.approx([brute(divergence, row, price) for row in WEIGHT], abs=1e-7), divergence.__name__


def test_by_hand():
    """Total variation: what is above 0.3 is brought there for 0.3. Chi-square with a price of 1: the mean 1 less a quarter of the variance 1."""
    assert ops.total_variation_robust(WEIGHT, VALUE, price=0.3, least=torch.tensor(0.0).double()).tolist() == pytest.approx([0.15, 0.24])
    assert ops.chi_square_robust(WEIGHT, VALUE, price=1.0)[0].item() == pytest.approx(0.75)
    assert ops.kl_robust(WEIGHT, VALUE, price=1.0, most=2.0)[0].item() == pytest.approx(-torch.tensor(0.5 + 0.5 * 2.718281828459045**-2).log().item(), abs=1e-6)
    dear = [ops.total_variation_robust(WEIGHT, VALUE, price=9.0, least=VALUE.amin()), ops.kl_robust(WEIGHT, VALUE, price=1e6, most=2.0)]
    for found in [*dear, ops.chi_square_robust(WEIGHT, VALUE, price=1e6)]:  # nature does not pay
        torch.testing.assert_close(found, WEIGHT @ VALUE, rtol=0, atol=1e-5)
