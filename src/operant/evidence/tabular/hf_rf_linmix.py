"""HF-UCRL-RFE++: what is explored serves every reward, at long horizons as at short ones, and whether weighting by variance adds to that."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from operant import ops
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.loops.planning import Planner
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.world import TabularWorld

SEEDS, EPISODES, REWARDS = 5, 200, 10
HORIZONS, SCALES = (10, 40, 160), (0.01, 0.03, 0.1)
BED = "5 mixtures of 5 kernels (15 states, 4 actions), 10 rewards each, which one state pays at the end, 200 episodes of exploration, scale 0.1"


@check(
    "hf-rf-linmix",
    "moments",
    "exact",
    "of 20 linear mixtures and 10 values each the mean and the second moment of what comes next are <phi_V, theta> and <phi_V², theta>, to 1e-12",
)
def moments(folder: Path) -> Finding:
    seeds, draw = list(range(20)), np.random.default_rng(0)
    mdp = TabularWorld("linear-mixture").mdp(Streams(seeds))
    theta, worst = right(mdp), 0.0
    for _ in range(10):
        value = torch.from_numpy(draw.random((20, mdp.states)))
        mean, variance = ops.next_value_moments(mdp.transition[:, 0], value)
        found = [(ops.mixture_features(mdp.kernels, power) @ theta.view(20, 1, -1, 1)).squeeze(-1) for power in (value, value.square())]
        worst = max(worst, (found[0] - mean).abs().max().item(), (found[1] - mean.square() - variance).abs().max().item())
    return Finding(worst <= 1e-12, {"largest error": worst, "at_most": 1e-12})


@check("hf-rf-linmix", "reward-free", "small", f"mean suboptimality of the policies for rewards that were told later at most 0.05 at 40 steps ({BED})")
def reward_free(folder: Path) -> Finding:
    mean = suboptimality(40, True)
    return Finding(mean <= 0.05, {"suboptimality": mean, "at_most": 0.05}, seeds=SEEDS)


@check(
    "hf-rf-linmix",
    "horizon-free",
    "small",
    f"across 10, 40 and 160 steps the mean suboptimality changes by less than a factor of 2 ({BED}; the row: 2,000 episodes, 50 rewards)",
)
def horizon_free(folder: Path) -> Finding:
    found = {f"{horizon} steps": suboptimality(horizon, True) for horizon in HORIZONS}
    return Finding(max(found.values()) < 2 * min(found.values()), found | {"factor below": 2}, seeds=SEEDS)


@check(
    "hf-rf-linmix",
    "unweighted",
    "small",
    "and without weights it changes by a factor of more than 2, where with weights it does not, each side with the scale of 0.01, 0.03 and 0.1 that is best "
    f"for it at 40 steps on the mixtures of seeds 100 to {99 + SEEDS} (mixtures of seeds 40 to {39 + SEEDS}, 10, 40 and 160 steps)",
)
def unweighted(folder: Path) -> Finding:
    figures, factors = {}, []
    for name, weighted in (("weighted", True), ("unweighted", False)):
        scale = min(SCALES, key=lambda scale: suboptimality(40, weighted, scale, 100))  # noqa: B023
        found = [suboptimality(horizon, weighted, scale, 40) for horizon in HORIZONS]
        factors.append(max(found) / min(found))
        figures[name] = {"scale": scale, "suboptimality": found, "factor": factors[-1]}
    return Finding(factors[0] < 2 < factors[1], figures | {"factor between": 2}, seeds=SEEDS)


@check(
    "hf-rf-linmix",
    "variance",
    "small",
    "the ladder's variance of 10 random values in [0, 1] next, in the mean over pairs, is within 5 % of the exact one after 20,000 samples (500 episodes of 40 "
    "steps; the row: 100,000), in the mean of 5 mixtures",
)
def variance(folder: Path) -> Finding:
    found, draw, errors = explored(40, True, 500), np.random.default_rng(0), []
    mdp = found.problem._mdp
    for _ in range(10):
        value = torch.from_numpy(draw.random((SEEDS, mdp.states)))
        exact = ops.next_value_moments(mdp.transition[:, 0], value)[1].mean((-2, -1))
        mean, square = (
            (ops.mixture_features(mdp.kernels, value**power) @ found.state["theta"][:, power - 1].view(SEEDS, 1, -1, 1)).squeeze(-1) for power in (1, 2)
        )
        errors.append((((square - mean.square()).mean((-2, -1)) - exact) / exact).abs())
    error = float(torch.stack(errors).mean())
    return Finding(error <= 0.05, {"relative error": error, "at_most": 0.05}, seeds=SEEDS)


def right(mdp: FiniteMDP) -> torch.Tensor:
    """theta, `[S, d]`, of which the transitions are made."""
    return torch.linalg.lstsq(mdp.kernels.flatten(2).mT, mdp.transition[:, 0].flatten(1).unsqueeze(-1)).solution.squeeze(-1)


def explored(horizon: int, weighted: bool, episodes: int, scale: float = 0.1, first: int = 0) -> Planner:
    """A learner that has explored so many episodes, of the seeds from one on."""
    spine = get_method("hf-rf-linmix").build(configure("hf-rf-linmix", {"weighted": weighted, "scale": scale}))
    found = spine.learner(TabularWorld("linear-mixture", horizon=horizon), list(range(first, first + SEEDS)), episodes, torch.device("cpu"))
    while found.step < episodes:
        found.iterate()
    return found


@cache
def suboptimality(horizon: int, weighted: bool, scale: float = 0.1, first: int = 0) -> float:
    """Mean over rewards and mixtures, of policies that are planned with what was explored."""
    found, draw, means = explored(horizon, weighted, EPISODES, scale, first), np.random.default_rng(0), []
    for _ in range(REWARDS):
        reward = torch.zeros(SEEDS, *found.problem.shape, dtype=torch.float64)
        reward[torch.arange(SEEDS), -1, torch.from_numpy(draw.integers(found.problem.shape[1], size=SEEDS))] = 1
        world = TabularWorld(replace(found.problem._mdp, reward=reward))
        told = found.method.learner(world, found.seeds, 1, torch.device("cpu"))
        told.state = found.state
        told.iterate()  # one more episode, and the policy for this reward
        means.append(world.evaluate(told.policy, SEEDS).measures["suboptimality"].mean())
    return float(np.mean(means))
