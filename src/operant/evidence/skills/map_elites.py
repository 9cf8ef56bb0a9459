"""MAP-Elites: around a trap that fitness alone runs into, and its variation along lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import operant
from operant.evidence import Finding, check

SEEDS, EVALUATIONS, LENGTH = 5, 20_480, 50


def trained(folder: Path, name: str, task: str, length: int, **hyper) -> dict:
    """The result of a run of 20,480 evaluations a seed."""
    steps = EVALUATIONS * length
    run = operant.train("map-elites", task, seeds=SEEDS, steps=steps, every=steps, episode_steps=length, episodes=1, out=folder / name, progress=False, **hyper)
    return run.result


@check(
    "map-elites",
    "around-a-trap",
    "small",
    "gym:point-maze, 20,480 evaluations, 5 seeds: the fittest elite's return is at least 0.85 in every seed, while with an archive of one cell (fitness alone,"
    " the same variation) it stays in the pocket, at most 0.6, in every seed",
)
def around_a_trap(folder: Path) -> Finding:
    found = {name: trained(folder, name, "gym:point-maze", LENGTH, cells=cells)["score"]["per_seed"] for name, cells in (("archive", 256), ("one_cell", 1))}
    holds = min(found["archive"]) >= 0.85 and max(found["one_cell"]) <= 0.6
    return Finding(holds, {"return": found, "archive_at_least": 0.85, "one_cell_at_most": 0.6}, SEEDS)


@check("map-elites", "fills-the-maze", "small", "gym:point-maze, 20,480 evaluations, 256 cells, 5 seeds: at least 90 % of the cells are filled in every seed")
def fills_the_maze(folder: Path) -> Finding:
    found = trained(folder, "coverage", "gym:point-maze", LENGTH)["measures"]["coverage"]["per_seed"]
    return Finding(min(found) >= 0.9, {"coverage": found, "at_least": 0.9}, SEEDS)


@check(
    "map-elites",
    "along-lines",
    "small",
    "gym:planar-arm, 1,024 cells, 20,480 evaluations, 5 seeds: the QD score (fitness above -10) with variation along lines (0.01 and 0.1) is at least"
    " 1.05 times that with changes in every parameter alone (0.01), means (arXiv:1804.03906)",
)
def along_lines(folder: Path) -> Finding:
    given = {"cells": 1_024, "hidden": (8,), "lowest": -10.0}
    found = {
        name: trained(folder, name, "gym:planar-arm", 1, line_sigma=sigma, **given)["measures"]["QD score"]["per_seed"]
        for name, sigma in (("lines", 0.1), ("iso", 0.0))
    }
    ratio = float(np.mean(found["lines"]) / np.mean(found["iso"]))
    return Finding(ratio >= 1.05, {"qd_score": found, "ratio": ratio, "at_least": 1.05}, SEEDS)
