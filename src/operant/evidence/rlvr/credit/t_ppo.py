"""T-PPO: extended GAE is GAE where both are defined, and windows spare the steps in which finished answers wait."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from operant import ops
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.worlds.sequences import exact
from operant.worlds.sequences.problems import SequenceProblem
from operant.worlds.sequences.world import SequenceWorld

SEEDS = 5
ITERATIONS = 150  # of synchronous PPO; windows may take as many decode slots
SIZES = {"prompts": 8, "group_size": 8, "learning_rate": 0.03}
RUNS = "answers of 2 to 5 tokens (a table over token sums, in the place of a language model: its accuracy is exact), window 2"


@check(
    "t-ppo",
    "extended-gae",
    "exact",
    "extended GAE equals GAE within 1e-6 on finished answers and on cut ones behind which the value stays the same",
)
def extended_gae(folder: Path) -> Finding:
    error = identity_error()
    return Finding(error <= 1e-6, {"largest_error": error, "tolerance": 1e-6})


@check(
    "t-ppo",
    "fewer-slots",
    "small",
    f"{RUNS}: T-PPO reaches 90% accuracy in at most 0.7 times the decode slots (rows x longest completion of the iteration, idle ones too) of synchronous PPO, "
    "mean over 5 seeds",
)
def fewer_slots(folder: Path) -> Finding:
    windows, synchronous = ([slots_to(curve, 0.9) for curve in curves] for curves in trained())
    ratio = float(np.mean(windows) / np.mean(synchronous))
    return Finding(ratio <= 0.7, {"t-ppo": windows, "ppo": synchronous, "ratio": ratio, "threshold": 0.7}, SEEDS)


@check("t-ppo", "final-accuracy", "small", f"{RUNS}: final accuracy at equal slots within 2 points of synchronous PPO's, mean over 5 seeds")
def final_accuracy(folder: Path) -> Finding:
    windows, synchronous = (float(np.mean([curve[-1][1] for curve in curves])) for curves in trained())
    return Finding(windows >= synchronous - 0.02, {"t-ppo": windows, "ppo": synchronous, "threshold": -0.02}, SEEDS)


@cache
def trained() -> tuple[list[Curve], list[Curve]]:
    """The curves of T-PPO and of synchronous PPO, a seed each."""
    world = SequenceWorld(sums(), "sums")
    synchronous, budget = train(world, "ppo-text")
    windows, _ = train(world, "t-ppo", budget=budget, window=2)
    return windows, synchronous


def identity_error(rows: int = 200, steps: int = 30) -> float:
    """Largest distance of extended GAE from GAE where the two must agree, float64."""
    generator = torch.Generator().manual_seed(0)
    reward, value, behind = (torch.randn(rows, steps, generator=generator, dtype=torch.float64) for _ in range(3))
    last = torch.arange(steps) == torch.randint(steps, (rows, 1), generator=generator)
    following = torch.where(last, behind, torch.cat([value[:, 1:], behind[:, :1]], 1))
    never, worst = torch.zeros_like(last), 0.0
    for gamma, lam in ((1.0, 0.95), (1.0, 1.0), (0.9, 0.5)):
        finished = ops.extended_gae(reward, value, following, last, never, gamma=gamma, lam=lam)
        worst = max(worst, (finished - ops.gae(reward, value, following, last, never, gamma=gamma, lam=lam)).abs().max().item())
        cut = ops.extended_gae(reward, value, following, never, last, gamma=gamma, lam=lam)
        constant = torch.where(last, value, following)
        worst = max(worst, (cut - ops.gae(reward, value, constant, never, last, gamma=gamma, lam=lam)).abs().max().item())
    return worst


def sums() -> SequenceProblem:
    """Prompt p of four asks for p + 1 tokens of 1 or 2 with an even sum, and then the end."""

    def reward(prompt: int, tokens: tuple[int, ...]) -> float:
        return float(tokens[-1] == 0 and len(tokens) == prompt + 2 and sum(tokens) % 2 == 0)

    return SequenceProblem(3, 5, 4, reward, stops=True)


Curve = list[tuple[float, float]]
"""(decode slots so far, exact accuracy) after each iteration of a seed."""


def train(world: SequenceWorld, key: str, *, budget: float | None = None, **hyper: object) -> tuple[list[Curve], float]:
    """The curve of each seed, and the most slots that one of them took. Without a budget of slots, `ITERATIONS` iterations."""
    learner = get_method(key).build(configure(key, SIZES | hyper)).learner(world, list(range(SEEDS)), ITERATIONS, torch.device("cpu"))
    slots, curves = np.zeros(SEEDS), [[] for _ in range(SEEDS)]
    while slots.min() < budget if budget is not None else learner.step < ITERATIONS:
        learner.iterate()
        drawn = learner.rollout.extras.get("drawn", learner.rollout.mask)
        slots += (drawn.shape[1] * drawn.sum(-1).amax(-1)).numpy()
        accuracy = exact.expected_reward(learner.policy, world.problem).detach().mean(-1).tolist()
        for seed in range(SEEDS):
            curves[seed].append((float(slots[seed]), accuracy[seed]))
    return curves, float(slots.max())


def slots_to(curve: Curve, accuracy: float) -> float:
    """Slots until the accuracy is reached; all of them where it never is."""
    return next((slots for slots, reached in curve if reached >= accuracy), curve[-1][0])
