"""Bandits' equations by hand, and what they keep whatever they are given."""

from __future__ import annotations

import math

import pytest
import torch

from operant import ops

F64 = torch.float64


def test_ucb_index_by_hand():
    """Ten plays of three actions, of which one was not tried."""
    index = ops.ucb_index(torch.tensor([8.0, 2.0, 0.0], dtype=F64), torch.tensor([0.5, 0.25, 0.0], dtype=F64), scale=2.0)
    assert index.tolist() == pytest.approx([0.5 + math.sqrt(2 * math.log(10) / 8), 0.25 + math.sqrt(math.log(10)), math.inf])


def test_exponential_weights_by_hand():
    """A gain of ln 2 more doubles the weight at rate 1, and has four times of it at rate 2."""
    gain = torch.tensor([0.0, math.log(2)], dtype=F64)
    assert ops.exponential_weights(gain, 1.0).tolist() == pytest.approx([1 / 3, 2 / 3])
    assert ops.exponential_weights(gain, torch.tensor([2.0], dtype=F64)).tolist() == pytest.approx([1 / 5, 4 / 5])


def test_exp3_by_hand():
    """Two actions, γ = 1/2, the second's estimated gain is 4 ln 3: weights 1 and 3, of which a half is uniform."""
    policy = ops.exp3_policy(torch.tensor([0.0, 4 * math.log(3)], dtype=F64), 0.5)
    assert policy.tolist() == pytest.approx([0.5 / 4 + 0.25, 0.5 * 3 / 4 + 0.25])
    assert ops.exp3_policy(torch.tensor([0.0, 9.0], dtype=F64), 1.0).tolist() == [0.5, 0.5]


def test_the_share_of_exp3_by_hand():
    """2 ln 2 / ((e - 1) t): below 1 from t = 1 on for two actions, not for four."""
    count = torch.tensor([0.0, 1.0, 100.0], dtype=F64)
    one = math.sqrt(2 * math.log(2) / (math.e - 1))
    assert ops.exp3_share(count, 2).tolist() == pytest.approx([one, one, one / 10])
    assert ops.exp3_share(count, 4)[:2].tolist() == [1, 1]


def test_inverse_gap_weighting_by_hand():
    """Gaps 0.5 and 0.25 of three actions with γ = 4: 1/5, 1/4, and the rest."""
    value = torch.tensor([0.25, 0.75, 0.5], dtype=F64)
    assert ops.inverse_gap_weighting(value, 4.0).tolist() == pytest.approx([1 / 5, 1 - 1 / 5 - 1 / 4, 1 / 4])
    assert ops.inverse_gap_weighting(value, 0.0).tolist() == pytest.approx([1 / 3] * 3)
    assert ops.inverse_gap_weighting(value, 4.0, torch.tensor([True, False, True])).tolist() == pytest.approx([1 / 3, 0, 2 / 3])
    assert ops.inverse_gap_weighting(value, 4.0, torch.tensor([True, False, False])).tolist() == [1, 0, 0]


def test_inverse_gap_weighting_is_a_distribution_whose_best_has_its_share():
    """Sums to 1 within 1e-12; the best action has at least 1 / A, of as many as can be taken."""
    generator = torch.Generator().manual_seed(100)
    value = torch.randn(2_000, 20, generator=generator, dtype=F64)
    gamma = 10 ** (4 * torch.rand(2_000, 1, generator=generator, dtype=F64))
    available = torch.rand(2_000, 20, generator=generator) < 0.5
    available[:, 3] = True
    for allowed in (None, available):
        policy = ops.inverse_gap_weighting(value, gamma, allowed)
        seen = value if allowed is None else value.masked_fill(~allowed, -torch.inf)
        count = torch.full((2_000, 1), 20) if allowed is None else allowed.sum(-1, keepdim=True)
        assert (policy.sum(-1) - 1).abs().max() < 1e-12 and policy.min() >= 0
        assert (policy.gather(-1, seen.argmax(-1, keepdim=True)) >= 1 / count - 1e-12).all()
        assert allowed is None or (policy[~allowed] == 0).all()


def test_ridge_regression_by_hand():
    """One feature: 1, seen three times, for 6 in all, and 2, once, for 1: (6 + 2) / (3 + 4 + 1)."""
    parameter, gram = ops.ridge_regression(
        torch.tensor([[1.0], [2.0]], dtype=F64), torch.tensor([3.0, 1.0], dtype=F64), torch.tensor([6.0, 1.0], dtype=F64), ridge=1
    )
    assert gram.tolist() == [[8.0]] and parameter.item() == pytest.approx(1)


def test_logistic_regression_by_hand():
    """Three successes of four are log-odds of ln 3; of two groups that are told apart, each its own; its slope is 0 there."""
    features = torch.eye(2, dtype=F64)
    count, gained = torch.tensor([[4.0, 10.0], [2.0, 3.0]], dtype=F64), torch.tensor([[3.0, 1.0], [1.0, 3.0]], dtype=F64)
    found = ops.logistic_regression(features, count, gained, ridge=1e-9)
    assert found[0].tolist() == pytest.approx([math.log(3), math.log(1 / 9)], abs=1e-6) and found[1, 0].item() == pytest.approx(0, abs=1e-9)
    ridge = ops.logistic_regression(features, torch.tensor([[3.0, 0.0]], dtype=F64), torch.tensor([[3.0, 0.0]], dtype=F64), ridge=0.5)
    assert (3 * (ridge[0, 0].sigmoid() - 1) + 0.5 * ridge[0, 0]).item() == pytest.approx(0, abs=1e-12) and ridge[0, 1] == 0
    generator = torch.Generator().manual_seed(100)
    features, gained = 5 * torch.randn(3, 200, 4, generator=generator, dtype=F64), (torch.rand(3, 200, generator=generator) < 0.5).to(F64)
    found = ops.logistic_regression(features, torch.ones_like(gained), gained, ridge=1e-3, steps=15)
    slope = (features * ((features @ found.unsqueeze(-1)).squeeze(-1).sigmoid() - gained).unsqueeze(-1)).sum(-2) + 1e-3 * found
    assert slope.abs().max() < 1e-8


def test_a_g_optimal_design_has_the_smallest_norm_that_there_can_be():
    """Kiefer and Wolfowitz: the largest norm is d. Of the axes and shorter vectors between them the axes alone are taken, all alike."""
    generator = torch.Generator().manual_seed(100)
    features = torch.randn(2, 60, 4, generator=generator, dtype=F64)
    weight = ops.g_optimal_design(features, steps=3_000)
    inverse = ((features * weight.unsqueeze(-1)).mT @ features).inverse()
    assert weight.sum(-1).tolist() == pytest.approx([1, 1]) and ((features @ inverse) * features).sum(-1).amax(-1).tolist() == pytest.approx([4, 4], rel=0.01)
    axes = torch.cat([torch.eye(3, dtype=F64), torch.full((1, 3), 0.9 / 3**0.5, dtype=F64)]).unsqueeze(0)
    assert ops.g_optimal_design(axes)[0].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0], abs=1e-6)


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("distance", [0.5, 0.2, 0.1])
def test_a_net_is_near_every_point_and_small(dimension: int, distance: float):
    net = ops.ball_net(dimension, distance)
    assert len(net) <= (1 + 2 / distance) ** dimension
    point = torch.randn(2_000, dimension, generator=torch.Generator().manual_seed(100), dtype=F64)
    point = point / point.norm(dim=-1, keepdim=True) * torch.linspace(0, 1, 2_000, dtype=F64).unsqueeze(-1)
    assert torch.cdist(point, net).amin(-1).max() <= distance + 1e-12
