"""VR-Halpern: where F is a mean of n operators, its zero is found with √n evaluations a step in the place of n.

Paper: arXiv:2310.02987, the cocoercive case. u_{k+1} = λ_k u_0 + (1 - λ_k) (u_k - F̃_k / 4L), λ_k = 2 / (k + 4); F̃ is evaluated whole with probability 4 / (k
+ 5), and else changed by what a batch of ⌈√n⌉ components changed. Then E‖F(u_k)‖ ≤ 16 L ‖u_0 - u*‖ / (k + 4), and a residual of ε costs about n + √n L / ε
evaluations, times a logarithm; deterministic Halpern iteration costs n L / ε.

Test bed: F_i(u) = a_i (a_i · u - b_i), least squares, ‖a_i‖ = 1 so that L = 1. Evaluations are counted until the true residual, which is not counted, is small.
Settled here: λ_0 is 1/2 as the formula says. The merely monotone case, whose inner loop the paper solves by variance-reduced forward-backward steps, is not
there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput, RunFailed
from operant.core.memory import check_memory
from operant.core.registry import Count, Range
from operant.core.seeds import derive_seed
from operant.evaluate.plots import learning_curves
from operant.studies import Say, StudyResult, Table, study

MOST = 200_000  # iterations


@dataclass(frozen=True)
class HalpernOptions:
    components: Annotated[tuple[int, ...], Range(4)] = (100, 1_000, 10_000)  # n
    dimension: Count = 20  # of u
    residual: Annotated[float, Range(0, open_low=True)] = 4e-4  # ‖F(u)‖ to be reached, in units of L ‖u_0 - u*‖
    seeds: Count = 3  # problems of each n
    seed: Annotated[int, Range(0)] = 0  # the first one


@study("vr-halpern", paper="arXiv:2310.02987", summary="What a zero of a mean of n operators costs, by whole evaluations and by batches of √n")
def vr_halpern(options: HalpernOptions, folder: Path, say: Say) -> StudyResult:
    most, dimension = max(options.components), options.dimension
    if dimension > (fewest := min(options.components)):
        raise BadInput(f"study vr-halpern: dimension={dimension}: {fewest} components have no zero of their own in more than {fewest} dimensions")
    what = f"study vr-halpern: {most:,} components in {dimension:,} dimensions"
    check_memory(what, 3 * 8 * dimension * (most + dimension), "take fewer --components, or a smaller --dimension")
    costs: dict[str, dict[int, float]] = {"reduced": {}, "whole": {}}
    worst = 0.0
    for components in options.components:
        for kind, found in costs.items():
            seeds = range(options.seed, options.seed + options.seeds)
            runs = [solved(LeastSquares.drawn(components, options.dimension, seed), kind, options.residual, seed=seed) for seed in seeds]
            if any(run["iterations"] == MOST - 1 for run in runs):
                what = f"study vr-halpern: {components:,} components, {kind}: the residual {options.residual:g} is not reached in {MOST:,} iterations"
                raise RunFailed(f"{what}: take a larger --residual")
            found[components] = float(np.mean([run["evaluations"] for run in runs]))
            worst = max(worst, *(run["largest_share_of_bound"] for run in runs))
        say(f"n = {components:,}: {costs['reduced'][components]:,.0f} evaluations, whole {costs['whole'][components]:,.0f}")
    figures: dict[str, Any] = {"evaluations": costs, "exponents": {kind: slope(found) for kind, found in costs.items()}, "largest_share_of_bound": worst}
    rows = tuple((f"{count:,}", *(f"{costs[kind][count]:,.0f}" for kind in costs)) for count in options.components)
    title = f"evaluations until the residual is {options.residual:g}; exponents {figures['exponents']['reduced']:.2f} and {figures['exponents']['whole']:.2f}"
    plots = {kind: [(np.array(list(found), dtype=float), np.array(list(found.values())))] for kind, found in costs.items()}
    tables = (Table(title, ("components", "VR-Halpern", "Halpern"), rows),)
    return StudyResult(figures, tables, {"evaluations": learning_curves(plots, ylabel="evaluations", xlabel="components")})


@dataclass(frozen=True)
class LeastSquares:
    """F_i(u) = a_i (a_i · u - b_i): a `[n, d]` of length 1, b `[n]`, and where all begins, `[d]`."""

    a: Tensor
    b: Tensor
    start: Tensor

    @staticmethod
    def drawn(components: int, dimension: int, seed: int) -> LeastSquares:
        """Directions and points at random, with noise."""
        generator = torch.Generator().manual_seed(derive_seed(seed, "halpern", str(components)))
        normal = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
        a = normal(components, dimension)
        a = a / a.norm(dim=-1, keepdim=True)
        return LeastSquares(a, a @ normal(dimension) + 0.1 * normal(components), normal(dimension))

    def at(self, point: Tensor, batch: Tensor | None = None) -> Tensor:
        """Of a batch of components, of none all: `[B, d]`."""
        a, b = (self.a, self.b) if batch is None else (self.a[batch], self.b[batch])
        return a * (a @ point - b).unsqueeze(-1)


def solved(problem: LeastSquares, kind: str, residual: float, most: int = MOST, seed: int = 0) -> dict[str, float]:
    """Evaluations until the residual is there, the iterations, and the largest share of the bound 16 L ‖u_0 - u*‖ / (k + 4) that a residual had on the way."""
    components = len(problem.b)
    matrix, right = problem.a.T @ problem.a / components, problem.a.T @ problem.b / components
    distance = (problem.start - torch.linalg.solve(matrix, right)).norm().item()
    generator = torch.Generator().manual_seed(derive_seed(seed, "halpern", kind))
    batch = math.ceil(math.sqrt(components))
    point, before, estimate, evaluations, share = problem.start, problem.start, None, 0, 0.0
    for iteration in range(most):
        exact = matrix @ point - right
        norm = exact.norm().item()
        share = max(share, norm * (iteration + 4) / (16 * distance))
        if norm <= residual * distance:
            break
        if kind == "whole" or estimate is None or torch.rand(1, generator=generator).item() < 4 / (iteration + 5):
            estimate, evaluations = exact, evaluations + components
        else:
            chosen = torch.randint(components, (batch,), generator=generator)
            estimate, evaluations = ops.recursive_estimate(estimate, problem.at(point, chosen), problem.at(before, chosen)), evaluations + 2 * batch
        before, point = point, ops.halpern_step(problem.start, point, estimate, iteration=iteration, rate=1 / 4)
    return {"evaluations": float(evaluations), "iterations": float(iteration), "largest_share_of_bound": share}


def slope(points: dict[int, float]) -> float:
    """The slope of log value against log key."""
    return float(np.polyfit(np.log(list(points)), np.log(list(points.values())), 1)[0])
