import math

import pytest
import torch
import torch.nn.functional as F

from operant import ops


def test_td_target():
    reward, next_value = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([10.0, math.nan, 20.0])
    terminated = torch.tensor([False, True, False])
    assert ops.td_target(reward, next_value, terminated, gamma=0.5).tolist() == [6.0, 1.0, 11.0]
    assert ops.td_target(reward, next_value, terminated, gamma=torch.tensor([0.5, 0.5, 0.25])).tolist() == [6.0, 1.0, 6.0]


def test_expectile_loss():
    error = torch.tensor([-2.0, 0.0, 2.0], requires_grad=True)
    loss = ops.expectile_loss(error, expectile=0.7)
    torch.testing.assert_close(loss, torch.tensor([1.2, 0.0, 2.8]))
    loss.sum().backward()
    torch.testing.assert_close(error.grad, torch.tensor([-1.2, 0.0, 2.8]))


def test_expectile_loss_with_a_side_of_its_own():
    error, side = torch.tensor([[-2.0, 2.0], [1.0, -1.0]]), torch.tensor([[1.0, -1.0]])
    torch.testing.assert_close(ops.expectile_loss(error, expectile=0.7, side=side), torch.tensor([[2.8, 1.2], [0.7, 0.3]]))


def test_expectile_loss_is_minimal_at_the_expectile():
    """tau E[(x - m)+] = (1 - tau) E[(m - x)+] at the minimum m; with x in {0, 1} equally likely, m = tau."""
    x = torch.tensor([0.0, 1.0], dtype=torch.float64)
    for tau in (0.5, 0.7, 0.9):
        m = torch.tensor(tau, dtype=torch.float64, requires_grad=True)
        ops.expectile_loss(x - m, expectile=tau).sum().backward()
        assert m.grad.item() == pytest.approx(0, abs=1e-12)


def test_huber_loss():
    error = torch.tensor([-3.0, -1.0, 0.0, 0.5, 2.0], requires_grad=True)
    loss = ops.huber_loss(error, delta=1.0)
    assert loss.tolist() == [2.5, 0.5, 0.0, 0.125, 1.5]
    loss.sum().backward()
    assert error.grad.tolist() == [-1.0, -1.0, 0.0, 0.5, 1.0]
    x = torch.linspace(-5, 5, 101)
    torch.testing.assert_close(ops.huber_loss(x, delta=1.7), F.huber_loss(x, torch.zeros_like(x), reduction="none", delta=1.7))


def test_clipped_value_loss():
    old = torch.zeros(4)
    value = torch.tensor([0.1, 1.0, 1.0, -1.0], requires_grad=True)
    target = torch.tensor([1.0, 1.0, 0.0, 2.0])
    loss = ops.clipped_value_loss(value, old, target, clip=0.2)
    # free: 0.9^2; clipped to 0.2: max(0, 0.8^2), max(1, 0.2^2); clipped to -0.2: max(9, 2.2^2)
    torch.testing.assert_close(loss, torch.tensor([0.81, 0.64, 1.0, 9.0]) / 2)
    loss.sum().backward()
    torch.testing.assert_close(value.grad, torch.tensor([-0.9, 0.0, 1.0, -3.0]))


def test_soft_value_and_temperature():
    q = torch.tensor([[1.0, 5.0], [2.0, 3.0]])
    log_prob = torch.tensor([-1.0, 2.0])
    assert ops.soft_value(q, log_prob, 0.5, 0).tolist() == [1.5, 2.0]
    assert ops.soft_value(q.T.contiguous(), log_prob, torch.tensor(0.5), -1).tolist() == [1.5, 2.0]

    log_alpha = torch.tensor(-1.0, requires_grad=True)
    log_prob = torch.tensor([-1.0, 4.0], requires_grad=True)
    loss = ops.temperature_loss(log_alpha, log_prob, -2.0)
    assert loss.tolist() == [-3.0, 2.0]
    loss.mean().backward()
    # The mean of log pi + target is -0.5: the entropy, -1.5 nats, is above the target of -2, so alpha must fall.
    assert log_alpha.grad.item() == 0.5
    assert log_prob.grad is None


def test_expected_soft_value():
    """0.25 (1 - 2 log 0.25) + 0.75 (3 - 2 log 0.75) by hand; what is forbidden adds nothing and has no gradient."""
    q = torch.tensor([1.0, 3.0, ops.FORBIDDEN], dtype=torch.float64)
    logits = torch.tensor([0.0, math.log(3), ops.FORBIDDEN], dtype=torch.float64, requires_grad=True)
    log_prob = logits.log_softmax(-1)
    found = ops.expected_soft_value(q, log_prob, 2.0)
    assert found.item() == pytest.approx(0.25 * (1 - 2 * math.log(0.25)) + 0.75 * (3 - 2 * math.log(0.75)), rel=1e-12)
    found.backward()
    best = torch.tensor([1.0, 3.0], dtype=torch.float64) - 2 * torch.tensor([0.25, 0.75], dtype=torch.float64).log()
    p = torch.tensor([0.25, 0.75], dtype=torch.float64)
    torch.testing.assert_close(logits.grad, torch.cat([p * (best - (p * best).sum()), torch.zeros(1, dtype=torch.float64)]))
    with pytest.raises(ValueError, match="the same number of axes"):
        ops.expected_soft_value(q.unsqueeze(0), log_prob, 1.0)


def test_soft_advantage_by_hand():
    """Scores 0 and log 3 at a temperature of 1: probabilities 1/4 and 3/4. At 1/2 they are 1/10 and 9/10."""
    scores = torch.tensor([0.0, math.log(3)], dtype=torch.float64)
    assert ops.soft_advantage(scores, alpha=1.0).tolist() == pytest.approx([math.log(0.25), math.log(0.75)])
    assert ops.soft_advantage(scores, alpha=0.5).tolist() == pytest.approx([0.5 * math.log(0.1), 0.5 * math.log(0.9)])
    sharp = ops.soft_advantage(torch.tensor([[3.0, -1.0, 2.0]]) + 1e4, alpha=1e-3)
    torch.testing.assert_close(sharp, torch.tensor([[0.0, -4.0, -1.0]]))  # by far: the lag behind the best


def test_demonstration_margin_loss_by_hand():
    """Behind the shown one by 2, by 0.5 and ahead of it by 1, with a margin of 1: the first counts no more, and has no gradient."""
    advantage = torch.tensor([[-2.0, 0.0, -0.5, 1.0], [0.3, 0.3, 0.3, 0.3]], requires_grad=True)
    loss = ops.demonstration_margin_loss(advantage, torch.tensor([1, 0]), margin=-1.0)
    assert loss.tolist() == [-0.5, 0.0]
    loss.sum().backward()
    assert advantage.grad.tolist() == [[0.0, -2.0, 1.0, 1.0], [-3.0, 1.0, 1.0, 1.0]]
