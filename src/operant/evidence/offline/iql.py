"""IQL: improves on the behaviour that it learns from, where imitation cannot."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.loops.runs import train
from operant.worlds.data.collect import make_dataset

DATA, TASK = "pointmaze-medium-mixed-v0", "ogbench:pointmaze-medium-mixed-singletask-task2-v0"
COMMON = {"seeds": 5, "steps": 30_000, "every": 30_000, "episodes": 20, "learning_rate": 1e-3, "progress": False}


@check(
    "iql",
    "over-imitation",
    "real",
    "pointmaze-medium-mixed (300,000 generated steps, half wandering, half demonstrations of five tasks; seed 0), task 2: the success of IQL over 5 seeds lies "
    "above BC's with 95 % intervals that do not overlap, after 30,000 updates of both with the same actor, batch size and learning rate",
)
def over_imitation(folder: Path) -> Finding:
    path = make_dataset(DATA, steps=300_000, seed=0)
    iql = train("iql", TASK, out=folder / "iql", expectile=0.8, beta=3.0, tau=0.05, **COMMON).result
    bc = train("bc", TASK, out=folder / "bc", **COMMON).result
    figures = {"iql": iql["score"], "bc": bc["score"], "updates": iql["steps"], "data": path.name}
    return Finding(iql["score"]["low"] > bc["score"]["high"], figures, seeds=5)
