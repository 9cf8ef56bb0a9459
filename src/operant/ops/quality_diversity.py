"""Archives of many different good solutions: variation, cells, and what enters."""

from __future__ import annotations

import torch
from torch import Tensor


def iso_line_variation(parent: Tensor, other: Tensor, normal: Tensor, along: Tensor, *, iso_sigma: float, line_sigma: float) -> Tensor:
    """x + iso_sigma N(0, I) + line_sigma N(0, 1) (y - x) (Vassiliades and Mouret 2018, arXiv:1804.03906, eq. 1).

    Args:
        parent, other: x and y, `[..., P]`.
        normal: standard normal draws `[..., P]`. along: the same, `[..., 1]`.
        iso_sigma, line_sigma: deviations, 0 or more; the first in units of the parameters.
    """
    return parent + iso_sigma * normal + line_sigma * along * (other - parent)


def nearest_cell(points: Tensor, centroid: Tensor) -> Tensor:
    """The cell whose centroid is nearest: `[..., B]` int64 from points `[..., B, D]` and centroids `[C, D]` or `[..., C, D]`; of equals the first."""
    return torch.cdist(points, centroid.expand(*points.shape[:-2], *centroid.shape[-2:])).argmin(-1)


def k_means_step(points: Tensor, centroid: Tensor) -> tuple[Tensor, Tensor]:
    """(centroids at the mean of what is nearest to them, those of nothing staying, `[..., C, D]`; the mean squared distance before, `[...]`) (Lloyd 1982).

    Args:
        points: `[..., B, D]`. centroid: `[..., C, D]`.
    """
    cell = nearest_cell(points, centroid)
    each = cell.unsqueeze(-1).expand(points.shape)
    count = torch.zeros_like(centroid[..., 0]).scatter_add_(-1, cell, torch.ones_like(points[..., 0])).unsqueeze(-1)
    total = torch.zeros_like(centroid).scatter_add_(-2, each, points)
    distance = (points - centroid.gather(-2, each)).square().sum(-1).mean(-1)
    return torch.where(count > 0, total / count.clamp(min=1), centroid), distance


def voronoi_centroids(draws: Tensor, cells: int, *, iterations: int = 20) -> Tensor:
    """Centroids `[C, D]` of cells of about equal size, by k-means over draws of the space (CVT-MAP-Elites, arXiv:1610.05729, algorithm 2).

    Args:
        draws: `[N, D]`, uniform over the space, at least `cells` of them; k-means begins at the first.
    """
    centroid = draws[:cells].clone()
    for _ in range(iterations):
        centroid, _ = k_means_step(draws, centroid)
    return centroid


def elites(fitness: Tensor, cell: Tensor, kept: Tensor) -> Tensor:
    """Which candidate enters each cell, `[S, C]` int64, and B where none does: the fittest of a cell's, where it is above what is kept (MAP-Elites,
    arXiv:1504.04909, algorithm 1). Of equals the first.

    Args:
        fitness: `[S, B]`; NaN never enters. cell: `[S, B]` int64 in [0, C). kept: `[S, C]`, -inf of an empty cell.
    """
    fitness = fitness.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    best = torch.full_like(kept, -torch.inf).scatter_reduce_(1, cell, fitness, "amax")
    enters = (fitness == best.gather(1, cell)) & (fitness > kept.gather(1, cell))
    place = torch.arange(fitness.shape[1], device=fitness.device).expand(fitness.shape)
    none = torch.full_like(kept, fitness.shape[1], dtype=torch.int64)
    return none.scatter_reduce_(1, cell, place.where(enters, fitness.shape[1]), "amin")


def descriptor_similarity(reached: Tensor, wanted: Tensor, *, lengthscale: float) -> Tensor:
    """S(d, d') = exp(−‖d − d'‖ / L), `[...]` in (0, 1] from descriptors `[..., D]` (DCG-MAP-Elites, arXiv:2303.03832); 1 for an infinite L.

    Args:
        lengthscale: L, above 0, in units of the descriptors.
    """
    return torch.exp(-torch.linalg.vector_norm(reached - wanted, dim=-1) / lengthscale)


def qd_score(kept: Tensor, *, lowest: float) -> Tensor:
    """Σ over filled cells of fitness less the lowest that there is, `[...]` from `[..., C]` with -inf in empty cells (Pugh et al. 2016)."""
    return torch.where(kept > -torch.inf, kept - lowest, torch.zeros_like(kept)).sum(-1)
