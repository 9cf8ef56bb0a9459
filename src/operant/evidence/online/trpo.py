"""TRPO: solves CartPole with the settings of RL Baselines3 Zoo."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.evidence.online.solving import solving

# What RL Baselines3 Zoo publishes for CartPole-v1: rollouts of 2 x 512 steps, 20 passes of minibatches of 512 that fit the value function.
ZOO = {"environments": 2, "rollout_length": 512, "damping": 1e-3, "lam": 0.98, "value_epochs": 20, "value_minibatches": 2}


@check(
    "trpo",
    "cartpole",
    "small",
    "CartPole-v1: IQM of the return >= 475 over 5 seeds within 100,000 steps, with the settings of RL Baselines3 Zoo; PPO at its defaults and the same budget "
    "stands beside it",
)
def cartpole(folder: Path) -> Finding:
    return solving("trpo", "gym:CartPole-v1", 475.0, steps=100_000, folder=folder, **ZOO)
