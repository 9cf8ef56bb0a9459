"""PPO: solves CartPole, and learns HalfCheetah as well as the reference implementation does at the same settings."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, claim, verdict
from operant.evidence.online.peer import sb3_scores
from operant.loops.runs import train

CARTPOLE = 475.0
# The settings that RL Baselines3 Zoo publishes for CartPole-v1 (its linear clip schedule aside).
ZOO = {"rollout_length": 32, "minibatches": 1, "epochs": 20, "gamma": 0.98, "lam": 0.8, "learning_rate": 1e-3, "anneal": True}


@claim(
    "ppo",
    "CartPole-v1: IQM of the return >= 475 over 8 seeds within 100,000 steps, with the settings of RL Baselines3 Zoo; "
    "HalfCheetah-v5: after 300,000 steps with Stable-Baselines3's default settings, "
    "the 95 % interval over 8 seeds overlaps or lies above Stable-Baselines3's over 5 seeds",
)
def check(folder: Path) -> Finding:
    cartpole = train("ppo", "gym:CartPole-v1", seeds=8, steps=100_000, out=folder / "cartpole", episodes=20, progress=False, **ZOO).result
    cheetah = train(
        "ppo",
        "gym:HalfCheetah-v5",
        seeds=8,
        steps=300_000,
        progress=False,
        out=folder / "cheetah",
        environments=1,
        rollout_length=2048,
        minibatches=32,
        epochs=10,
        every=300_000,
    ).result
    peer = sb3_scores("PPO", "HalfCheetah-v5", steps=300_000, seeds=5)
    passed = [cartpole["score"]["iqm"] >= CARTPOLE, cheetah["score"]["high"] >= peer["low"]]
    figures = {
        "CartPole-v1": cartpole["score"] | {"steps": cartpole["steps"], "threshold": CARTPOLE},
        "HalfCheetah-v5": cheetah["score"] | {"steps": cheetah["steps"]},
        "peer": peer,
    }
    return Finding(verdict(passed), figures, seeds=8)
