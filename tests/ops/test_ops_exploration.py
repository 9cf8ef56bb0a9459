from itertools import pairwise

import pytest
import torch

from operant import ops

F64 = torch.float64


def test_epsilon_greedy_policy_by_hand():
    assert ops.epsilon_greedy_policy(torch.tensor([[1.0, 3.0], [2.0, 2.0]], dtype=F64), 0.5).tolist() == [[0.25, 0.75], [0.75, 0.25]]


def test_the_rescaled_linear_rate_forgets_what_is_old():
    """(H + 1) / (H + t); the weights that t targets end up with sum to 1, and the newest share 1 / H of them have more than half."""
    assert ops.rescaled_linear_rate(torch.tensor([1.0, 2.0, 5.0]), horizon=3).tolist() == pytest.approx([1.0, 0.8, 0.5])
    rate = ops.rescaled_linear_rate(torch.arange(1, 1_001, dtype=F64), horizon=10)
    weight = rate * torch.cat([(1 - rate).flip(0).cumprod(0).flip(0)[1:], torch.ones(1, dtype=F64)])
    assert weight.sum().item() == pytest.approx(1) and weight[-100:].sum() > 0.5


def test_moved_entries_by_hand():
    """Entry (0, 1) half of the way from 2 to 4, entry (1, 0) all of it to 7."""
    table = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    moved = ops.moved_entries(table, torch.tensor([[1, 2]]), torch.tensor([[4.0, 7.0]]), torch.tensor([[0.5, 1.0]]))
    assert moved.tolist() == [[[1, 3], [7, 4]]] and table[0, 0, 1] == 2


@pytest.mark.parametrize(("radius", "mean"), [(0.0, 0.7), (0.4, 1.1), (1.2, 1.8), (2.0, 2.0)])
def test_the_optimistic_next_value_by_hand(radius: float, mean: float):
    """States worth 1, 0 and 2, of likelihood 0.3, 0.5 and 0.2: 0.4 moves 0.2 from the worst to the best, 1.2 all of the worst and 0.1 of the middle one."""
    transition = torch.tensor([[[0.3, 0.5, 0.2]]], dtype=F64).expand(3, 1, 3)
    found = ops.optimistic_next_value(transition, torch.full((3, 1), radius, dtype=F64), torch.tensor([1.0, 0.0, 2.0], dtype=F64))
    assert found.flatten().tolist() == pytest.approx([mean] * 3)


def test_what_was_not_seen_is_as_good_as_can_be():
    assert ops.optimistic_next_value(torch.zeros(2, 1, 2), torch.full((2, 1), 0.1), torch.tensor([5.0, 3.0])).flatten().tolist() == [5, 5]


def test_gamma_variates_by_hand():
    """The first proposal of x = 0 is d = shape - 1/3; one of x = -10 is below 0 and rejected, and the next one taken; a shape of 1/2 has a factor U²."""
    shape = torch.tensor([2.0, 2.0, 0.5], dtype=F64)
    normal = torch.tensor([[0.0, 1.0], [-10.0, 0.0], [0.0, 0.0]], dtype=F64)
    drawn = ops.gamma_variate(shape, normal, torch.full((3, 3), 0.5, dtype=F64))
    assert drawn.tolist() == pytest.approx([5 / 3, 5 / 3, 7 / 6 / 4])


def test_gamma_variates_have_the_distribution():
    """Mean and variance are the shape, and the mean of the logarithm is its digamma, within five deviations of 200,000 draws."""
    generator, count = torch.Generator().manual_seed(100), 200_000
    for shape in (0.2, 1.0, 1.5, 30.0):
        normal, uniform = torch.randn(count, 6, generator=generator, dtype=F64), torch.rand(count, 7, generator=generator, dtype=F64)
        drawn = ops.gamma_variate(torch.full((count,), shape, dtype=F64), normal, uniform)
        for found, expected in ((drawn, shape), (drawn.log(), torch.tensor(shape, dtype=F64).digamma().item()), ((drawn - shape).square(), shape)):
            assert abs(found.mean().item() - expected) < 5 * found.std().item() / count**0.5
        parts = [(drawn <= edge * shape).double().mean().item() for edge in (0.5, 1.0, 2.0)]
        expected = [torch.special.gammainc(torch.tensor(shape, dtype=F64), torch.tensor(edge * shape, dtype=F64)).item() for edge in (0.5, 1.0, 2.0)]
        assert parts == pytest.approx(expected, abs=5 * 0.5 / count**0.5) and all(low < high for low, high in pairwise(parts))
