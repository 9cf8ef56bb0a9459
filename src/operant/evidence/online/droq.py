"""DroQ: many updates of two critics that leave out numbers solve Pendulum in few steps, with SAC of the same settings beside it."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.evidence.online.pendulum import FEW_STEPS, beside

STEPS = 3_000


@check(
    "droq",
    "pendulum",
    "small",
    "Pendulum-v1: mean return of 10 evaluation episodes >= -200 in at least 4 of 5 seeds by 3,000 steps (500 random ones), with ten updates of the critics a "
    "step, two layers of 64, batches of 128 and a learning rate of 1e-3; SAC with the same is beside it, with one update a step and with ten",
)
def pendulum(folder: Path) -> Finding:
    others = {"sac-v2": {}, "sac-v2 with ten updates": {"updates_per_step": 10}}
    return beside(folder, "droq", others, steps=STEPS, needed=4, both=FEW_STEPS, own={"critic_updates": 10})
