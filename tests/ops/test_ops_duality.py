import pytest
import torch

from operant import ops


def test_chi_square_conjugate_by_hand():
    """x + x^2 / 4 down to -2, where it reaches -1 and stays; its slope is the weight."""
    x = torch.tensor([-4.0, -2.0, -1.0, 0.0, 2.0], requires_grad=True)
    found = ops.chi_square_conjugate(x)
    assert found.tolist() == [-1.0, -1.0, -0.75, 0.0, 3.0]
    found.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.5, 1.0, 2.0]


def test_chi_square_conjugate_is_the_largest_over_weights():
    weights = torch.linspace(0, 6, 600_001, dtype=torch.float64)
    for x in (-5.0, -1.3, 0.4, 3.7):
        brute = (x * weights - (weights - 1) ** 2).max().item()
        assert ops.chi_square_conjugate(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(brute, abs=1e-9)


def test_orthogonal_part_by_hand():
    gradient, along = torch.tensor([[3.0, 4.0], [1.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert ops.orthogonal_part(gradient, along).tolist() == [[0.0, 4.0], [0.0, 0.0]]
    assert ops.orthogonal_part(gradient, torch.zeros(2, 2)).tolist() == gradient.tolist()


def test_orthogonal_part_against_a_loop_and_to_rounding():
    """Also where what is left is a millionth of what was there: the cosine stays below 1e-6."""
    generator = torch.Generator().manual_seed(0)
    along = torch.randn(3, 5_000, generator=generator)
    rest = torch.randn(3, 5_000, generator=generator)
    for size in (1.0, 1e-3):
        gradient = along + size * rest
        found = ops.orthogonal_part(gradient, along)
        for g, a, kept in zip(gradient.double(), along.double(), found, strict=True):
            share = sum((x * y for x, y in zip(g.tolist(), a.tolist(), strict=True))) / sum(y * y for y in a.tolist())
            torch.testing.assert_close(kept, (g - share * a).float(), rtol=1e-6, atol=1e-9)
            assert abs(torch.dot(kept.double(), a)) / (kept.double().norm() * a.norm()) < 1e-6


def test_a_step_along_it_leaves_the_other_loss_alone():
    """f(x) = (x0 - 1)^2 + x1 x2, g(x) = sum of sines: the change of f along the orthogonal part of g's gradient falls with the square of the step."""
    x = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)

    def f(x):
        return (x[0] - 1) ** 2 + x[1] * x[2]

    forward = torch.func.grad(f)(x)
    part = ops.orthogonal_part(torch.cos(x), forward)
    changes = [abs((f(x - step * part) - f(x)).item()) for step in (1e-2, 1e-3, 1e-4)]
    assert changes[0] > 0 and changes[0] / changes[1] == pytest.approx(100, rel=1e-3) and changes[1] / changes[2] == pytest.approx(100, rel=1e-2)
