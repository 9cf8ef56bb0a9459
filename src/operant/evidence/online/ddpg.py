"""DDPG: solves Pendulum, with TD3's budget and settings beside it."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.evidence.online.pendulum import beside


@check(
    "ddpg",
    "pendulum",
    "small",
    "Pendulum-v1: mean return of 10 evaluation episodes >= -200 in at least 4 of 5 seeds by 10,000 steps, with two layers of 64, batches of 128 and a "
    "learning rate of 1e-3; TD3 with the same is reported beside it",
)
def pendulum(folder: Path) -> Finding:
    return beside(folder, "ddpg", {"td3": {}}, steps=10_000, needed=4)
