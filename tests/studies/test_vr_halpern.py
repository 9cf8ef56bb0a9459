"""Halpern iteration, whole and by batches."""

from __future__ import annotations

import pytest
import torch

from operant import ops
from operant.studies.vr_halpern import LeastSquares, slope, solved


def test_a_step_by_hand():
    start, point = torch.tensor([4.0, 0.0]).double(), torch.tensor([2.0, 2.0]).double()
    assert ops.halpern_step(start, point, torch.tensor([1.0, -1.0]).double(), iteration=0, rate=2.0).tolist() == [2, 2]  # half of (4, 0), half of (0, 4)
    assert ops.halpern_step(start, point, torch.zeros(2).double(), iteration=4, rate=1.0).tolist() == [2.5, 1.5]
    now, before = torch.tensor([[1.0, 0.0], [3.0, 2.0]]).double(), torch.tensor([[1.0, 1.0], [0.0, 0.0]]).double()
    assert ops.recursive_estimate(point, now, before).tolist() == [3.5, 2.5]


def test_components_add_up_and_the_zero_is_found():
    problem = LeastSquares.drawn(50, 4, 100)
    matrix = problem.a.T @ problem.a / 50
    torch.testing.assert_close(problem.at(problem.start).mean(0), matrix @ problem.start - problem.a.T @ problem.b / 50)
    whole, reduced = (solved(problem, kind, 0.01) for kind in ("whole", "reduced"))
    assert whole["evaluations"] == 50 * whole["iterations"] and reduced["evaluations"] < whole["evaluations"]
    assert max(whole["largest_share_of_bound"], reduced["largest_share_of_bound"]) <= 1
    assert slope({1: 3.0, 10: 30.0}) == pytest.approx(1)
