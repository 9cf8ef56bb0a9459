"""PMOE: its router finds how often each expert is the best, and a mixture keeps both of two equal ways where one Gaussian keeps one."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.evidence.online.beds import TwoGoals, TwoPeaks
from operant.loops.value_learning import ValueLearner
from operant.nets.actors import Stochastic
from operant.nets.distributions import SquashedMixture
from operant.worlds import make_world
from operant.worlds.base import World
from operant.worlds.gym.episodes import run_episodes
from operant.worlds.gym.world import GymWorld

SEEDS = 5
SETTINGS = {"hidden": (32, 32), "batch_size": 64, "learning_rate": 1e-3, "learning_starts": 500, "initial_alpha": 0.1}
STEPS = {"peaks": 3_000, "goals": 8_000, "pendulum": 10_000}
MAKE = {"peaks": partial(GymWorld, TwoPeaks), "goals": partial(GymWorld, TwoGoals), "pendulum": partial(make_world, "gym:Pendulum-v1")}


@check(
    "pmoe",
    "router",
    "small",
    "a bandit with two equal peaks, 3,000 steps of 5 seeds, four experts: the router's weight of each expert is within 0.05 of how often that expert's draw is "
    "the best of the four, by the critics, over 20,000 draws",
)
def router(folder: Path) -> Finding:
    learner = trained("pmoe", "peaks")
    weight, frequency = weights_and_frequencies(learner, 20_000)
    error = np.abs(weight - frequency).max(1)
    return Finding(error.max() <= 0.05, {"largest error": error.tolist(), "tolerance": 0.05, "weights": weight.tolist()}, seeds=SEEDS)


@check(
    "pmoe",
    "both-ways",
    "small",
    "a point between two equal goals, 8,000 steps of 5 seeds, sampled actions, 200 episodes a seed: with four experts each goal is reached in at least 20 % of "
    "episodes in at least 4 seeds, and with SAC at the same settings in at most 1",
)
def both_ways(folder: Path) -> Finding:
    shares = {method: visits(trained(method, "goals"), 200) for method in ("pmoe", "sac-v2")}
    both = {method: int((share.min(1) >= 0.2).sum()) for method, share in shares.items()}
    figures: dict[str, Any] = {f"shares {method} (left, right)": share.tolist() for method, share in shares.items()}
    figures |= {f"seeds with both {method}": count for method, count in both.items()}
    return Finding(both["pmoe"] >= 4 and both["sac-v2"] <= 1, figures, seeds=SEEDS)


@check(
    "pmoe",
    "beside-sac",
    "small",
    "the mean return over 5 seeds of 10 evaluation episodes (of the likeliest expert's mean) is at least SAC's with the same settings and steps on two of "
    "three tasks: the bandit, the two goals, Pendulum-v1 (10,000 steps)",
)
def beside_sac(folder: Path) -> Finding:
    figures, above = {}, 0
    for task in STEPS:
        scores = {method: evaluated(trained(method, task)) for method in ("pmoe", "sac-v2")}
        above += int(scores["pmoe"].mean() >= scores["sac-v2"].mean())
        figures |= {f"{task} {method}": score.tolist() for method, score in scores.items()}
    return Finding(above >= 2, figures | {"tasks at least SAC's": above, "needed": 2}, seeds=SEEDS)


@check("pmoe", "density", "exact", "the mixture's log-probability is that of summed densities, in float64 to 1e-6, over 1,000 actions of 8 random mixtures")
def density(folder: Path) -> Finding:
    generator, world = torch.Generator().manual_seed(0), MAKE["goals"]()
    found = SquashedMixture(world.action, experts=4)
    parameters = torch.randn(8, 1, found.size, generator=generator, dtype=torch.float64)
    action = torch.rand(8, 1_000, 2, generator=generator, dtype=torch.float64) * 1.9 - 0.95
    logits, mean, log_std = parameters.split([4, 8, 8], -1)
    total = torch.zeros(8, 1_000, dtype=torch.float64)
    for expert in range(4):
        own = slice(2 * expert, 2 * expert + 2)
        away = (torch.atanh(action) - mean[..., own]) / log_std[..., own].exp()
        each = torch.exp(-0.5 * away**2) / (log_std[..., own].exp() * (2 * torch.pi) ** 0.5) / (1 - action**2)
        total += logits.softmax(-1)[..., expert] * each.prod(-1)
    error = (found.log_prob(parameters.expand(-1, 1_000, -1), action) - total.log()).abs().max().item()
    return Finding(error <= 1e-6, {"largest error": error, "tolerance": 1e-6})


@cache
def trained(method: str, task: str) -> ValueLearner:
    """A learner at the end of its training; runs are deterministic, and each is made once a sitting."""
    learner = get_method(method).build(configure(method, SETTINGS)).learner(MAKE[task](), list(range(SEEDS)), STEPS[task], torch.device("cpu"))
    while learner.step < STEPS[task]:
        learner.iterate()
    return learner


def evaluated(learner: ValueLearner) -> np.ndarray:
    """Each seed's mean return, `[S]`."""
    seeds = len(learner.seeds)
    return learner.world.evaluate(learner.policy, seeds, episodes=10, seed=0).values.reshape(seeds, -1).mean(1)


def weights_and_frequencies(learner: ValueLearner, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """(the router's weights, how often each expert's draw is the best) at the one state of the bandit, `[S, K]` each."""
    policy, mixture = learner.policy, learner.policy.distribution
    streams = Streams(learner.seeds)
    with torch.no_grad():
        seen = torch.zeros(len(learner.seeds), draws, 1)
        parameters = policy(seen)
        action, _, _ = mixture.every(parameters, mixture.noise(streams, "draws", draws))
        values = torch.stack([learner.nets["q"](seen, action[:, :, expert]).amin(1) for expert in range(mixture.experts)], -1)
        best = torch.nn.functional.one_hot(values.argmax(-1), mixture.experts).double().mean(1)
        return mixture.parts(parameters[:, 0])[0].exp().double().numpy(), best.numpy()


def visits(learner: ValueLearner, episodes: int) -> np.ndarray:
    """The share of episodes with sampled actions that end within 0.5 of each goal, `[S, 2]`."""
    policy, seeds = Stochastic(learner.policy, Streams(learner.seeds)), len(learner.seeds)
    world: World = learner.world
    last = run_episodes(world.make, policy.act, seeds, episodes, 0, TwoGoals.steps + 1).last.reshape(seeds, episodes, 2)
    away = np.linalg.norm(last[:, :, None] - TwoGoals.goals, axis=-1)
    return (away < 0.5).mean(1)
