"""Submodular utilities: gains against the utility of sets, written down."""

from __future__ import annotations

import math

import pytest
import torch

from operant import ops

VISITED = torch.tensor([[0, 2, 2, 1, 0, 3], [3, 3, 3, 3, 3, 3]])


def test_coverage_by_hand():
    """Places cover {a, b}, {b}, {c}, {a, c}; a weighs 1, b 2, c 4."""
    covers = torch.tensor([[1.0, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1]])
    assert ops.facility_gains(covers, torch.tensor([1.0, 2, 4]), VISITED).tolist() == [[3, 4, 0, 0, 0, 0], [5, 0, 0, 0, 0, 0]]


def gains_of(utility, visited: torch.Tensor) -> list[float]:
    return [utility({*visited[: step + 1].tolist()}) - utility({*visited[:step].tolist()}) for step in range(len(visited))]


@pytest.mark.parametrize("kind", ["facility", "information"])
def test_gains_are_differences_of_the_utility_of_sets(kind: str):
    generator = torch.Generator().manual_seed(0)
    similarity, weight = torch.rand(4, 5, generator=generator, dtype=torch.float64), torch.rand(5, generator=generator, dtype=torch.float64)
    root = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    covariance, noise = root @ root.T, 0.3

    def facility(places: set[int]) -> float:
        return sum(float(weight[c]) * max((float(similarity[s, c]) for s in places), default=0.0) for c in range(5))

    def information(places: set[int]) -> float:
        index = torch.tensor(sorted(places), dtype=torch.int64)
        among = covariance[index][:, index]
        return 0.5 * math.log(float(torch.linalg.det(torch.eye(len(index)) + among / noise))) if places else 0.0

    found = ops.facility_gains(similarity, weight, VISITED) if kind == "facility" else ops.information_gains(covariance, VISITED, noise=noise)
    for row, visited in zip(found, VISITED, strict=True):
        expected = torch.tensor(gains_of(facility if kind == "facility" else information, visited), dtype=torch.float64)
        torch.testing.assert_close(row, expected, atol=1e-9, rtol=1e-9)
