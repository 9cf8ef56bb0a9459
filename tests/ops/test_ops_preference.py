"""Losses of preference pairs: by hand, their gradients, and what minimises them over all pairs of an enumerable world."""

from __future__ import annotations

import math

import pytest
import torch

from operant import ops
from operant.nets.tabular import TabularPolicy
from operant.worlds.sequences.exact import sequence_log_probs
from operant.worlds.sequences.problems import make_problem

F64 = torch.float64


@pytest.mark.parametrize(
    ("chosen", "rejected", "smoothing", "want"),
    [
        (0.7, 0.7, 0.0, math.log(2)),
        (math.log(3), 0.0, 0.0, math.log(4 / 3)),  # σ(log 3) = 3/4
        (0.0, math.log(3), 0.0, math.log(4)),
        (math.log(3), 0.0, 0.1, 0.9 * math.log(4 / 3) + 0.1 * math.log(4)),
        (1e4, 0.0, 0.0, 0.0),  # no overflow on either side
        (0.0, 1e4, 0.0, 1e4),
    ],
)
def test_bradley_terry_by_hand(chosen, rejected, smoothing, want):
    loss = ops.bradley_terry_loss(torch.tensor(chosen, dtype=F64), torch.tensor(rejected, dtype=F64), label_smoothing=smoothing)
    assert float(loss) == pytest.approx(want, abs=1e-12)


def test_dpo_by_hand():
    """β = 1/2; the log-ratios log 9 and 0 are worth log 3 and 0."""
    loss = ops.dpo_loss(torch.tensor(math.log(9), dtype=F64), torch.zeros((), dtype=F64), beta=0.5)
    assert float(loss) == pytest.approx(math.log(4 / 3))


def test_the_gradient_of_dpo_is_that_of_the_paper():
    """−β σ(r(rejected) − r(chosen)) for the chosen answer, and the opposite for the other (section 4); at the reference −β/2."""
    g = torch.Generator().manual_seed(0)
    chosen, rejected = (torch.randn(3, 7, generator=g, dtype=F64, requires_grad=True) for _ in range(2))
    ops.dpo_loss(chosen, rejected, beta=0.3).sum().backward()
    want = -0.3 * (0.3 * (rejected - chosen)).sigmoid().detach()
    torch.testing.assert_close(chosen.grad, want)
    torch.testing.assert_close(rejected.grad, -want)
    start = torch.zeros((), dtype=F64, requires_grad=True)
    ops.dpo_loss(start, torch.zeros((), dtype=F64), beta=0.3).backward()
    assert float(start.grad) == pytest.approx(-0.15)


def test_with_smoothed_labels_the_best_margin_is_their_logit():
    margin = torch.tensor(math.log(0.8 / 0.2), dtype=F64, requires_grad=True)
    ops.bradley_terry_loss(margin, torch.zeros((), dtype=F64), label_smoothing=0.2).backward()
    assert float(margin.grad) == pytest.approx(0, abs=1e-15)


def test_over_all_pairs_dpo_finds_the_optimum_of_the_reward_with_a_kl_penalty():
    """Of every pair of sequences, labelled by Bradley-Terry, in the mean: π ∝ π_ref exp(r / β)."""
    problem, beta = make_problem("random"), 0.5
    reference, policy = TabularPolicy(problem), TabularPolicy(problem)
    with torch.no_grad():
        reference.logits.copy_(0.5 * torch.randn(reference.logits.shape, generator=torch.Generator().manual_seed(1), dtype=F64))
        policy.logits.copy_(reference.logits)
        start = sequence_log_probs(reference, problem)
    reward = problem.rewards
    label = (reward.unsqueeze(-1) - reward.unsqueeze(-2)).sigmoid()  # [P, M, M]: how often the first is preferred
    optimizer = torch.optim.LBFGS(policy.parameters(), lr=1, max_iter=400, tolerance_grad=1e-12, tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        ratio = (sequence_log_probs(policy, problem) - start)[0]
        each = ops.dpo_loss(ratio.unsqueeze(-1).expand_as(label), ratio.unsqueeze(-2).expand_as(label), beta=beta)
        total = (label * each).mean()
        total.backward()
        return total

    optimizer.step(loss)
    want = (start + reward / beta).log_softmax(-1)
    assert (start - want).abs().max() > 1  # there is something to find
    torch.testing.assert_close(sequence_log_probs(policy, problem).detach(), want, rtol=0, atol=1e-3)
