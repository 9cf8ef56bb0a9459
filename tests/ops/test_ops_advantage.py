import math

import pytest
import torch

from operant import ops


def literal_gae(reward, value, next_value, terminated, truncated, gamma, lam):
    rows, steps = reward.shape
    out = torch.zeros(rows, steps, dtype=torch.float64)
    for n in range(rows):
        for t in range(steps):
            total, weight = 0.0, 1.0
            for k in range(t, steps):
                bootstrap = 0.0 if terminated[n, k] else gamma * float(next_value[n, k])
                total += weight * (float(reward[n, k]) + bootstrap - float(value[n, k]))
                if terminated[n, k] or truncated[n, k]:
                    break
                weight *= gamma * lam
            out[n, t] = total
    return out


def test_gae_by_hand():
    # Three steps, the second truncated: gamma 0.5, lam 0.5, so the trace decays by 0.25.
    advantage = ops.gae(
        reward=torch.tensor([1.0, 2.0, 3.0]),
        value=torch.tensor([1.0, 1.0, 1.0]),
        next_value=torch.tensor([1.0, 4.0, 100.0]),
        terminated=torch.tensor([False, False, True]),
        truncated=torch.tensor([False, True, False]),
        gamma=0.5,
        lam=0.5,
    )
    # deltas: 1 + 0.5 - 1 = 0.5; 2 + 2 - 1 = 3 (truncation bootstraps); 3 - 1 = 2 (termination does not)
    assert advantage.tolist() == [0.5 + 0.25 * 3, 3.0, 2.0]


@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (1.0, 1.0), (0.9, 0.0)])
def test_gae_equals_the_double_loop(gamma, lam):
    g = torch.Generator().manual_seed(0)
    reward, value, next_value = (torch.randn(6, 40, generator=g, dtype=torch.float64) for _ in range(3))
    terminated = torch.rand(6, 40, generator=g) < 0.1
    truncated = torch.rand(6, 40, generator=g) < 0.1
    want = literal_gae(reward, value, next_value, terminated, truncated, gamma, lam)
    got = ops.gae(reward, value, next_value, terminated, truncated, gamma=gamma, lam=lam)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    stacked = ops.gae(*(x.view(2, 3, 40) for x in (reward, value, next_value, terminated, truncated)), gamma=gamma, lam=lam)
    assert torch.equal(stacked.view(6, 40), got)


def test_gae_ignores_the_next_value_of_a_terminated_step():
    terminated = torch.tensor([[False, True, False]])
    arguments = {"terminated": terminated, "truncated": torch.zeros(1, 3, dtype=torch.bool), "gamma": 0.9, "lam": 0.9}
    reward, value = torch.ones(1, 3), torch.zeros(1, 3)
    clean = ops.gae(reward, value, torch.tensor([[1.0, 0.0, 1.0]]), **arguments)
    dirty = ops.gae(reward, value, torch.tensor([[1.0, math.nan, 1.0]]), **arguments)
    assert torch.equal(clean, dirty)


def test_gae_with_lambda_one_is_return_minus_value():
    g = torch.Generator().manual_seed(1)
    reward, value = torch.randn(5, generator=g, dtype=torch.float64), torch.randn(6, generator=g, dtype=torch.float64)
    never = torch.zeros(5, dtype=torch.bool)
    got = ops.gae(reward, value[:-1], value[1:], never, never, gamma=0.9, lam=1.0)
    returns = [sum(0.9 ** (k - t) * float(reward[k]) for k in range(t, 5)) + 0.9 ** (5 - t) * float(value[5]) for t in range(5)]
    torch.testing.assert_close(got, torch.tensor(returns, dtype=torch.float64) - value[:-1])


def test_group_advantage_by_hand():
    score = torch.tensor([[0.0, 0.0, 1.0, 1.0], [1.0, 2.0, 3.0, 6.0]], dtype=torch.float64)
    # Sample standard deviations: sqrt(4 * 0.25 / 3) and sqrt((4 + 1 + 0 + 9) / 3).
    std = torch.tensor([[math.sqrt(1 / 3)], [math.sqrt(14 / 3)]], dtype=torch.float64)
    centred = torch.tensor([[-0.5, -0.5, 0.5, 0.5], [-2.0, -1.0, 0.0, 3.0]], dtype=torch.float64)
    torch.testing.assert_close(ops.group_normalized_advantage(score, eps=0.0), centred / std)
    torch.testing.assert_close(ops.group_normalized_advantage(score, eps=0.5), centred / (std + 0.5))
    torch.testing.assert_close(ops.group_normalized_advantage(score, normalize_std=False), centred)


