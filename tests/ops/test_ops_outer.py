"""What outer loops compute: mixtures of Gaussians, learning progress, archives."""

import math

import pytest
import torch

from operant import ops

F64 = torch.float64


def test_mixture_log_density_by_hand():
    """Two components on a line: w = 1/4, N(0, 1) and 3/4, N(2, 4) at x = 1."""
    found = ops.mixture_log_density(torch.tensor([[1.0]], dtype=F64), torch.tensor([0.25, 0.75], dtype=F64), torch.tensor([[0.0], [2.0]], dtype=F64),
                                    torch.tensor([[[1.0]], [[4.0]]], dtype=F64))  # fmt: skip
    first = math.log(0.25) - 0.5 * math.log(2 * math.pi) - 0.5
    second = math.log(0.75) - 0.5 * math.log(2 * math.pi * 4) - 1 / 8
    assert found[0].tolist() == pytest.approx([first, second])


def test_mixture_log_density_is_a_literal_loop():
    generator = torch.Generator().manual_seed(0)
    data, mean = torch.randn(5, 3, generator=generator, dtype=F64), torch.randn(2, 3, generator=generator, dtype=F64)
    root = torch.randn(2, 3, 3, generator=generator, dtype=F64)
    covariance, weight = root @ root.mT + torch.eye(3, dtype=F64), torch.tensor([0.3, 0.7], dtype=F64)
    found = ops.mixture_log_density(data, weight, mean, covariance)
    for n in range(5):
        for k in range(2):
            away = data[n] - mean[k]
            squared = float(away @ torch.linalg.inv(covariance[k]) @ away)
            expected = math.log(weight[k]) - 0.5 * (squared + math.log(float(torch.linalg.det(covariance[k]))) + 3 * math.log(2 * math.pi))
            assert found[n, k].item() == pytest.approx(expected)


def test_mixture_step_by_hand():
    """Points 0, 2 and 4, the middle one shared: components at 2/3 and 10/3, each with half of the weight."""
    share = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], dtype=F64)
    weight, mean, covariance = ops.mixture_step(torch.tensor([[0.0], [2.0], [4.0]], dtype=F64), share, floor=0.0)
    assert weight.tolist() == pytest.approx([0.5, 0.5]) and mean.flatten().tolist() == pytest.approx([2 / 3, 10 / 3])
    assert covariance.flatten().tolist() == pytest.approx([(4 / 9 + 0.5 * 16 / 9) / 1.5] * 2)


