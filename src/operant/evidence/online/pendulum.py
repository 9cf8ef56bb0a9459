"""Pendulum-v1 as a small bed: a method and what it is measured beside, with the same networks, batches, learning rate and budget."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from operant.evidence import Finding
from operant.loops.runs import train

Settings = Mapping[str, Any]
EMPTY: Settings = MappingProxyType({})
SIZES = {"hidden": (64, 64), "batch_size": 128, "learning_rate": 1e-3}
FEW_STEPS = {"learning_starts": 500}
SOLVED = -200.0


def solves(folder: Path, method: str, *, steps: int, needed: int, seeds: int = 5) -> Finding:
    """Whether `needed` seeds of a method reach a mean return of -200 within `steps`."""
    score = _scores(folder / "pendulum", method, steps, seeds, SIZES)
    solved = sum(value >= SOLVED for value in score["per_seed"])
    return Finding(solved >= needed, score | {f"seeds_at_{SOLVED:g}": solved, "needed": needed, "steps": steps}, seeds=seeds)


def beside(
    folder: Path, method: str, others: Mapping[str, Settings], *, steps: int, needed: int, seeds: int = 5, both: Settings = EMPTY, own: Settings = EMPTY
) -> Finding:
    """Whether `needed` seeds of a method reach a mean return of -200 within `steps`, and how many of others' do.

    Args:
        others: what others have besides, by their name: the method's, and words behind it where it is there twice.
        both: what both have other than `SIZES`.
        own: what the method has besides.
    """
    score = _scores(folder / method, method, steps, seeds, {**SIZES, **both, **own})
    solved = sum(value >= SOLVED for value in score["per_seed"])
    figures = score | {f"seeds at {SOLVED:g}": solved, "needed": needed, "steps": steps}
    for name, more in others.items():
        found = _scores(folder / name.replace(" ", "-"), name.split()[0], steps, seeds, {**SIZES, **both, **more})["per_seed"]
        figures |= {f"{name} per seed": found, f"{name} seeds at {SOLVED:g}": sum(value >= SOLVED for value in found)}
    return Finding(solved >= needed, figures, seeds=seeds)


def _scores(folder: Path, method: str, steps: int, seeds: int, settings: Settings) -> dict[str, Any]:
    run = train(method, "gym:Pendulum-v1", seeds=seeds, steps=steps, every=steps, episodes=10, progress=False, out=folder, **settings)
    return run.result["score"]
