"""Value learning in bfloat16 beside float32: whether scores suffer. Written before it was run; ten seeds of each on three tasks, at sizes where products are
computed in bfloat16 (two layers of 256, batches of 256)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from operant.evidence import Finding, check
from operant.evidence.online.parity import rank_test
from operant.loops.runs import train
from operant.worlds.data.collect import make_dataset

SEEDS, LEVEL = 10, 0.05
NEUTRAL = f"the mean returns of {SEEDS} seeds in bfloat16 are not below those in float32 (Mann-Whitney, two-sided, level {LEVEL}), after"


@check("bfloat16", "sac", "small", f"sac-v2 on Pendulum-v1: {NEUTRAL} 6,000 steps")
def sac(folder: Path) -> Finding:
    return both(folder, "sac-v2", "gym:Pendulum-v1", steps=6_000)


@check("bfloat16", "td3", "real", f"td3 on HalfCheetah-v5: {NEUTRAL} 8,000 steps")
def td3(folder: Path) -> Finding:
    return both(folder, "td3", "gym:HalfCheetah-v5", steps=8_000)


@check("bfloat16", "iql", "real", f"iql on pointmaze-medium-mixed (300,000 generated steps), task 2: {NEUTRAL} 8,000 updates with a learning rate of 1e-3")
def iql(folder: Path) -> Finding:
    make_dataset("pointmaze-medium-mixed-v0", steps=300_000, seed=0)
    task = "ogbench:pointmaze-medium-mixed-singletask-task2-v0"
    return both(folder, "iql", task, steps=8_000, episodes=20, learning_rate=1e-3, expectile=0.8, beta=3.0, tau=0.05)


def both(folder: Path, method: str, task: str, *, steps: int, **given: Any) -> Finding:
    """The scores in both number formats, and how probable so large a difference is where there is none."""
    found = {
        dtype: train(method, task, seeds=SEEDS, steps=steps, every=steps, dtype=dtype, out=folder / dtype / method, progress=False, **given).result["score"]
        for dtype in ("float32", "bfloat16")
    }
    p = rank_test(found["bfloat16"]["per_seed"], found["float32"]["per_seed"])
    return Finding(p >= LEVEL or found["bfloat16"]["iqm"] > found["float32"]["iqm"], found | {"p": p, "level": LEVEL}, SEEDS)
