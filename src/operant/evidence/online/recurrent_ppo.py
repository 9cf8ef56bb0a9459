"""Recurrent PPO: solves CartPole without its velocities, which PPO without memory does not; and what it replays is what it did.

The test bed is the one that Stable-Baselines3 contrib tunes its RecurrentPPO for (CartPole-v1 with positions alone), and so are the settings (of RL Baselines3
Zoo, its linear clip schedule aside, with 10 epochs in the place of 20). PPO has the same settings and two towers of 64 and 64.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from operant.core.random import Streams
from operant.evidence import Finding, check
from operant.evidence.online.beds import StillCartPole
from operant.loops.runs import train
from operant.nets.actors import ActorCriticNet
from operant.nets.memory import LSTM
from operant.worlds.gym.collect import Steps
from operant.worlds.gym.world import GymWorld

STEPS, SEEDS = 100_000, 5
SOLVED, LOST = 400.0, 200.0
TOLERANCE = 1e-5
SETTINGS = {"rollout_length": 32, "minibatches": 1, "epochs": 10, "gamma": 0.98, "lam": 0.8, "learning_rate": 1e-3, "anneal": True}


def _scores(method: str, folder: Path) -> dict[str, Any]:
    run = train(method, StillCartPole, seeds=SEEDS, steps=STEPS, every=STEPS, episodes=20, out=folder / method, progress=False, **SETTINGS)
    return run.result["score"] | {"steps": run.result["steps"]}


@check(
    "recurrent-ppo",
    "hidden-velocities",
    "small",
    "CartPole-v1 without its velocities: IQM of the return >= 400 over 5 seeds within 100,000 steps",
)
def hidden_velocities(folder: Path) -> Finding:
    found = _scores("recurrent-ppo", folder)
    return Finding(found["iqm"] >= SOLVED, found | {"threshold": SOLVED}, seeds=SEEDS)


@check(
    "recurrent-ppo",
    "memory-is-needed",
    "small",
    "there PPO without memory, with the same steps and settings, stays at an IQM of at most 200 over 5 seeds",
)
def memory_is_needed(folder: Path) -> Finding:
    found = _scores("ppo", folder)
    return Finding(found["iqm"] <= LOST, found | {"threshold": LOST}, seeds=SEEDS)


@check(
    "recurrent-ppo",
    "replay",
    "exact",
    "through ends of episodes and of rollouts, the log-probabilities of replay are those of acting (largest difference 1e-5 over 3 rollouts of 8 x 64 steps)",
)
def replay(folder: Path) -> Finding:
    worst = replay_error()
    return Finding(worst <= TOLERANCE, {"largest difference": worst, "tolerance": TOLERANCE})


def replay_error() -> float:
    world, streams = GymWorld(StillCartPole), Streams([0, 1])
    policy = world.policy(ActorCriticNet(hidden=(64,), memory=LSTM(64), shared=False), streams)
    source, worst = world.source(Steps(8, 64), streams), 0.0
    for version in range(3):
        rollout = source.sample(policy, version)
        with torch.no_grad():
            found = policy.replay(rollout.inputs, rollout.action, frozenset())["log_prob"]
        worst = max(worst, float((found - rollout.log_prob).abs().max()))
    return worst
