"""TD3: solves Pendulum, and by hindsight reaches goals that it hardly meets."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.evidence.online.goals import beside_none
from operant.evidence.online.pendulum import solves


@check(
    "td3",
    "pendulum",
    "small",
    "Pendulum-v1: mean return of 10 evaluation episodes >= -200 in at least 4 of 5 seeds by 10,000 steps, with two layers of 64, batches of 128 and a "
    "learning rate of 1e-3",
)
def pendulum(folder: Path) -> Finding:
    return solves(folder, "td3", steps=10_000, needed=4)


@check(
    "td3",
    "hindsight",
    "small",
    "gym:point-reach, 5,000 steps of 5 seeds, with two layers of 64, batches of 128, a learning rate of 1e-3, gamma 0.95 and 500 random steps: at least 0.9 of "
    "100 episodes reach their goal with 4 goals in hindsight for each that was set, at most 0.2 without",
)
def hindsight(folder: Path) -> Finding:
    given = {"hidden": (64, 64), "batch_size": 128, "learning_rate": 1e-3, "gamma": 0.95, "learning_starts": 500}
    return beside_none("td3", "point-reach", folder, steps=5_000, reaches=0.9, misses=0.2, **given)
