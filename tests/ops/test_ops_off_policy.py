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


def bandit(draws: int = 4000):
    """One state, two actions of rewards 1 and 3; the behaviour takes them alike, the target the second three times in four."""
    generator = torch.Generator().manual_seed(0)
    action = torch.randint(2, (draws, 1), generator=generator)
    target = table([0.25, 0.75]).view(1, 1, 2)
    return torch.zeros(draws, 1, dtype=torch.int64), action, target[0, 0][action] / 0.5, 1 + 2 * action.to(F64), target


def test_robust_action_values_make_a_bandit_without_noise_exact():
    # the term v + ρ (r - q(a)) is the same for both actions where ρ_a q_a - v = ρ_a r_a - c: then it does not vary, and is the value 2.5
    state, action, ratio, reward, target = bandit()
    q = ops.robust_action_values(state, action, ratio, reward, target, ridge=1e-9)
    v = (q * target).sum(-1)[0, 0]
    terms = v + ratio[:, 0] * (reward[:, 0] - q[0, 0][action[:, 0]])
    assert terms.std().item() < 0.1 * (ratio * reward).std().item()
    assert terms.mean().item() == pytest.approx(2.5, abs=0.05)


def test_robust_action_values_are_least_squares():
    generator = torch.Generator().manual_seed(1)
    state = torch.randint(2, (60, 2), generator=generator)
    action = torch.randint(2, (60, 2), generator=generator)
    ratio, reward = (torch.rand(60, 2, generator=generator, dtype=F64) for _ in range(2))
    target = torch.full((2, 2, 2), 0.5, dtype=F64)
    found = ops.robust_action_values(state, action, ratio, reward, target, discount=0.9, ridge=1e-9)

    def objective(q: torch.Tensor) -> float:
        total = 0.0
        for episode in range(60):
            to_go, before = 0.0, [1.0, float(ratio[episode, 0])]
            for step in (1, 0):
                following = float(ratio[episode, step + 1]) if step == 0 else 0.0
                to_go = float(reward[episode, step]) + 0.9 * following * to_go
                here, taken = state[episode, step], action[episode, step]
                term = float((target[step, here] * q[step, here]).sum()) + float(ratio[episode, step]) * (to_go - float(q[step, here, taken]))
                total += 0.9 ** (2 * step) * before[step] ** 2 * term**2
        return total

    best = objective(found)
    for place in range(8):
        moved = found.flatten().clone()
        for change in (0.01, -0.01):
            moved[place] = found.flatten()[place] + change
            assert objective(moved.view(2, 2, 2)) > best


def test_marginal_weights_by_hand():
    # two states at the first step, three episodes each once or twice; ratios carry shares to the second step
    state = torch.tensor([[0, 0], [0, 1], [1, 1]])
    ratio = table([2.0, 1.0], [0.5, 1.0], [1.0, 1.0])
    weight = ops.marginal_weights(state, ratio, states=2)
    assert weight[:, 0].tolist() == [1.0, 1.0, 1.0]
    # the second step: the first state gets 2 of one episode, the other 0.5 + 1 of two
    assert weight[:, 1].tolist() == [2.0, 0.75, 0.75]
    assert ops.marginal_value(weight, ratio, table([0.0, 1.0], [0.0, 1.0], [0.0, 4.0])).item() == pytest.approx((2 + 0.75 + 3) / 3)


def test_leading_axes_are_taken():
    generator = torch.Generator().manual_seed(2)
    state, action = torch.randint(3, (4, 9, 2), generator=generator), torch.randint(2, (4, 9, 2), generator=generator)
    ratio, reward = (torch.rand(4, 9, 2, generator=generator, dtype=F64) for _ in range(2))
    target = torch.full((1, 2, 3, 2), 0.5, dtype=F64)
    whole = ops.robust_action_values(state, action, ratio, reward, target), ops.marginal_weights(state, ratio, states=3)
    alone = ops.robust_action_values(state[2], action[2], ratio[2], reward[2], target[0]), ops.marginal_weights(state[2], ratio[2], states=3)
    assert torch.allclose(whole[0][2], alone[0]) and torch.allclose(whole[1][2], alone[1])
