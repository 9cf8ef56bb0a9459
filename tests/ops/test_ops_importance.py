"""Ratios of outside answers: hand-worked numbers, and the identities of the balance heuristic."""

from __future__ import annotations

import math

import pytest
import torch

from operant import ops


def test_mixed_ratio_by_hand():
    log_prob, old, writer = (torch.tensor([p], dtype=torch.float64).log() for p in (0.3, 0.1, 0.5))
    assert ops.mixed_importance_ratio(log_prob, old, writer).item() == pytest.approx(2 * 0.3 / (0.1 + 0.5), abs=1e-15)


def test_mixed_ratio_is_the_plain_one_where_both_writers_agree():
    log_prob, old = torch.randn(2, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64).log_softmax(-1)
    torch.testing.assert_close(ops.mixed_importance_ratio(log_prob, old, old), ops.policy_ratio(log_prob, old))


def test_the_balance_heuristic_is_unbiased():
    target, old, writer = torch.randn(3, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64).log_softmax(-1)
    value = torch.arange(7, dtype=torch.float64)
    ratio = ops.mixed_importance_ratio(target, old, writer)
    estimate = 0.5 * ((old.exp() + writer.exp()) * ratio * value).sum()
    assert estimate.item() == pytest.approx((target.exp() * value).sum().item(), abs=1e-14)


def test_assumed_behaviour_by_hand():
    old = torch.tensor([0.2], dtype=torch.float64).log()
    uniform = torch.tensor([-math.log(5)], dtype=torch.float64)
    assert ops.assumed_behaviour_log_prob(old, uniform).exp().item() == pytest.approx(0.5 * 0.2 + 0.5 / 5, abs=1e-15)


def test_truncated_importance_by_hand_and_without_gradient():
    log_prob = torch.tensor([0.3, 0.2, 0.9], dtype=torch.float64).log().requires_grad_()
    weight = ops.truncated_importance(log_prob, torch.tensor([0.2, 0.4, 0.1], dtype=torch.float64).log(), most=2.0)
    torch.testing.assert_close(weight, torch.tensor([1.5, 0.5, 2.0], dtype=torch.float64))
    assert not weight.requires_grad


def test_importance_that_is_not_truncated_is_unbiased():
    target, writer = torch.randn(2, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64).log_softmax(-1)
    value = torch.arange(7, dtype=torch.float64)
    estimate = (writer.exp() * ops.truncated_importance(target, writer, most=math.inf) * value).sum()
    assert estimate.item() == pytest.approx((target.exp() * value).sum().item(), abs=1e-14)


def test_exploration_weight_by_hand_and_without_gradient():
    log_prob = torch.tensor([0.75, 1.0, 0.0], dtype=torch.float64).log().requires_grad_()
    weight = ops.exploration_weight(log_prob, gamma=2.0)
    torch.testing.assert_close(weight, torch.tensor([0.0625, 0.0, 1.0], dtype=torch.float64))
    assert not weight.requires_grad
    assert ops.exploration_weight(log_prob, gamma=0.0).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("kind", ["forward-kl", "js", "alpha"])
def test_f_generators_are_zero_at_one_and_never_negative(kind: str):
    log_ratio = torch.linspace(-30, 60, 500, dtype=torch.float64)
    value = ops.f_generator(log_ratio, kind=kind)
    assert (value >= -1e-12).all() and value.isfinite().all()
    assert ops.f_generator(torch.zeros(1, dtype=torch.float64), kind=kind).abs().item() < 1e-15


def test_f_generators_sum_to_their_divergences():
    start, policy = torch.randn(2, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64).softmax(-1)
    middle = (start + policy) / 2
    log_ratio = (policy / start).log()
    forward = (start * (start / policy).log()).sum()
    reverse = (policy * (policy / start).log()).sum()
    js = ((start * (start / middle).log()).sum() + (policy * (policy / middle).log()).sum()) / 2
    mean = {kind: (start * ops.f_generator(log_ratio, kind=kind)).sum() for kind in ("forward-kl", "js")}
    torch.testing.assert_close(mean["forward-kl"], forward)
    torch.testing.assert_close(mean["js"], 2 * js)
    for alpha, limit in ((1 - 1e-6, forward), (1e-6, reverse)):
        torch.testing.assert_close((start * ops.f_generator(log_ratio, kind="alpha", alpha=alpha)).sum(), limit, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("options", "line"), [({"kind": "kl"}, "forward-kl, js or alpha"), ({"kind": "alpha", "alpha": 1.0}, "between 0 and 1")])
def test_unknown_generators_are_refused(options, line: str):
    with pytest.raises(ValueError, match=line):
        ops.f_generator(torch.zeros(1), **options)


def test_bernoulli_tilt_by_hand():
    p, beta = 0.3, 0.5
    best = p * math.exp(1 / beta) / (1 - p + p * math.exp(1 / beta))
    kl = p * math.log(p / best) + (1 - p) * math.log((1 - p) / (1 - best))
    assert ops.bernoulli_tilt_kl(torch.tensor(p, dtype=torch.float64), beta=beta).item() == pytest.approx(kl, abs=1e-14)
    assert ops.bernoulli_tilt_kl(torch.tensor([0.0, 1.0], dtype=torch.float64), beta=beta).abs().max() < 1e-14
