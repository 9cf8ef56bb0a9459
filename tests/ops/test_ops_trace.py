"""Steps along traces: by hand, and the property that they are made for; scores against autograd."""

from __future__ import annotations

import pytest
import torch

from operant import ops


def test_a_step_is_bounded_by_hand():
    error, norm = torch.tensor([0.5, -3.0, 0.1]), torch.tensor([4.0, 2.0, 0.1])
    found = ops.bounded_step_size(error, norm, learning_rate=0.5, kappa=2.0)
    assert found.tolist() == pytest.approx([0.5 / 4, 0.5 / 6, 0.5])  # 0.5 · 2 · 1 · 4, 0.5 · 2 · 3 · 2, and 0.1, which is no bound


def test_of_a_linear_value_no_step_goes_beyond_its_target():
    """δ keeps its sign on the transition whose x − γ x' is at most κ in each number, however the trace lies."""
    generator = torch.Generator().manual_seed(0)
    draws, size, kappa = 100_000, 6, 2.0
    z = torch.randn(draws, size, generator=generator, dtype=torch.float64) * 10 ** (6 * torch.rand(draws, 1, generator=generator, dtype=torch.float64) - 3)
    error = torch.randn(draws, generator=generator, dtype=torch.float64) * 10 ** (4 * torch.rand(draws, generator=generator, dtype=torch.float64) - 2)
    change = (2 * torch.rand(draws, size, generator=generator, dtype=torch.float64) - 1) * kappa
    change[: draws // 2] = kappa * z[: draws // 2].sign()  # the worst there is
    step = ops.bounded_step_size(error, z.abs().sum(1), learning_rate=1.0, kappa=kappa)
    after = error - step * error * (change * z).sum(1)
    assert (after * error >= -1e-12 * error.square()).all()
    plain = error - error * (change * z).sum(1)
    assert (plain * error < 0).double().mean() > 0.3  # a fixed step of 1 does
    assert ((after / error)[: draws // 2] < 1e-9).double().mean() > 0.3  # and the bound is no smaller than it must be


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_scores(weight: float):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    action = torch.randint(5, (2, 3), generator=generator)
    sign = torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 1.0]], dtype=torch.float64)
    log_prob, entropy = ops.categorical_log_prob_and_entropy(logits, action)
    (wanted,) = torch.autograd.grad((log_prob + weight * sign * entropy).sum(), logits)
    torch.testing.assert_close(ops.categorical_score(logits.detach(), action, weight * sign), wanted)
    mean, log_std, taken = (torch.randn(2, 3, 4, generator=generator, dtype=torch.float64, requires_grad=place < 2) for place in range(3))
    gaussian = ops.gaussian_log_prob(taken, mean, log_std) + weight * sign * ops.gaussian_entropy(log_std)
    wanted = torch.cat(torch.autograd.grad(gaussian.sum(), (mean, log_std)), -1)
    torch.testing.assert_close(ops.gaussian_score(taken, mean.detach(), log_std.detach(), weight * sign), wanted)


def test_a_forbidden_choice_has_no_score():
    logits = ops.forbid(torch.randn(1, 1, 3), torch.tensor([[[True, False, True]]]))
    found = ops.categorical_score(logits, torch.tensor([[2]]), 0.1)
    assert torch.isfinite(found).all() and found[0, 0, 1] == 0
