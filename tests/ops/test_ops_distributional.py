"""Histograms of values, their projection and their losses, against slow literal references."""

from __future__ import annotations

import math

import pytest
import torch

from operant import ops
from operant.nets.heads import C51, HLGauss, TwoHot

LOW, HIGH, COUNT = -2.0, 3.0, 11


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def projected(probability: list[float], location: list[float]) -> list[float]:
    """Atom by atom, each shared by its two neighbours as it is closer to the one or the other."""
    step, found = (HIGH - LOW) / (COUNT - 1), [0.0] * COUNT
    for p, z in zip(probability, location, strict=True):
        z = min(max(z, LOW), HIGH)
        for i in range(COUNT):
            found[i] += p * max(0.0, 1 - abs(z - (LOW + i * step)) / step)
    return found


def test_a_projection_is_the_sum_over_atoms():
    probability, location = drawn(2, 5, 7).softmax(-1), 3 * drawn(2, 5, 7, seed=1)
    location[0, 0, :4] = torch.tensor([LOW, HIGH, -50.0, 50.0], dtype=torch.float64)  # on the ends, and beyond them
    location[0, 1, :2] = torch.tensor([LOW + 0.5, 1.0], dtype=torch.float64)  # on an atom
    found = ops.project_distribution(probability, location, low=LOW, high=HIGH, count=COUNT)
    for row in range(2):
        for place in range(5):
            assert found[row, place].tolist() == pytest.approx(projected(probability[row, place].tolist(), location[row, place].tolist()), abs=1e-12)
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 5, dtype=torch.float64))


def test_a_projection_keeps_the_mean_within_the_range():
    probability, location = drawn(50, 7).softmax(-1), drawn(50, 7, seed=1).clamp(LOW, HIGH)
    found = ops.project_distribution(probability, location, low=LOW, high=HIGH, count=COUNT)
    atoms = torch.linspace(LOW, HIGH, COUNT, dtype=torch.float64)
    torch.testing.assert_close((found * atoms).sum(-1), (probability * location).sum(-1))


def test_two_hot():
    found = ops.two_hot(torch.tensor([0.3, -2.0, 3.0, 99.0, 0.5]), low=LOW, high=HIGH, count=COUNT)
    wanted = torch.zeros(5, COUNT)
    wanted[0, 4], wanted[0, 5], wanted[1, 0], wanted[2, -1], wanted[3, -1], wanted[4, 5] = 0.4, 0.6, 1, 1, 1, 1
    torch.testing.assert_close(found, wanted)


def test_a_gaussian_histogram_is_differences_of_the_distribution_function():
    edges = torch.linspace(LOW, HIGH, COUNT + 1, dtype=torch.float64)
    for value in (0.3, -2.0, 2.9):
        below = [0.5 * (1 + math.erf((edge - value) / (0.4 * math.sqrt(2)))) for edge in edges.tolist()]
        wanted = [(b - a) / (below[-1] - below[0]) for a, b in zip(below, below[1:], strict=False)]
        assert ops.gaussian_histogram(torch.tensor(value, dtype=torch.float64), edges, deviation=0.4).tolist() == pytest.approx(wanted, abs=1e-12)
    far = ops.gaussian_histogram(torch.tensor([-100.0, 100.0]), edges.float(), deviation=0.4)
    torch.testing.assert_close(far, ops.gaussian_histogram(torch.tensor([LOW, HIGH]), edges.float(), deviation=0.4))
    assert torch.isfinite(far).all()


def test_what_is_encoded_is_decoded():
    """HL-Gauss within 1e-4 of a bin where the ends are 5 deviations away, two-hot exactly."""
    value = torch.linspace(-8.0, 8.0, 1001, dtype=torch.float64)
    gauss, hot = HLGauss(-10.0, 10.0, 51), TwoHot(-10.0, 10.0, 51)
    assert (gauss.decode(gauss.encode(value)) - value).abs().max() < 1e-4 * 20 / 51
    assert (gauss.encode(value).sum(-1) - 1).abs().max() < 1e-6
    torch.testing.assert_close(hot.decode(hot.encode(value)), value)
    logits = gauss.encode(value).clamp(min=1e-300).log()
    torch.testing.assert_close(gauss.mean(logits), gauss.decode(gauss.encode(value)))


def test_the_gradient_of_cross_entropy_is_the_difference():
    logits, target = drawn(4, 11).requires_grad_(), drawn(4, 11, seed=1).softmax(-1)
    loss = ops.cross_entropy(logits, target)
    for row in range(4):
        log_p = logits[row].detach().log_softmax(-1)
        assert loss[row].item() == pytest.approx(-sum(p * q for p, q in zip(target[row].tolist(), log_p.tolist(), strict=True)))
    loss.sum().backward()
    torch.testing.assert_close(logits.grad, logits.detach().softmax(-1) - target)


@pytest.mark.parametrize("kappa", [0.3, 1.0])
def test_quantile_huber_loss(kappa: float):
    quantiles, targets, fractions = drawn(2, 3, 4), drawn(2, 3, 5, seed=1), torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(2)).double()
    found = ops.quantile_huber_loss(quantiles, targets, fractions, kappa=kappa)
    for row in range(2):
        for place in range(3):
            total = 0.0
            for q, tau in zip(quantiles[row, place].tolist(), fractions[row, place].tolist(), strict=True):
                for y in targets[row, place].tolist():
                    u = y - q
                    huber = u * u / 2 if abs(u) <= kappa else kappa * (abs(u) - kappa / 2)
                    total += abs(tau - (u < 0)) * huber / kappa / 5
            assert found[row, place].item() == pytest.approx(total)
    same = ops.quantile_huber_loss(quantiles, targets, fractions[0, 0], kappa=kappa)  # fractions that are always the same
    torch.testing.assert_close(same, ops.quantile_huber_loss(quantiles, targets, fractions[0, 0].expand(2, 3, 4), kappa=kappa))


def test_quantile_regression_ends_at_the_quantiles():
    """With a small kappa it is the pinball loss, whose gradient vanishes where a fraction tau of the targets lies below."""
    targets = torch.arange(100, dtype=torch.float64)
    fractions = torch.tensor([0.1, 0.5, 0.905], dtype=torch.float64)
    quantiles = torch.tensor([9.5, 49.5, 90.0], dtype=torch.float64, requires_grad=True)
    ops.quantile_huber_loss(quantiles, targets, fractions, kappa=1e-6).sum().backward()
    torch.testing.assert_close(quantiles.grad[:2], torch.zeros(2, dtype=torch.float64), atol=1e-6, rtol=0)
    assert abs(quantiles.grad[2].item()) < 0.01


def test_heads_make_their_targets():
    """Of one transition with reward 1, discount a half: HL-Gauss and two-hot of 1 + Q / 2, C51 atom by atom."""
    outputs, bellman = drawn(1, 1, COUNT), lambda values: 1 + values / 2
    for head in (HLGauss(LOW, HIGH, COUNT), TwoHot(LOW, HIGH, COUNT)):
        torch.testing.assert_close(head.target(outputs, bellman), head.encode(1 + head.mean(outputs) / 2))
    atoms = torch.linspace(LOW, HIGH, COUNT, dtype=torch.float64)
    found = C51(LOW, HIGH, COUNT).target(outputs, bellman)
    assert found[0, 0].tolist() == pytest.approx(projected(outputs[0, 0].softmax(-1).tolist(), (1 + atoms / 2).tolist()))
