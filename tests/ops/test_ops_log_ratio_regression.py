import math

import pytest
import torch

from operant import ops

NAN = math.nan


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(*shape, seed=1):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.4).double()


def test_leave_one_out_by_hand():
    assert ops.leave_one_out(torch.tensor([1.0, 0.0, 0.0, 1.0])).tolist() == pytest.approx([2 / 3, -2 / 3, -2 / 3, 2 / 3])
    x, mask = torch.tensor([[1.0, NAN, 4.0], [5.0, NAN, NAN]]), torch.tensor([[True, False, True], [True, False, False]])
    assert ops.leave_one_out(x, mask).tolist() == [[-3.0, 0.0, 3.0], [0.0, 0.0, 0.0]]


def test_leave_one_out_has_the_gradient_of_every_member_even_where_all_are_equal():
    x = torch.zeros(3, requires_grad=True)
    ops.leave_one_out(x)[0].backward()
    assert x.grad.tolist() == [1.0, -0.5, -0.5]


def test_class_balanced_weight_by_hand():
    assert ops.class_balanced_weight(torch.tensor([1.0, 0.0, 0.0, 0.0])).tolist() == pytest.approx([2.0, 2 / 3, 2 / 3, 2 / 3])
    assert ops.class_balanced_weight(torch.ones(3)).tolist() == [1.0, 1.0, 1.0]
    assert ops.class_balanced_weight(torch.zeros(3)).tolist() == [1.0, 1.0, 1.0]
    mask = torch.tensor([True, True, True, False])
    assert ops.class_balanced_weight(torch.tensor([1.0, 0.0, 0.0, 1.0]), mask).tolist() == pytest.approx([1.5, 0.75, 0.75, 0.0])


@pytest.mark.parametrize("balanced", [False, True])
def test_leave_one_out_cross_entropy_equals_the_double_loop(balanced):
    rho, label = draws(5, 6), labels(5, 6)
    mask = torch.rand(5, 6, generator=torch.Generator().manual_seed(2)) < 0.8
    mask[:, :2] = True
    got = ops.leave_one_out_cross_entropy(rho.masked_fill(~mask, NAN), label, mask, beta=0.7, balanced=balanced)
    for g in range(5):
        members = [i for i in range(6) if mask[g, i]]
        right = sum(float(label[g, i]) for i in members)
        for i in range(6):
            if i not in members:
                assert got[g, i] == 0
                continue
            psi = 0.7 * (float(rho[g, i]) - sum(float(rho[g, j]) for j in members if j != i) / (len(members) - 1))
            probability = 1 / (1 + math.exp(-psi))
            want = -math.log(probability if label[g, i] else 1 - probability)
            if balanced and 0 < right < len(members):
                want *= len(members) / (2 * (right if label[g, i] else len(members) - right))
            assert float(got[g, i]) == pytest.approx(want, rel=1e-12)


