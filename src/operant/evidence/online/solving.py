"""How far a method gets on a task within a budget, and PPO at its defaults with the same one beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from operant.evidence import Finding
from operant.loops.runs import train


def solving(key: str, task: str, threshold: float, *, steps: int, folder: Path, seeds: int = 5, **hyperparameters: Any) -> Finding:
    """Whether the interquartile mean of the final return of 20 episodes of each seed reaches the threshold; PPO's stands beside it and decides nothing."""
    found = {}
    for name, values in {key: hyperparameters, "ppo": {}}.items():
        out = folder / f"{name}-{task.partition(':')[2]}"
        result = train(name, task, seeds=seeds, steps=steps, every=steps, episodes=20, progress=False, out=out, **values).result
        found[name] = result["score"] | {"steps": result["steps"]}
    return Finding(found[key]["iqm"] >= threshold, found[key] | {"threshold": threshold, "ppo": found["ppo"]}, seeds=seeds)
