"""REDQ: many updates of an ensemble solve Pendulum in few steps, with SAC's budget and settings beside it."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.evidence.online.pendulum import FEW_STEPS, beside

STEPS = 3_000


@check(
    "redq",
    "pendulum",
    "small",
    "Pendulum-v1: mean return of 10 evaluation episodes >= -200 in at least 4 of 5 seeds by 3,000 steps (500 random ones), with ten critics, ten updates "
    "of them a step, two layers of 64, batches of 128 and a learning rate of 1e-3; SAC with the same and one update a step is reported beside it",
)
def pendulum(folder: Path) -> Finding:
    return beside(folder, "redq", "sac-v2", steps=STEPS, needed=4, both=FEW_STEPS, own={"critic_updates": 10})
