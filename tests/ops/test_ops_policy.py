import math

import pytest
import torch

from operant import ops


def test_clipped_ratio_loss_by_hand():
    ratio = torch.tensor([0.5, 0.5, 1.0, 1.0, 2.0, 2.0], dtype=torch.float64)
    advantage = torch.tensor([3.0, -3.0, 3.0, -3.0, 3.0, -3.0], dtype=torch.float64)
    old = torch.full_like(ratio, -1.5)
    log_prob = (ratio.log() + old).requires_grad_()
    loss = ops.clipped_ratio_loss(log_prob, old, advantage, clip_low=0.2, clip_high=0.28)
    # Falling with A > 0 and rising with A < 0 are not clipped; falling with A < 0 stops at 0.8, rising with A > 0 at 1.28.
    torch.testing.assert_close(loss, torch.tensor([-1.5, 2.4, -3.0, 3.0, -3.84, 6.0], dtype=torch.float64))
    loss.sum().backward()
    # d(-r A)/d log pi = -r A where the ratio is free, 0 where the clip has hold of it.
    torch.testing.assert_close(log_prob.grad, torch.tensor([-1.5, 0.0, -3.0, 3.0, 0.0, 6.0], dtype=torch.float64))


def test_clipped_ratio_loss_equals_the_literal_formula():
    g = torch.Generator().manual_seed(0)
    log_prob, old, advantage = (torch.randn(4, 30, generator=g, dtype=torch.float64) for _ in range(3))
    got = ops.clipped_ratio_loss(log_prob, old, advantage, clip_low=0.1, clip_high=0.3)
    for n in range(4):
        for t in range(30):
            r, a = math.exp(log_prob[n, t] - old[n, t]), float(advantage[n, t])
            assert got[n, t].item() == pytest.approx(-min(r * a, min(max(r, 0.9), 1.3) * a), rel=1e-12)


def test_ratio_and_clip_fraction():
    log_prob = torch.tensor([0.0, math.log(0.7), math.log(1.25), math.log(1.35)], requires_grad=True)
    old = torch.zeros(4)
    torch.testing.assert_close(ops.policy_ratio(log_prob, old), torch.tensor([1.0, 0.7, 1.25, 1.35]))
    up, down = torch.ones(4), -torch.ones(4)
    clipped = ops.ratio_clip_fraction(log_prob, old, up, clip_low=0.2, clip_high=0.3)
    assert clipped.tolist() == [0.0, 0.0, 0.0, 1.0] and not clipped.requires_grad
    assert ops.ratio_clip_fraction(log_prob, old, down, clip_low=0.2, clip_high=0.3).tolist() == [0.0, 1.0, 0.0, 0.0]
    assert ops.ratio_clip_fraction(log_prob, old, down, clip_low=0.2, clip_high=0.3, max_ratio=1.3).tolist() == [0.0, 1.0, 0.0, 1.0]
    assert ops.ratio_clip_fraction(log_prob, old, torch.zeros(4), clip_low=0.2, clip_high=0.3).tolist() == [0.0] * 4


def test_what_counts_as_clipped_is_what_has_no_gradient():
    g = torch.Generator().manual_seed(0)
    log_prob, old, advantage = (torch.randn(400, generator=g, dtype=torch.float64) for _ in range(3))
    log_prob.requires_grad_()
    bounds = {"clip_low": 0.2, "clip_high": 0.28, "max_ratio": 3.0}
    ops.dual_clipped_ratio_loss(log_prob, old, advantage, **bounds).sum().backward()
    assert torch.equal(ops.ratio_clip_fraction(log_prob, old, advantage, **bounds) == 1, log_prob.grad == 0)


def test_advantage_weight():
    advantage = torch.tensor([-1.0, 0.0, 1.0, 2.0, 1e30, -1e30])
    got = ops.advantage_weight(advantage, beta=3.0, max_weight=100.0)
    torch.testing.assert_close(got, torch.tensor([math.exp(-3), 1.0, math.exp(3), 100.0, 100.0, 0.0]))
    assert ops.advantage_weight(advantage, beta=0.0, max_weight=100.0).tolist() == [1.0] * 6


def test_dual_clip_by_hand():
    log_prob = torch.tensor([2.0, 20.0, 2.0, 0.5], dtype=torch.float64).log().requires_grad_()
    advantage = torch.tensor([-1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    loss = ops.dual_clipped_ratio_loss(log_prob, torch.zeros_like(log_prob).detach(), advantage, clip_low=0.2, clip_high=0.28, max_ratio=3.0)
    torch.testing.assert_close(loss, torch.tensor([2.0, 3.0, -1.28, 0.8], dtype=torch.float64))
    loss.sum().backward()
    torch.testing.assert_close(log_prob.grad, torch.tensor([2.0, 0.0, 0.0, 0.0], dtype=torch.float64))


def test_sequence_log_ratio_and_its_gradient():
    g = torch.Generator().manual_seed(0)
    log_prob, old = (torch.randn(3, 5, generator=g, dtype=torch.float64) for _ in range(2))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 1, 0, 0, 0]]).bool()
    log_prob.requires_grad_()
    got = ops.sequence_log_ratio(log_prob, old.masked_fill(~mask, math.nan), mask)
    ratio = torch.stack([(log_prob - old)[row][mask[row]].mean().exp() for row in range(3)])
    torch.testing.assert_close(got.exp(), ratio.detach().unsqueeze(-1).expand(3, 5))
    (found,) = torch.autograd.grad(ops.row_mean(got.exp(), mask).sum(), log_prob)
    (want,) = torch.autograd.grad(ratio.sum(), log_prob)  # the mean over a row has the gradient of the row's own ratio
    torch.testing.assert_close(found, want)


def test_clipped_importance_by_hand():
    ratio = torch.tensor([0.1, 1.0, 3.0, 9.0], dtype=torch.float64)
    log_prob = (ratio.log() - 2.0).requires_grad_()
    advantage = torch.tensor([1.0, -2.0, -1.0, 1.0], dtype=torch.float64)
    loss = ops.clipped_importance_loss(log_prob, torch.full_like(ratio, -2.0), advantage, clip_low=0.5, clip_high=4.0)
    loss.sum().backward()
    torch.testing.assert_close(log_prob.grad, torch.tensor([-0.5, 2.0, 3.0, -5.0], dtype=torch.float64))  # weights 0.5, 1, 3, 5
    torch.testing.assert_close(loss.detach(), log_prob.grad * log_prob.detach())
    unbounded = ops.clipped_importance_loss(log_prob[:1], torch.full((1,), -2.0, dtype=torch.float64), advantage[:1], clip_low=1.0, clip_high=4.0)
    torch.testing.assert_close(unbounded, -0.1 * log_prob[:1])
