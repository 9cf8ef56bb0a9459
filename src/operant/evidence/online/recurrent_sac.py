"""Recurrent SAC: swings a pendulum up whose velocity it does not see, which SAC without memory does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from operant.evidence import Finding, check
from operant.evidence.online.beds import StillPendulum
from operant.loops.runs import train

STEPS, SEEDS = 30_000, 5
SOLVED, LOST = -300.0, -600.0
BOTH = {"hidden": (64, 64), "learning_rate": 1e-3, "learning_starts": 500, "updates_per_step": 0.5}


def _scores(method: str, folder: Path, **own: Any) -> dict[str, Any]:
    run = train(method, StillPendulum, seeds=SEEDS, steps=STEPS, every=STEPS, episodes=20, out=folder / method, progress=False, **BOTH, **own)
    return run.result["score"] | {"steps": run.result["steps"]}


@check(
    "recurrent-sac",
    "hidden-velocity",
    "small",
    "Pendulum-v1 without its velocity: IQM of the return >= -300 over 5 seeds within 30,000 steps, with an update of 32 windows of 8 + 8 steps every 2 steps",
)
def hidden_velocity(folder: Path) -> Finding:
    found = _scores("recurrent-sac", folder, memory=64, batch_size=32, window=8, burn_in=8)
    return Finding(found["iqm"] >= SOLVED, found | {"threshold": SOLVED}, seeds=SEEDS)


@check(
    "recurrent-sac",
    "memory-is-needed",
    "small",
    "there SAC without memory, with the same steps, layers, rates and updates, of 512 transitions each, stays at an IQM of at most -600 over 5 seeds",
)
def memory_is_needed(folder: Path) -> Finding:
    found = _scores("sac-v2", folder, batch_size=512)
    return Finding(found["iqm"] <= LOST, found | {"threshold": LOST}, seeds=SEEDS)
