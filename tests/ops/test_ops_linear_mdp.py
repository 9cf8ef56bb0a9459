"""Linear regression on features of pairs: numbers by hand, and the sums written out transition by transition."""

from __future__ import annotations

import pytest
import torch

from operant import ops

F64 = torch.float64


def test_the_elliptic_norm_by_hand():
    """Λ = diag(2, 4): 1/√2 and 1/2 along the axes, √(1/2 + 1/4) of (1, 1)."""
    features = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]], dtype=F64)
    found = ops.elliptic_norm(features, torch.diag(torch.tensor([0.5, 0.25], dtype=F64)))
    assert found[0].tolist() == pytest.approx([0.5**0.5, 0.5, 0.75**0.5])


def test_features_that_tell_pairs_apart_make_a_table():
    """One-hot: a pair seen three times, of which two paid and two led to state 0, with a ridge of 1: 1/2, 1/2 and 1/4; width 1/√4, of what was not seen 1."""
    features = torch.eye(2, dtype=F64).view(1, 2, 2)  # one state, two actions
    count, gained = torch.tensor([[3.0, 0.0]], dtype=F64), torch.tensor([[2.0, 0.0]], dtype=F64)
    following = torch.tensor([[[2.0, 1.0], [0.0, 0.0]]], dtype=F64)  # of two states, the other one with pairs elsewhere
    reward, transition, width = ops.ridge_model(features, count, following, gained, ridge=1.0)
    assert reward.tolist() == [[0.5, 0.0]] and transition.tolist() == [[[0.5, 0.25], [0.0, 0.0]]]
    assert width[0].tolist() == pytest.approx([0.5, 1.0])


def test_it_is_least_squares_on_every_transition():
    """Against w = Λ⁻¹ Σ phi (r + V(s')), summed transition by transition, of two seeds of which both have the same features."""
    draw = torch.Generator().manual_seed(0)
    states, actions, d = 4, 3, 2
    features = torch.randn(1, states, actions, d, generator=draw, dtype=F64)
    value = torch.randn(2, states, generator=draw, dtype=F64)
    following, gained = torch.zeros(2, states, actions, states, dtype=F64), torch.zeros(2, states, actions, dtype=F64)
    covariance, target = 0.5 * torch.eye(d, dtype=F64).repeat(2, 1, 1), torch.zeros(2, d, dtype=F64)
    for seed in range(2):
        for _ in range(30):
            s, a, n = (int(torch.randint(size, (), generator=draw)) for size in (states, actions, states))
            r = float(torch.rand((), generator=draw))
            phi = features[0, s, a]
            following[seed, s, a, n] += 1
            gained[seed, s, a] += r
            covariance[seed] += torch.outer(phi, phi)
            target[seed] += phi * (r + value[seed, n])
    reward, transition, width = ops.ridge_model(features, following.sum(-1), following, gained, ridge=0.5)
    weights = torch.linalg.solve(covariance, target.unsqueeze(-1)).squeeze(-1)
    for seed in range(2):
        torch.testing.assert_close(ops.bellman_q(reward, transition, value, discount=1.0)[seed], features[0] @ weights[seed])
        for s in range(states):
            for a in range(actions):
                phi = features[0, s, a]
                assert width[seed, s, a].item() == pytest.approx((phi @ torch.linalg.inv(covariance[seed]) @ phi).item() ** 0.5)
    seen = ops.feature_covariance(features, following.sum(-1))
    torch.testing.assert_close(seen, covariance - 0.5 * torch.eye(d, dtype=F64))


def test_the_excess_loss_by_hand():
    """Targets 0, 1 and 1 of one pair, 3 of another: means 2/3 and 3. Q = (1, 2) loses 1 + 0 + 0 + 1 = 2, the means (0.6667) 2/3: an excess of 4/3."""
    found = ops.excess_squared_loss(
        torch.tensor([[1.0, 2.0]], dtype=F64),
        torch.tensor([[2 / 3, 3.0]], dtype=F64),
        torch.tensor([[2 / 3, 3.0]], dtype=F64),
        torch.tensor([[3.0, 1.0]], dtype=F64),
    )
    assert found.item() == pytest.approx(4 / 3)


def test_features_of_a_mixture_by_hand():
    """Two kernels on two states: one goes to state 0, the other to either; V = (2, 4): features (2, 3), and with theta = (1/4, 3/4) a mean of 2.75."""
    kernels = torch.tensor([[[[1.0, 0.0]], [[1.0, 0.0]]], [[[0.5, 0.5]], [[0.5, 0.5]]]], dtype=F64)  # [d, K, A, K]
    phi = ops.mixture_features(kernels, torch.tensor([2.0, 4.0], dtype=F64))
    assert phi.shape == (2, 1, 2) and phi[0, 0].tolist() == [2, 3]
    assert (phi @ torch.tensor([0.25, 0.75], dtype=F64))[1, 0].item() == 2.75


def test_a_target_weighs_by_the_largest_of_three():
    found = ops.uncertainty_weight(torch.tensor([0.5, 0.0, 0.0]), torch.tensor([1.0, 8.0, 0.1]), floor=0.01, gamma=0.5)
    assert found.tolist() == pytest.approx([0.5, 2.0, 0.025])
    assert ops.uncertainty_weight(torch.zeros(1), torch.zeros(1), floor=0.01, gamma=0.5).item() == pytest.approx(0.01)
