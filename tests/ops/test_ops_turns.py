"""Rewards and advantages of turns: by hand, against literal loops, and the identities that they must keep."""

from __future__ import annotations

import torch

from operant import ops


def draws(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_sums_and_ends_by_hand():
    turn = torch.tensor([[0, 0, 0, 1, 1, 2, 0, 0]])
    mask = torch.tensor([[True, True, False, True, False, True, False, False]])
    x = torch.tensor([[1.0, 2, 4, 8, 16, 32, 0, 0]])
    assert ops.turn_sums(x, turn, 3).tolist() == [[7.0, 24.0, 32.0]]
    assert ops.turn_ends(turn, mask).nonzero().tolist() == [[0, 1], [0, 3], [0, 5]]
    assert not ops.turn_ends(turn, torch.zeros_like(mask)).any()


def test_gains_telescope():
    value, start = draws(5, 4), draws(5, seed=1)
    gains = ops.turn_gains(value, start)
    torch.testing.assert_close(gains.sum(-1), value[:, -1] - start, rtol=0, atol=1e-12)
    assert ops.turn_gains(torch.tensor([0.5, 0.25]), torch.tensor(0.25)).tolist() == [0.25, -0.25]


def test_returns_by_hand():
    assert ops.turn_returns(torch.tensor([1.0, 2.0, 4.0]), gamma=0.5).tolist() == [3.0, 4.0, 4.0]


def test_the_pooled_advantage_is_a_literal_loop():
    reward, mask = draws(3, 4, 5), torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(2)).cumsum(-1) < 2.5
    found = ops.pooled_turn_advantage(reward.masked_fill(~mask, float("nan")), mask, gamma=0.9)
    for group in range(3):
        pool = [float(reward[group, row, place]) for row in range(4) for place in range(5) if mask[group, row, place]]
        mean = sum(pool) / len(pool)
        std = (sum((x - mean) ** 2 for x in pool) / (len(pool) - 1)) ** 0.5
        for row in range(4):
            turns = int(mask[group, row].sum())
            for place in range(5):
                later = range(place, turns)
                expected = sum(0.9 ** (k - place) * (float(reward[group, row, k]) - mean) / (std + 1e-6) for k in later)
                assert abs(float(found[group, row, place]) - expected) < 1e-9


def test_a_group_that_is_rewarded_alike_teaches_nothing():
    mask = torch.tensor([[[True, True], [True, False]]])
    assert not ops.pooled_turn_advantage(torch.full((1, 2, 2), 0.3), mask).any()


def test_with_one_turn_it_is_grpo():
    reward = draws(6, 8)
    found = ops.pooled_turn_advantage(reward.unsqueeze(-1), torch.ones(6, 8, 1, dtype=torch.bool))
    torch.testing.assert_close(found.squeeze(-1), ops.group_normalized_advantage(reward))
