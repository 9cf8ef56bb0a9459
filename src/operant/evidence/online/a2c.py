"""A2C: solves CartPole at its defaults within the budget that RL Baselines3 Zoo gives it there."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.evidence.online.solving import solving


@check(
    "a2c",
    "cartpole",
    "small",
    "CartPole-v1: IQM of the return >= 475 over 5 seeds within 500,000 steps, at the defaults; PPO at its defaults and the same budget stands beside it",
)
def cartpole(folder: Path) -> Finding:
    return solving("a2c", "gym:CartPole-v1", 475.0, steps=500_000, folder=folder)
