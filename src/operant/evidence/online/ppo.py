"""PPO: solves CartPole, learns HalfCheetah as well as the reference implementation does at the same settings, and learns from pixels and under action masks."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.evidence.online.beds import Catch, Picks
from operant.evidence.online.peer import sb3_scores
from operant.loops.runs import train

CARTPOLE = 475.0
# The settings that RL Baselines3 Zoo publishes for CartPole-v1, but a constant clip; with its falling one they are measured by the claim "presets".
ZOO = {"rollout_length": 32, "minibatches": 1, "epochs": 20, "gamma": 0.98, "lam": 0.8, "learning_rate": 1e-3, "anneal": True}


@check(
    "ppo",
    "cartpole",
    "small",
    "CartPole-v1: IQM of the return >= 475 over 8 seeds within 100,000 steps, with the settings of RL Baselines3 Zoo but a constant clip",
)
def cartpole(folder: Path) -> Finding:
    found = train("ppo", "gym:CartPole-v1", seeds=8, steps=100_000, out=folder / "cartpole", episodes=20, progress=False, **ZOO).result
    return Finding(found["score"]["iqm"] >= CARTPOLE, found["score"] | {"steps": found["steps"], "threshold": CARTPOLE}, seeds=8)


@check(
    "ppo",
    "halfcheetah",
    "real",
    "HalfCheetah-v5: after 300,000 steps with Stable-Baselines3's default settings, "
    "the 95 % interval over 8 seeds overlaps or lies above Stable-Baselines3's over 5 seeds",
)
def halfcheetah(folder: Path) -> Finding:
    settings = {"environments": 1, "rollout_length": 2048, "minibatches": 32, "epochs": 10}
    found = train("ppo", "gym:HalfCheetah-v5", seeds=8, steps=300_000, every=300_000, progress=False, out=folder / "cheetah", **settings).result
    peer = sb3_scores("PPO", "HalfCheetah-v5", steps=300_000, seeds=5)
    return Finding(found["score"]["high"] >= peer["low"], {"ppo": found["score"] | {"steps": found["steps"]}, "peer": peer}, seeds=8)


CAUGHT, PICKED = 0.9, Picks.random + 0.85 * (Picks.best - Picks.random)


@check(
    "ppo",
    "pixels",
    "small",
    "Catch on pictures of 10 × 10 × 2 bytes: IQM of the return (-1 to 1) >= 0.9 over 5 seeds within 131,072 steps, with 32 environments, rollouts of 32 steps, "
    "learning rate 1e-3 and an entropy bonus of 0.05",
)
def pixels(folder: Path) -> Finding:
    settings = {"environments": 32, "rollout_length": 32, "learning_rate": 1e-3, "entropy_coefficient": 0.05}
    found = train("ppo", Catch, seeds=5, steps=131_072, every=131_072, episodes=500, progress=False, out=folder / "catch", **settings).result
    return Finding(found["score"]["iqm"] >= CAUGHT, found["score"] | {"steps": found["steps"], "threshold": CAUGHT}, seeds=5)


@check(
    "ppo",
    "action-mask",
    "small",
    "Picks, a Dict space with an action mask whose violation raises: IQM of the return over 5 seeds within 16,384 steps at least 0.85 of the way from random "
    "actions (1.5) to the best (15 / 7), with rollouts of 64 steps and learning rate 1e-3",
)
def action_mask(folder: Path) -> Finding:
    settings = {"rollout_length": 64, "learning_rate": 1e-3}
    found = train("ppo", Picks, seeds=5, steps=16_384, every=16_384, episodes=500, progress=False, out=folder / "picks", **settings).result
    return Finding(found["score"]["iqm"] >= PICKED, found["score"] | {"steps": found["steps"], "threshold": PICKED}, seeds=5)
