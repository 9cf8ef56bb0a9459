"""Goals in hindsight on the library's own beds with goals, whose rewards are hardly ever met: the same method, settings and budget with them and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from operant.evidence import Finding
from operant.loops.runs import train

SEEDS, EPISODES = 5, 100


def beside_none(method: str, bed: str, folder: Path, *, steps: int, reaches: float, misses: float, **settings: Any) -> Finding:
    """Whether the share of episodes that reach their goal, in the mean of the seeds, is at least `reaches` with four goals in hindsight for each one that was
    set, and at most `misses` without."""
    shares, figures = {}, {}
    for name, ratio in (("with", 4), ("without", 0)):
        out = folder / f"{bed}-{name}"
        run = train(method, f"gym:{bed}", seeds=SEEDS, steps=steps, every=steps, episodes=20, progress=False, out=out, hindsight=ratio, **settings)
        reached = [float(run.world.evaluate(run.load_policy(seed), 1, episodes=EPISODES, seed=1).measures["success"][0]) for seed in range(SEEDS)]
        shares[name] = float(np.mean(reached))
        figures |= {f"reached {name}": shares[name], f"reached {name}, per seed": reached}
    holds = shares["with"] >= reaches and shares["without"] <= misses
    return Finding(holds, figures | {"steps": steps, "at least": reaches, "at most": misses}, seeds=SEEDS)
