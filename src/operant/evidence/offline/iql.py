"""IQL: improves on the behaviour that it learns from, where imitation cannot."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, claim, verdict
from operant.loops.runner import train
from operant.worlds.data.collect import make_dataset

TASK = "ogbench:pointmaze-medium-navigate-singletask-v0"


@claim(
    "iql",
    "pointmaze-medium-navigate (500,000 generated steps to random goals, seed 0), single task 1: success of IQL over 5 seeds above BC's with 95 % intervals that do not overlap, "
    "both after 30,000 updates with the same actor, batch size and learning rate",
)
def check(folder: Path) -> Finding:
    path = make_dataset("pointmaze-medium-navigate-v0", steps=500_000, seed=0)
    iql = train("iql", TASK, seeds=5, steps=30_000, every=30_000, episodes=20, out=folder / "iql").result
    bc = train("bc", TASK, seeds=5, steps=30_000, every=30_000, episodes=20, out=folder / "bc").result
    figures = {"iql": iql["score"], "bc": bc["score"], "updates": iql["steps"], "data": path.name}
    return Finding(verdict([iql["score"]["low"] > bc["score"]["high"]]), figures, seeds=5)
