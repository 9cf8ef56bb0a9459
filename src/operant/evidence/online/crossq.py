"""CrossQ: solves Pendulum without target networks, with SAC's budget and settings beside it."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.evidence.online.pendulum import beside


@check(
    "crossq",
    "pendulum",
    "small",
    "Pendulum-v1: mean return of 10 evaluation episodes >= -200 in at least 4 of 5 seeds by 10,000 steps, with an actor of two layers of 64, critics of two of "
    "256, batches of 128 and a learning rate of 1e-3; SAC with two layers of 64 everywhere and the same otherwise is reported beside it",
)
def pendulum(folder: Path) -> Finding:
    return beside(folder, "crossq", {"sac-v2": {}}, steps=10_000, needed=4, own={"critic_hidden": (256, 256)})
