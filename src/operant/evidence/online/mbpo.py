"""MBPO: learns from fewer steps than SAC, whose own updates are as many."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from operant.evidence import Finding, check
from operant.evidence.online.curve import curve, steps_until

SIZES = {"hidden": (64, 64), "batch_size": 128, "learning_rate": 1e-3, "learning_starts": 400}
MODELS = {"model_hidden": (64, 64), "model_batch": 128, "model_every": 2, "models": 5, "rollout_every": 200, "rollouts": 400, "imagined": 10_000}
EVERY = 200


@check(
    "mbpo",
    "pendulum",
    "small",
    "Pendulum-v1, the same networks (two layers of 64), 3 seeds, 5 evaluation episodes after each 200 steps: the median of the steps until a return of -250 is "
    "at most half of SAC's with one update a step (up to 5,000); SAC with ten updates a step, as MBPO has, is reported beside it (up to 1,600)",
)
def pendulum(folder: Path) -> Finding:
    mbpo = curve("mbpo", "gym:Pendulum-v1", seeds=3, steps=1_600, every=EVERY, updates_per_step=10.0, **SIZES, **MODELS)
    sac = curve("sac-v2", "gym:Pendulum-v1", seeds=3, steps=5_000, every=EVERY, **SIZES)
    often = curve("sac-v2", "gym:Pendulum-v1", seeds=3, steps=1_600, every=EVERY, updates_per_step=10.0, **SIZES)
    steps = {name: steps_until(scores, -250.0, EVERY) for name, scores in (("mbpo", mbpo), ("sac", sac), ("sac ten updates", often))}
    bound = min(float(np.median(steps["sac"])), 5_000.0) / 2
    figures = {f"steps {name}": [value if np.isfinite(value) else None for value in each] for name, each in steps.items()}
    return Finding(float(np.median(steps["mbpo"])) <= bound, figures | {"median_at_most": bound}, seeds=3)
