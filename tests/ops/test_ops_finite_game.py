"""Equations of finite games, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from operant import ops

F64 = torch.float64
PARENT = torch.tensor([-1, 1, -1])  # the second set is behind action 1 of the first; the third is the other player's
LEVELS = (torch.tensor([0, 2]), torch.tensor([1]))


def test_a_realization_plan_multiplies_a_players_own_moves():
    policy = torch.tensor([[[0.25, 0.75], [0.4, 0.6], [0.5, 0.5]]], dtype=F64)
    plan = ops.realization_plan(policy, PARENT, LEVELS)
    torch.testing.assert_close(plan, torch.tensor([[[0.25, 0.75], [0.3, 0.45], [0.5, 0.5]]], dtype=F64))
    torch.testing.assert_close(ops.plan_policy(plan, torch.ones(3, 2, dtype=torch.bool)), policy)


def test_a_plan_that_never_comes_is_uniform_over_what_there_is():
    found = ops.plan_policy(torch.zeros(1, 2, 3, dtype=F64), torch.tensor([[True, True, False], [True, True, True]]))
    torch.testing.assert_close(found[0], torch.tensor([[1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3]], dtype=F64))


def test_values_of_sequences_add_up_what_they_lead_to():
    """Action 1 of the first set leads to the second, which is worth max(2, 5) or their mean; the other player's set is a root of its own."""
    gain = torch.tensor([[[1.0, 0.5], [2.0, 5.0], [3.0, 1.0]]], dtype=F64)
    root = torch.tensor([0, 0, 1])
    q, value = ops.sequence_values(gain, PARENT, root, LEVELS, lambda level, q: q.amax(-1))
    assert q[0].tolist() == [[1.0, 5.5], [2.0, 5.0], [3.0, 1.0]] and value[0].tolist() == [5.5, 3.0]
    q, value = ops.sequence_values(gain, PARENT, root, LEVELS, lambda level, q: q.mean(-1))
    assert q[0, 0].tolist() == [1.0, 4.0] and value[0].tolist() == [2.5, 2.0]


def test_regret_matching_by_hand():
    available = torch.tensor([[True, True, True], [True, True, False]])
    regret = torch.tensor([[[3.0, -2.0, 1.0], [-1.0, 0.0, 7.0]]], dtype=F64)
    found = ops.regret_matching(regret, available)
    assert found[0].tolist() == [[0.75, 0.0, 0.25], [0.5, 0.5, 0.0]]


def test_a_proximal_step_by_hand_is_what_it_maximises():
    """At rate 2 and weight 1/2: (policy · reference · exp(2 gain))^(1/2). No other distribution has more of what is maximised."""
    policy, reference, gain = (torch.tensor(row, dtype=F64) for row in ([0.5, 0.5], [0.8, 0.2], [0.25, 0.75]))
    found = ops.kl_proximal_step(policy, reference, gain, rate=2.0, weight=0.5)
    weights = [math.sqrt(0.5 * 0.8 * math.exp(0.5)), math.sqrt(0.5 * 0.2 * math.exp(1.5))]
    assert found.tolist() == pytest.approx([weight / sum(weights) for weight in weights])

    def gains(pi: torch.Tensor) -> torch.Tensor:
        return 2 * ((pi * gain).sum(-1) - 0.5 * ops.policy_divergence(pi, reference)) - ops.policy_divergence(pi, policy)

    first = torch.linspace(0, 1, 101, dtype=F64)
    assert (gains(torch.stack([first, 1 - first], -1)) <= gains(found) + 1e-12).all()
    torch.testing.assert_close(ops.kl_proximal_step(policy, reference, gain, rate=2.0, weight=0.0), ops.kl_regularized_policy(gain, policy, temperature=0.5))


def test_a_geometric_mixture_by_hand():
    policy, reference = torch.tensor([[0.9, 0.1]], dtype=F64), torch.tensor([0.5, 0.5], dtype=F64)
    assert ops.geometric_mixture(policy, reference, 0.5)[0].tolist() == pytest.approx([0.75, 0.25])  # √0.9 : √0.1 is 3 : 1
    assert ops.geometric_mixture(policy, reference, 1)[0].tolist() == [0.5, 0.5]
    assert ops.geometric_mixture(policy, reference, 0.0)[0].tolist() == pytest.approx([0.9, 0.1])
