"""Losses of encoders, codes and clusters, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from operant import ops


def test_info_nce_by_hand():
    same = torch.eye(2, dtype=torch.float64)
    # each point has its like, at a product of 1, and the two of the other pair, at 0
    assert ops.info_nce_loss(same, same, temperature=1.0).tolist() == pytest.approx([math.log(math.e + 2) - 1] * 2)
    first, second = torch.tensor([[2.0], [0.0]], dtype=torch.float64), torch.tensor([[1.0], [3.0]], dtype=torch.float64)

    def lost(right: float, *others: float) -> float:
        return math.log(sum(map(math.exp, (right, *others)))) - right

    found = ops.info_nce_loss(first, second, temperature=2.0)
    # 2 looks for 1 among 1, 0 and 3, and 1 for 2 among 2, 0 and 3; then 0 for 3, and 3 for 0
    wanted = [(lost(1, 0, 3) + lost(1, 0, 1.5)) / 2, (lost(0, 0, 0) + lost(0, 3, 1.5)) / 2]
    assert found.tolist() == pytest.approx(wanted)
    stacked = ops.info_nce_loss(torch.stack([same, first.expand(2, 2)]), torch.stack([same, second.expand(2, 2)]), temperature=1.0)
    assert stacked.shape == (2, 2) and stacked[0, 0].item() == pytest.approx(math.log(math.e + 2) - 1)


def test_codes_by_hand():
    points = torch.tensor([[1.5, 0.0], [-1.0, 0.0]], requires_grad=True)
    codes = torch.tensor([[0.0, 0.0], [2.0, 0.0], [9.0, 9.0]], requires_grad=True)
    assert ops.nearest_cell(points, codes).tolist() == [1, 0]
    code, loss = ops.vector_quantized(points, codes, commitment=0.5)
    assert code.tolist() == [[2.0, 0.0], [0.0, 0.0]] and loss.tolist() == pytest.approx([0.375, 1.5])
    moved, drawn = torch.autograd.grad(loss.sum(), (codes, points), retain_graph=True)
    assert moved.tolist() == [[2.0, 0.0], [1.0, 0.0], [0.0, 0.0]]  # 2 (e - z) of the code that was chosen
    assert drawn.tolist() == [[-0.5, 0.0], [-1.0, 0.0]]  # commitment · 2 (z - e)
    through = torch.autograd.grad((code * torch.tensor([3.0, 4.0])).sum(), (points, codes), allow_unused=True)
    assert through[0].tolist() == [[3.0, 4.0]] * 2 and through[1] is None


def test_k_means_by_hand():
    points = torch.tensor([[[0.0], [1.0], [10.0]]]).expand(2, -1, -1)
    # the first is uniform; from 1 the squared distances are 1, 0 and 81
    begun = ops.spread_points(points, torch.tensor([[0.5, 0.01], [0.5, 0.5]]))
    assert begun.tolist() == [[[1.0], [0.0]], [[1.0], [10.0]]]
    centres, distance = ops.k_means_step(points[0], torch.tensor([[0.0], [8.0], [100.0]]))
    assert centres.tolist() == [[0.5], [10.0], [100.0]] and distance.item() == pytest.approx(5 / 3)
