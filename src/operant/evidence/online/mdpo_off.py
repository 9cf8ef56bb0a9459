"""MDPO, off policy: solves Pendulum, at the sizes that TD3 is claimed with. That it is SAC's actor without its KL is a check of `mdpo`."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.loops.runs import train


@check(
    "mdpo-off",
    "pendulum",
    "small",
    "Pendulum-v1: mean return of 10 evaluation episodes >= -200 in at least 4 of 5 seeds by 10,000 steps, with two layers of 64, batches of 128 and a "
    "learning rate of 1e-3",
)
def pendulum(folder: Path) -> Finding:
    settings = {"hidden": (64, 64), "batch_size": 128, "learning_rate": 1e-3}
    result = train("mdpo-off", "gym:Pendulum-v1", seeds=5, steps=10_000, every=10_000, episodes=10, progress=False, out=folder / "pendulum", **settings).result
    solved = sum(value >= -200 for value in result["score"]["per_seed"])
    return Finding(solved >= 4, result["score"] | {"seeds_at_-200": solved, "needed": 4, "steps": result["steps"]}, seeds=5)
