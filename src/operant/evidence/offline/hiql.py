"""HIQL: reaches goals that nobody pursued in the data, where imitation does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from operant.evidence import Finding, check
from operant.loops.runs import train
from operant.worlds.data.collect import make_dataset

DATA = "pointmaze-medium-mixed-v0"
COMMON = {"seeds": 5, "episodes": 15, "learning_rate": 1e-3, "batch_size": 128, "hidden": (64, 64), "progress": False}


@check(
    "hiql",
    "point-maze",
    "real",
    "pointmaze-medium-mixed (300,000 generated steps, half wandering, half demonstrations; seed 0), five tasks drawn at random, two layers of 64, "
    "8,000 updates: the success over 5 seeds is at least 0.5 and lies above that of cloning towards what an episode reached in the end, with 95 % "
    "intervals that do not overlap",
)
def point_maze(folder: Path) -> Finding:
    path, task = make_dataset(DATA, steps=300_000, seed=0), f"ogbench:{DATA}"
    hiql = train("hiql", task, steps=8_000, every=8_000, out=folder / "hiql", tau=0.02, **COMMON).result
    bc = train("bc", task, steps=3_000, every=3_000, out=folder / "bc", **COMMON).result
    holds = float(np.mean(hiql["score"]["per_seed"])) >= 0.5 and hiql["score"]["low"] > bc["score"]["high"]
    return Finding(holds, {"hiql": hiql["score"], "bc": bc["score"], "threshold": 0.5, "data": path.name}, seeds=5)
