import math

import pytest
import torch

from operant import ops


@pytest.fixture
def pair():
    g = torch.Generator().manual_seed(0)
    return torch.randn(5, 7, generator=g, dtype=torch.float64), torch.randn(5, 7, generator=g, dtype=torch.float64)


def literal_kl(p, q):
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True) if a > 0)


def test_estimators_by_hand():
    log_prob, reference = torch.log(torch.tensor([0.5, 0.2], dtype=torch.float64)), torch.log(torch.tensor([0.25, 0.4], dtype=torch.float64))
    torch.testing.assert_close(ops.kl_k1(log_prob, reference), torch.tensor([math.log(2), -math.log(2)], dtype=torch.float64))
    torch.testing.assert_close(ops.kl_k2(log_prob, reference), torch.full((2,), math.log(2) ** 2 / 2, dtype=torch.float64))
    # k3 = ref/pi - 1 - log(ref/pi)
    torch.testing.assert_close(ops.kl_k3(log_prob, reference), torch.tensor([0.5 - 1 + math.log(2), 2 - 1 - math.log(2)], dtype=torch.float64))


def test_categorical_kl_and_entropy_equal_the_sums(pair):
    logits, reference = pair
    p, q = logits.softmax(-1), reference.softmax(-1)
    for n in range(len(p)):
        assert ops.categorical_kl(logits, reference)[n].item() == pytest.approx(literal_kl(p[n].tolist(), q[n].tolist()), rel=1e-12)
        assert ops.entropy_from_logits(logits)[n].item() == pytest.approx(-sum(x * math.log(x) for x in p[n].tolist()), rel=1e-12)
    assert ops.entropy_from_logits(torch.zeros(6)).item() == pytest.approx(math.log(6))


def test_expectations_over_the_enumerated_distribution(pair):
    logits, reference = pair
    log_p, log_q = logits.log_softmax(-1), reference.log_softmax(-1)
    exact = ops.categorical_kl(logits, reference)
    for estimator in (ops.kl_k1, ops.kl_k3):
        torch.testing.assert_close((log_p.exp() * estimator(log_p, log_q)).sum(-1), exact, rtol=1e-12, atol=1e-12)
    k2 = (log_p.exp() * ops.kl_k2(log_p, log_q)).sum(-1)
    assert not torch.allclose(k2, exact, rtol=1e-3)  # k2 is biased
    assert (ops.kl_k3(log_p, log_q) >= 0).all()
    assert (ops.kl_k2(log_p, log_q) >= 0).all()


def test_gradients_of_the_estimators_as_losses(pair):
    """The expected gradient, samples held fixed: k1 gives 0, k2 that of KL(pi || ref), k3 that of KL(ref || pi)."""
    logits, reference = pair

    def expected_gradient(estimator):
        x = logits.clone().requires_grad_()
        log_p = x.log_softmax(-1)
        (log_p.exp().detach() * estimator(log_p, reference.log_softmax(-1))).sum().backward()
        return x.grad

    def exact_gradient(divergence):
        x = logits.clone().requires_grad_()
        divergence(x).sum().backward()
        return x.grad

    torch.testing.assert_close(expected_gradient(ops.kl_k1), torch.zeros_like(logits), atol=1e-12, rtol=0)
    torch.testing.assert_close(expected_gradient(ops.kl_k2), exact_gradient(lambda x: ops.categorical_kl(x, reference)), atol=1e-12, rtol=0)
    torch.testing.assert_close(expected_gradient(ops.kl_k3), exact_gradient(lambda x: ops.categorical_kl(reference, x)), atol=1e-12, rtol=0)


def test_k3_is_safe_in_float32():
    log_prob = torch.tensor([-500.0, -60.0, -1.0, -1.0, -1e-4], requires_grad=True)
    reference = torch.tensor([-1.0, -1.0, -1.0, -500.0, -2e-4])
    value = ops.kl_k3(log_prob, reference)
    value.sum().backward()
    assert value.isfinite().all() and log_prob.grad.isfinite().all()
    assert value[0] > value[1] > 1e17  # it keeps growing past the bound
    assert (log_prob.grad[:2] < 0).all()  # and keeps pushing log pi up
    assert value[2] == 0 and value[3].item() == pytest.approx(498)
    assert value[4].item() == pytest.approx(0.5e-8, rel=1e-2)  # exp(r) - 1 - r would give 0 or rounding noise here
    assert log_prob.grad.norm().isfinite()


def test_impossible_outcomes():
    logits = torch.tensor([0.0, -torch.inf, 0.0], requires_grad=True)
    ops.entropy_from_logits(logits).backward()
    assert ops.entropy_from_logits(logits).item() == pytest.approx(math.log(2))
    assert logits.grad.isfinite().all()
    reference = torch.zeros(3)
    assert ops.categorical_kl(logits, reference).item() == pytest.approx(math.log(3 / 2))
    assert ops.categorical_kl(logits, logits).item() == 0
    assert ops.categorical_kl(reference, logits).item() == math.inf


def test_the_q_logarithm():
    """Of 4: log 4 at q = 1; 2 (√4 − 1) = 2 at q = 1/2; 1 − 1/4 at q = 2. Near q = 1 it is nearly log, and far out it stays finite with its sign."""
    log_x = torch.tensor(math.log(4.0), dtype=torch.float64)
    for q, value in ((1.0, math.log(4)), (0.5, 2.0), (2.0, 0.75), (1 + 1e-7, math.log(4))):
        assert ops.q_logarithm(log_x, q=q).item() == pytest.approx(value, rel=1e-6)
    far = torch.tensor([-200.0, 200.0], requires_grad=True)
    for q in (0.5, 1.5):
        found = ops.q_logarithm(far, q=q)
        (gradient,) = torch.autograd.grad(found.sum(), far)
        assert torch.isfinite(found).all() and found[0] < 0 < found[1] and torch.isfinite(gradient).all() and (gradient >= 0).all()