def test_leave_one_out_cross_entropy_begins_as_the_rloo_policy_gradient():
    rho, label = torch.zeros(4, 8, dtype=torch.float64, requires_grad=True), labels(4, 8)
    ops.leave_one_out_cross_entropy(rho, label, beta=2.0, balanced=False).sum().backward()
    torch.testing.assert_close(rho.grad, -2.0 * ops.leave_one_out(label), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("beta", [0.01, 1.0, 100.0])
def test_the_standardised_loss_vanishes_at_the_tilted_policy(beta):
    score = labels(20, 8)
    score[:, 0], score[:, 1] = 1.0, 0.0
    advantage = ops.group_normalized_advantage(score)
    rho = advantage / beta - draws(20, 1, seed=3)  # log Z is the group's constant
    assert ops.standardized_log_ratio_loss(rho, advantage).max() < 1e-6
    assert ops.standardized_log_ratio_loss(-rho, advantage).min() > 0.1


def test_the_standardised_loss_equals_the_loop_and_leaves_masked_members_out():
    rho, advantage = draws(4, 5), draws(4, 5, seed=1)
    mask = torch.ones(4, 5, dtype=torch.bool)
    mask[:, 3] = False
    got = ops.standardized_log_ratio_loss(rho.masked_fill(~mask, NAN), advantage.masked_fill(~mask, NAN), mask)
    members = [0, 1, 2, 4]
    for g in range(4):
        values = [float(rho[g, i]) for i in members]
        mean = sum(values) / 4
        std = math.sqrt(sum((value - mean) ** 2 for value in values) / 3)
        for i, value in zip(members, values, strict=True):
            assert float(got[g, i]) == pytest.approx((float(advantage[g, i]) - (value - mean) / std) ** 2, rel=1e-10)
        assert got[g, 3] == 0


def test_the_standardised_loss_begins_as_a_policy_gradient_of_the_advantage():
    advantage = ops.group_normalized_advantage(labels(4, 8))
    rho = torch.zeros(4, 8, dtype=torch.float64, requires_grad=True)
    ops.standardized_log_ratio_loss(rho, advantage, std_floor=0.5).sum().backward()
    torch.testing.assert_close(rho.grad, -2 / 0.5 * advantage, rtol=1e-10, atol=1e-12)


def test_the_standardised_loss_takes_no_step_on_the_rounding_of_log_ratios():
    rho = (3e-5 * torch.randn(4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).clamp(-4e-5, 4e-5).requires_grad_()
    ops.standardized_log_ratio_loss(rho, torch.zeros(4, 8, dtype=torch.float64)).sum().backward()
    assert rho.grad.abs().max() < 1e-9
    advantage = ops.group_normalized_advantage(labels(4, 8))
    rho.grad = None
    ops.standardized_log_ratio_loss(rho, advantage).sum().backward()
    torch.testing.assert_close(rho.grad, -2 / 1e-3 * advantage, rtol=1e-9, atol=1e-9)


def test_log_ratio_regression_by_hand():
    assert ops.log_ratio_regression_loss(torch.tensor([1.0, 0.0]), torch.tensor([0.5, -1.0]), beta=0.25).tolist() == [1.0, 16.0]


def test_mean_log_prob_is_the_mean_of_the_log_softmax():
    logits = draws(3, 7, 11) * 10
    torch.testing.assert_close(ops.mean_log_prob(logits), logits.log_softmax(-1).mean(-1), rtol=1e-12, atol=1e-12)


def test_the_uniform_policys_target_uses_the_next_position_and_stops_after_the_last():
    mean, old = torch.tensor([[-3.0, -4.0, -5.0, NAN]]), torch.tensor([[-1.0, -2.0, -2.0, NAN]])
    mask = torch.tensor([[True, True, True, False]])
    reward = torch.full((1, 4), 0.25)
    # the next values are 0.5 (-4 + 2), 0.5 (-5 + 2), and 0 after the last token
    assert ops.uniform_policy_target(reward, mean, old, mask, temperature=0.5)[0, :3].tolist() == [0.25 - 1.0, 0.25 - 1.5, 0.25]
    mean = mean.requires_grad_()
    assert not ops.uniform_policy_target(reward, mean, old, mask).requires_grad


def test_running_mean_and_token_weights_by_hand():
    logit = torch.tensor([[NAN, 2.0, -4.0, -4.0, NAN]])
    mask = torch.tensor([[False, True, True, True, False]])
    assert ops.running_mean(logit, mask)[0, 1:4].tolist() == [2.0, -1.0, -2.0]
    right, wrong = ops.token_outcome_weights(logit, mask)
    assert right[0, 1:4].tolist() == pytest.approx([2 / (1 + math.exp(-2)) - 1, 0, 0])
    assert wrong[0, 1:4].tolist() == pytest.approx([0, 1 - 2 / (1 + math.exp(1)), 1 - 2 / (1 + math.exp(2))])
