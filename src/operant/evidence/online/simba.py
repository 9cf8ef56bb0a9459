"""SimBa: solves Pendulum with small residual networks on normalised observations, with SAC's budget and settings beside it."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.evidence.online.pendulum import beside

OWN = {"hidden": (64,), "critic_hidden": (64, 64), "updates_per_step": 1.0, "learning_starts": 1_000}


@check(
    "simba",
    "pendulum",
    "small",
    "Pendulum-v1: mean return of 10 evaluation episodes >= -200 in at least 4 of 5 seeds by 10,000 steps (1,000 random ones), with one residual block of 64 in "
    "the actor and two in the critics, one update a step, batches of 128 and a learning rate of 1e-3; SAC with two layers of 64 and the same otherwise is "
    "reported beside it",
)
def pendulum(folder: Path) -> Finding:
    return beside(folder, "simba", {"sac-v2": {}}, steps=10_000, needed=4, own=OWN)