def test_group_advantage_leaves_masked_members_out():
    score = torch.tensor([1.0, math.nan, 2.0, 3.0, 1e30])
    mask = torch.tensor([True, False, True, True, False])
    got = ops.group_normalized_advantage(score, mask, eps=0.0)
    torch.testing.assert_close(got, torch.tensor([-1.0, 0.0, 0.0, 1.0, 0.0]))
    assert torch.equal(ops.group_normalized_advantage(score, torch.zeros(5, dtype=torch.bool)), torch.zeros(5))
    assert torch.equal(ops.group_normalized_advantage(score, torch.tensor([True, False, False, False, False])), torch.zeros(5))


def test_group_of_equal_scores_gets_exactly_zero():
    # The float32 mean of seven 0.1 is not 0.1: without care the rounding error would be divided by eps.
    score = torch.full((1, 7), 0.1)
    assert score.mean() != 0.1
    assert torch.equal(ops.group_normalized_advantage(score), torch.zeros(1, 7))
    assert torch.equal(ops.group_normalized_advantage(score, normalize_std=False), torch.zeros(1, 7))


def equal_up_to_rounding(shape: tuple[int, ...], level: float = 0.3) -> torch.Tensor:
    """Scores that are one number, as sums of parts in another order give it: a few units in the last place apart."""
    return level + level * 1e-7 * torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("level", [0.3, -7.0, 1e4, 1.0])
def test_scores_that_are_equal_up_to_rounding_get_exactly_zero(level):
    score, mask = equal_up_to_rounding((4, 6), level), torch.ones(4, 6, dtype=torch.bool)
    assert score.unique().numel() > 1
    for advantage in (
        ops.group_normalized_advantage(score),
        ops.group_normalized_advantage(score, normalize_std=False),
        ops.normalize(score, dim=(-2, -1)),
        ops.normalize(score, mask, dim=-1),
        ops.leave_one_out(score),
        ops.batch_scaled_advantage(score),
        ops.group_mean_advantage(score),
        ops.token_weighted_advantage(score, mask, torch.arange(1, 25).view(4, 6)),
        ops.median_split_advantage(score, mask, torch.arange(24.0).view(4, 6), 0.3),
        ops.virtual_max_advantage(score, max_reward=level),
    ):
        assert torch.equal(advantage, torch.zeros(4, 6))
    if level == 0.3:
        assert torch.equal(ops.beta_normalized_advantage(score), torch.zeros(4, 6))
        assert [x.item() for x in ops.beta_parameters(score[:, 0])] == [1.0, 1.0]


def test_a_difference_of_zero_up_to_rounding_is_none_and_a_small_signal_is_one():
    # 0.1 + 0.2 - 0.3 in float32, beside scores of 0.
    score = torch.tensor([[0.1, 0.0, 0.0, 0.0]]) + torch.tensor([[0.2, 0.0, 0.0, 0.0]]) - torch.tensor([[0.3, 0.0, 0.0, 0.0]])
    score[0, 1] = 3e-8
    assert torch.equal(ops.group_normalized_advantage(score), torch.zeros(1, 4))
    small = ops.group_normalized_advantage(torch.tensor([[1e-3, 0.0, 1e-3, 0.0]]))
    torch.testing.assert_close(small, torch.tensor([[1.0, -1.0, 1.0, -1.0]]) * math.sqrt(3) / 2, rtol=2e-3, atol=0)


def test_the_deviation_has_a_floor():
    x = torch.tensor([0.0, 0.0, 2e-5, 2e-5])  # a deviation of 1e-5 is divided by 1e-4
    torch.testing.assert_close(ops.normalize(x, dim=0), torch.tensor([-0.1, -0.1, 0.1, 0.1]))
    torch.testing.assert_close(ops.normalize(x * 100, dim=0), torch.tensor([-1.0, -1.0, 1.0, 1.0]))


def test_centring_keeps_the_gradient_where_all_are_equal():
    x = torch.zeros(1, 3, requires_grad=True)
    ops.centre(x)[0, 0].backward()
    torch.testing.assert_close(x.grad, torch.tensor([[2 / 3, -1 / 3, -1 / 3]]))


def test_normalize():
    g = torch.Generator().manual_seed(2)
    x = 5 + 3 * torch.randn(3, 4, 50, generator=g, dtype=torch.float64)
    out = ops.normalize(x, dim=(1, 2))
    torch.testing.assert_close(out.mean((1, 2)), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(out.std((1, 2), correction=0), torch.ones(3, dtype=torch.float64), atol=1e-7, rtol=0)

    mask = torch.rand(3, 4, 50, generator=g) < 0.5
    dirty = x.masked_fill(~mask, math.nan)
    out = ops.normalize(dirty, mask, dim=(-2, -1))
    for seed in range(3):
        kept = x[seed][mask[seed]]
        torch.testing.assert_close(out[seed][mask[seed]], (kept - kept.mean()) / kept.std(correction=0), atol=1e-7, rtol=0)
    assert torch.equal(out[~mask], torch.zeros_like(out[~mask]))
    torch.testing.assert_close(ops.normalize(x, torch.ones_like(mask), dim=2), ops.normalize(x, dim=2))