def test_a_mixture_is_found_and_aic_counts_its_components():
    """Three clusters of 100 points, 0.05 wide: three components have the least AIC of one to five, and stand on the clusters."""
    generator = torch.Generator().manual_seed(1)
    centre = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=F64)
    data = centre.repeat_interleave(100, 0) + 0.05 * torch.randn(300, 2, generator=generator, dtype=F64)
    scores, fits = [], []
    for components in range(1, 6):
        fits.append(ops.fit_gaussian_mixture(data, torch.arange(components) * (299 // components)))
        scores.append(float(ops.mixture_aic(fits[-1][3], rows=300, components=components, size=2)))
    assert scores.index(min(scores)) == 2
    weight, mean, covariance, _ = fits[2]
    assert torch.cdist(centre, mean).amin(1).max() < 0.02 and weight.tolist() == pytest.approx([1 / 3] * 3, abs=1e-3)
    assert (covariance.diagonal(dim1=-2, dim2=-1).sqrt() - 0.05).abs().max() < 0.01
    assert ops.mixture_aic(torch.tensor(-1.0), rows=10, components=2, size=3).item() == 2 * (2 * (3 + 6) + 1) + 20


def test_expectation_maximisation_never_loses_likelihood():
    generator = torch.Generator().manual_seed(2)
    data = torch.rand(60, 3, generator=generator, dtype=F64)
    likelihoods = [float(ops.fit_gaussian_mixture(data, torch.arange(4), iterations=count, tolerance=0.0)[3]) for count in (1, 2, 4, 8, 16)]
    assert likelihoods == sorted(likelihoods)


def test_absolute_learning_progress():
    levels, outcomes = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([10.0, -4.0])
    assert ops.absolute_learning_progress(torch.tensor([0.2, 0.1]), 7.0, levels, outcomes).item() == 3
    assert ops.absolute_learning_progress(torch.tensor([0.9, 0.7]), -1.0, levels, outcomes).item() == 3


def test_iso_line_variation():
    found = ops.iso_line_variation(
        torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.0]), torch.tensor([1.0, -1.0]), torch.tensor([2.0]), iso_sigma=0.5, line_sigma=0.25
    )
    assert found.tolist() == [1 + 0.5 + 0.25 * 2 * 2, 2 - 0.5]


def test_elites_by_hand():
    """Cell 0 keeps 5, cell 1 is empty, cell 2 keeps 1: of 4 and 5 none enters 0, of 2 and 3 the second enters 1, of two of 7 the first enters 2."""
    fitness, cell = torch.tensor([[4.0, 5.0, 2.0, 3.0, 7.0, 7.0, math.nan]]), torch.tensor([[0, 0, 1, 1, 2, 2, 1]])
    kept = torch.tensor([[5.0, -math.inf, 1.0, -math.inf]])
    assert ops.elites(fitness, cell, kept).tolist() == [[7, 3, 4, 7]]
    assert ops.qd_score(kept, lowest=-2.0).tolist() == [7 + 3]


def test_elites_are_a_literal_loop():
    generator = torch.Generator().manual_seed(0)
    fitness, cell = torch.rand(3, 40, generator=generator), torch.randint(10, (3, 40), generator=generator)
    kept = torch.rand(3, 10, generator=generator) - 0.3
    found = ops.elites(fitness, cell, kept)
    for s in range(3):
        for c in range(10):
            best, place = float(kept[s, c]), 40
            for b in range(40):
                if cell[s, b] == c and float(fitness[s, b]) > best:
                    best, place = float(fitness[s, b]), b
            assert found[s, c] == place


def test_descriptor_similarity_by_hand():
    """A distance of 5 at a length of 2.5 counts e^-2; nothing missed counts 1, and so does everything at an infinite length."""
    reached, wanted = torch.tensor([[0.0, 0.0], [1.0, 2.0]], dtype=F64), torch.tensor([[3.0, 4.0], [1.0, 2.0]], dtype=F64)
    assert ops.descriptor_similarity(reached, wanted, lengthscale=2.5).tolist() == pytest.approx([math.exp(-2), 1.0])
    assert ops.descriptor_similarity(reached, wanted, lengthscale=math.inf).tolist() == [1.0, 1.0]
    assert ops.descriptor_similarity(reached[..., :0], wanted[..., :0], lengthscale=0.1).tolist() == [1.0, 1.0]  # of no numbers


def test_descriptor_similarity_is_a_literal_loop():
    generator = torch.Generator().manual_seed(0)
    reached, wanted = (torch.rand(3, 7, 4, generator=generator, dtype=F64) for _ in range(2))
    found = ops.descriptor_similarity(reached, wanted, lengthscale=0.3)
    for s in range(3):
        for b in range(7):
            squares = [(float(reached[s, b, k]) - float(wanted[s, b, k])) ** 2 for k in range(4)]
            assert found[s, b].item() == pytest.approx(math.exp(-math.sqrt(sum(squares)) / 0.3))


def test_cells():
    centroid = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    assert ops.nearest_cell(torch.tensor([[[0.4, 0.9], [0.6, -3.0], [0.5, 0.0]]]), centroid).tolist() == [[0, 1, 0]]
    draws = torch.rand(4_000, 2, generator=torch.Generator().manual_seed(0))
    found = ops.voronoi_centroids(draws, 16)
    counts = torch.bincount(ops.nearest_cell(draws, found), minlength=16)
    assert found.shape == (16, 2) and counts.min() > 120 and counts.max() < 450  # 250 each would be equal
