"""PQN: solves CartPole with the settings and the budget of its authors' code, which the defaults are but for the learning rate and the scale of rewards."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.evidence.online.solving import solving


@check(
    "pqn",
    "cartpole",
    "small",
    "CartPole-v1: IQM of the return >= 475 over 5 seeds within 500,000 steps, with the settings of the authors' code (learning rate 1e-4, rewards divided by "
    "10, otherwise the defaults; Adam for RAdam); PPO at its defaults and the same budget stands beside it",
)
def cartpole(folder: Path) -> Finding:
    return solving("pqn", "gym:CartPole-v1", 475.0, steps=500_000, folder=folder, learning_rate=1e-4, reward_scale=0.1)
