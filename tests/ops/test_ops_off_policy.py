"""Off-policy estimators by hand, on one and two steps."""

from __future__ import annotations

import pytest
import torch

from operant import ops

F64 = torch.float64


def table(*rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=F64)


RATIO, REWARD = table([2.0, 0.5], [0.5, 3.0]), table([1.0, 2.0], [4.0, 0.0])  # two episodes of two steps


def test_importance_sampling_by_hand():
    # products 1 and 1.5; discounted by 1/2 the episodes earn 2 and 4
    assert ops.importance_sampling_value(RATIO, REWARD, discount=0.5).item() == pytest.approx((1 * 2 + 1.5 * 4) / 2)
    # 2 · 1 + 1/2 · 1 · 2 and 0.5 · 4
    assert ops.per_decision_value(RATIO, REWARD, discount=0.5).item() == pytest.approx((3 + 2) / 2)
    # (2 · 1 + 0.5 · 4) / 2.5, and half of (1 · 2 + 1.5 · 0) / 2.5
    assert ops.self_normalized_value(RATIO, REWARD, discount=0.5).item() == pytest.approx(4 / 2.5 + 0.5 * 2 / 2.5)


def test_a_constant_reward_is_that_constant_where_weights_are_normalised():
    ratio = torch.rand(5, 7, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    assert torch.allclose(ops.self_normalized_value(ratio, torch.full_like(ratio, 2.0)), torch.tensor(6.0, dtype=F64))
    assert ops.self_normalized_value(torch.zeros(2, 3, dtype=F64), torch.ones(2, 3, dtype=F64)).item() == 0.0


def test_doubly_robust_by_hand():
    q, v = table([1.0, 1.0], [2.0, 1.0]), table([0.5, 1.0], [1.0, 2.0])
    # second steps: 1 + 0.5 (2 - 1) = 1.5 and 2 + 3 (0 - 1) = -1; first: 0.5 + 2 (1 + 0.75 - 1) = 2 and 1 + 0.5 (4 - 0.5 - 2) = 1.75
    assert ops.doubly_robust_value(RATIO, REWARD, q, v, discount=0.5).item() == pytest.approx((2 + 1.75) / 2)
    nothing = torch.zeros_like(q)
    assert torch.allclose(ops.doubly_robust_value(RATIO, REWARD, nothing, nothing, discount=0.5), ops.per_decision_value(RATIO, REWARD, discount=0.5))


def test_switching_off_every_ratio_leaves_the_model():
    q, v = table([1.0, 1.0], [2.0, 1.0]), table([0.5, 1.0], [1.0, 2.0])
    assert ops.switched_ratio(RATIO, threshold=2.0).tolist() == [[2.0, 0.5], [0.5, 0.0]]
    off = ops.switched_ratio(RATIO, threshold=0.0)
    assert ops.doubly_robust_value(off, REWARD, q, v).item() == pytest.approx(0.75)


def drawn(episodes: int, horizon: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    state, action = torch.randint(2, (episodes, horizon), generator=generator), torch.randint(2, (episodes, horizon), generator=generator)
    return state, action, *(torch.rand(episodes, horizon, generator=generator, dtype=F64) for _ in range(2))


def test_robust_action_values_by_hand():
    # both episodes end in the same pair, with the squares of the first ratios as weights; the first pair of the second step was not seen
    state, action = torch.tensor([[0, 0], [0, 0]]), torch.tensor([[0, 1], [1, 1]])
    otherwise = torch.full((2, 1, 2), 7.0, dtype=F64)
    found = ops.robust_action_values(state, action, RATIO, table([1.0, 2.0], [4.0, 0.0]), otherwise)
    assert found.tolist() == [[[1.0, 4.0]], [[7.0, pytest.approx(2 * 4 / 4.25)]]]


def test_robust_action_values_leave_the_least_variance():
    state, action, _, reward = drawn(60, 2, 1)
    ratio = table([0.5, 1.5], [1.25, 0.75])[state, action]  # of a pair, as two policies have it
    nothing = torch.zeros_like(reward)
    returns = ops.doubly_robust_returns(ratio, reward, nothing, nothing)
    assert returns[:, 0].tolist() == pytest.approx((reward[:, 0] + ratio[:, 1] * reward[:, 1]).tolist())
    found = ops.robust_action_values(state, action, ratio, returns, torch.zeros(2, 2, 2, dtype=F64))

    def objective(q: torch.Tensor) -> float:
        weight = torch.stack([torch.ones(60, dtype=F64), ratio[:, 0]], -1).square()
        steps = torch.arange(2).expand(60, 2)
        return float((weight * (ratio * (returns - q[steps, state, action])).square()).sum())

    for place in range(8):
        for change in (0.01, -0.01):
            moved = found.flatten().clone()
            moved[place] += change
            assert objective(moved.view(2, 2, 2)) > objective(found)


def test_marginal_weights_by_hand():
    # the first step: ratios over their mean in a state, 2 and 0.5 over 1.25, and 1 over 1
    state = torch.tensor([[0, 0], [0, 1], [1, 1]])
    ratio = table([2.0, 1.0], [0.5, 1.0], [1.0, 3.0])
    weight = ops.marginal_weights(state, ratio, states=2)
    assert weight[:, 0].tolist() == pytest.approx([1.6, 0.4, 1.0])
    # the second: the first state has 1.6 of one episode; the other 0.4 + 1 of two, whose ratios are 1 and 3 over 4 in sum
    assert weight[:, 1].tolist() == pytest.approx([1.6, 0.35, 1.05])
    assert weight.sum(0).tolist() == pytest.approx([3.0, 3.0])
    assert ops.marginal_value(weight, table([0.0, 1.0], [0.0, 1.0], [0.0, 4.0])).item() == pytest.approx((1.6 + 0.35 + 4.2) / 3)


def test_leading_axes_are_taken():
    state, action, ratio, reward = (torch.stack([part, part.flip(0)]) for part in drawn(9, 3, 2))
    none = torch.zeros(2, 3, 2, 2, dtype=F64)
    whole = ops.robust_action_values(state, action, ratio, reward, none), ops.marginal_weights(state, ratio, states=2)
    alone = ops.robust_action_values(state[1], action[1], ratio[1], reward[1], none[1]), ops.marginal_weights(state[1], ratio[1], states=2)
    assert torch.allclose(whole[0][1], alone[0]) and torch.allclose(whole[1][1], alone[1])
