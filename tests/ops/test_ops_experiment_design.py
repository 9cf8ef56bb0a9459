"""Experiment design over policies: numbers by hand, and derivatives."""

from __future__ import annotations

import pytest
import torch

from operant import ops

F64 = torch.float64


def test_mean_features_by_hand():
    """Two pairs visited 1/4 and 3/4 of the time."""
    features = torch.tensor([[[1.0, 0.0], [2.0, 4.0]]], dtype=F64)
    assert ops.policy_features(features, torch.tensor([[0.25, 0.75]], dtype=F64)).tolist() == [1.75, 3.0]


def test_norms_of_policies_by_hand():
    """Λ = diag(2, 4): 1/2 of (1, 0), 1/2 + 1/4 of (1, 1), at either of two steps that share it."""
    mean = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]], dtype=F64).expand(2, 2, 2)
    found = ops.design_norms(mean, torch.diag(torch.tensor([0.5, 0.25], dtype=F64)).unsqueeze(0))
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.75], [0.5, 0.75]], dtype=F64))


def test_what_a_visit_is_worth_is_a_derivative():
    """Of minus Σ w ‖phi_pi‖² with respect to how often a pair is visited; steps that share their data add up."""
    draw = torch.Generator().manual_seed(0)
    features, mean = torch.randn(1, 3, 2, 4, generator=draw, dtype=F64), torch.randn(2, 5, 4, generator=draw, dtype=F64)
    weight, count = torch.rand(2, 5, generator=draw, dtype=F64), torch.zeros(1, 3, 2, dtype=F64, requires_grad=True)
    covariance = torch.eye(4, dtype=F64) + ops.feature_covariance(features, count)
    (slope,) = torch.autograd.grad((weight * ops.design_norms(mean, covariance.inverse())).sum(), count)
    torch.testing.assert_close(ops.exploration_reward(features, mean, weight, torch.eye(4, dtype=F64).unsqueeze(0)), -slope)


def bandit(count: tuple[float, float], weight: tuple[float, float], episodes: float) -> tuple[float, list[float]]:
    """Two actions, a policy each, with so many logged transitions."""
    value, occupancy = ops.frank_wolfe_design(*told(count), torch.tensor(weight, dtype=F64), logged(count), torch.tensor(episodes, dtype=F64))
    return value.item(), occupancy.flatten().tolist()


def logged(count: tuple[float, float]) -> torch.Tensor:
    return torch.diag(torch.tensor(count, dtype=F64)).unsqueeze(0)


def told(count: tuple[float, float]) -> tuple[torch.Tensor, ...]:
    """Features, transitions, the first state and the policies' mean features."""
    features = torch.eye(2, dtype=F64)
    return features.view(1, 1, 2, 2), torch.ones(1, 1, 2, 1, dtype=F64), torch.ones(1, dtype=F64), features.view(1, 2, 2)


def test_a_design_fills_in_what_data_lack():
    """4 and 2 logged transitions, 4 episodes: 5 each is best, 1/5, so that a quarter of them is of the first. Where the second's error counts four times, all
    are of the second: 4 / 6."""
    value, share = bandit((4.0, 2.0), (1.0, 1.0), 4.0)
    assert value == pytest.approx(0.2, rel=0.01) and share == pytest.approx([0.25, 0.75], abs=0.02)
    value, share = bandit((4.0, 2.0), (1.0, 4.0), 4.0)
    assert value == pytest.approx(4 / 6, rel=0.01) and share == pytest.approx([0, 1], abs=0.02)


def test_a_design_reaches_what_is_behind_a_door():
    """Action 0 of the first step leads to state 1, where two actions are, action 1 stays. Three policies, each of which visits a pair of the second step by
    itself: each of these has a third of the episodes, so that two thirds go through the door, and the largest norm is 1 / (T / 3)."""
    transition = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]], dtype=F64)  # [K, A, K]
    policies = torch.zeros(3, 2, 2, 2, dtype=F64)  # [N, H, K, A]
    for policy, (first, behind) in enumerate(((0, 0), (0, 1), (1, 0))):
        policies[policy, :, 0, first], policies[policy, :, 1, behind] = 1, 1
    initial, features = torch.tensor([1.0, 0.0], dtype=F64), torch.eye(4, dtype=F64).view(1, 2, 2, 4).expand(2, 2, 2, 4)
    occupancy = ops.horizon_occupancy(initial, transition.unsqueeze(0), policies)
    mean = ops.policy_features(features, occupancy).transpose(0, 1)
    prior = 1e-6 * torch.eye(4, dtype=F64).expand(2, 4, 4)
    episodes = torch.tensor(900.0, dtype=F64)
    value, found = ops.frank_wolfe_design(features, transition.unsqueeze(0), initial, mean, torch.ones(3, dtype=F64), prior, episodes)
    assert value.item() == pytest.approx(1 / 300, rel=0.02)
    assert found[0, 0].tolist() == pytest.approx([2 / 3, 1 / 3], abs=0.02) and found[1, 1].tolist() == pytest.approx([1 / 3, 1 / 3], abs=0.02)


@pytest.mark.parametrize(("count", "needed"), [((40.0, 2.0), 62.0), ((100.0, 4.0), 0.0), ((100.0, 2.0), 2.0)])
def test_episodes_that_are_needed_by_hand(count: tuple[float, float], needed: float):
    """Gaps 0 and 1/2, epsilon 0.1, beta 1: 100 visits of the first action and 4 of the second, less those that were logged."""
    found = ops.offline_to_online_episodes(*told(count), torch.tensor([0.0, 0.5], dtype=F64), logged(count), epsilon=0.1, beta=1.0, most=1e4)
    assert found.item() == pytest.approx(needed, rel=0.03)


def test_no_more_episodes_are_found_than_were_searched():
    count = (1.0, 1.0)
    found = ops.offline_to_online_episodes(*told(count), torch.tensor([0.0, 0.0], dtype=F64), logged(count), epsilon=0.1, beta=1.0, most=50.0)
    assert found.item() == pytest.approx(50, rel=1e-6)
