"""Log-barrier policy optimisation: the reduced estimate is unbiased and never far below 0, and regret against an adversary grows as the root."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.worlds.tabular.world import TabularWorld

SEEDS, EPISODES, GAMMA = 10, 10_000, 1e-3


@check(
    "logbarrier-linear-q",
    "unbiased",
    "exact",
    "on 20 linear MDPs with losses drawn for each pair the expectations of the plain and of the reduced estimate, over what a uniform policy takes, are the "
    "same to 1e-9, at gamma = 0.001",
)
def unbiased(folder: Path) -> Finding:
    plain, reduced, chance, _ = estimates()
    error = ((plain - reduced) @ chance.unsqueeze(-1)).abs().max().item()
    return Finding(error <= 1e-9, {"largest difference": error, "at_most": 1e-9})


@check(
    "logbarrier-linear-q",
    "floor",
    "exact",
    "there no reduced estimate is below -H / √gamma, of any pair whichever was taken, and on every MDP a plain one is below what its reduced ones never are, E "
    "min(X, 0) H",
)
def floor(folder: Path) -> Finding:
    plain, reduced, _, lowest = estimates()
    bound = -3 / GAMMA**0.5
    deeper = (plain.amin((1, 2, 3)) < lowest).all()
    figures = {"smallest reduced": reduced.min().item(), "at_least": bound, "smallest plain": plain.min().item()}
    return Finding(bool(reduced.min() >= bound and deeper), figures)


@check(
    "logbarrier-linear-q",
    "regret",
    "small",
    "log-log slope of the mean regret in hindsight of 10 seeds on episodes, 100 to 10,000 of tabular:adversarial-linear-mdp (5 features, 3 steps), in [0.4, "
    "0.6], eta 5 (the row: 1,000 to 100,000)",
)
def regret(folder: Path) -> Finding:
    slope = exponent("log-barrier", 5.0)
    return Finding(0.4 <= slope <= 0.6, {"slope": slope, "between": [0.4, 0.6]}, seeds=SEEDS)


@check("logbarrier-linear-q", "below-exp3", "small", "and below that of exponential weights on the plain estimate, eta 2")
def below(folder: Path) -> Finding:
    slopes = {"log barrier": exponent("log-barrier", 5.0), "exponential weights": exponent("entropy", 2.0)}
    return Finding(slopes["log barrier"] < slopes["exponential weights"], slopes, seeds=SEEDS)


@cache
def exponent(regularizer: str, eta: float) -> float:
    """Of the mean over seeds, for some have no regret, or less, at first."""
    spine = get_method("logbarrier-linear-q").build(configure("logbarrier-linear-q", {"regularizer": regularizer, "reduced": False, "eta": eta}))
    found = spine.learner(TabularWorld("adversarial-linear-mdp"), list(range(SEEDS)), EPISODES, torch.device("cpu"))
    curve = {}
    while found.step < EPISODES:
        found.iterate()
        curve[found.step] = found.problem.regret.total.mean().item()
    points = sorted({min(curve, key=lambda step: abs(step - point)) for point in np.geomspace(100, EPISODES, 20)})
    return float(np.polyfit(np.log(points), np.log([curve[point] for point in points]), 1)[0])


def estimates() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Plain and reduced estimates `[S, H, pairs, taken]` of each pair for each that may be taken, how likely that is `[S, H, taken]`, and of each MDP the
    smallest value that a reduced one may have, `[S]`."""
    mdp = TabularWorld("linear-mdp", states=10, actions=3, horizon=3).mdp(Streams(list(range(20))))
    uniform = torch.full((20, *mdp.shape), 1 / 3, dtype=torch.float64)
    chance = mdp.occupancy(uniform)
    features = mdp.features.expand(-1, 3, -1, -1, -1)
    eye = torch.eye(features.shape[-1], dtype=torch.float64)
    inverse = torch.linalg.inv(GAMMA * eye + ops.feature_covariance(features, chance))
    phi, likely = features.flatten(2, 3), chance.flatten(2)
    projection = phi @ inverse @ phi.mT
    lost = torch.from_numpy(np.random.default_rng(0).uniform(0, 3, size=likely.shape)).unsqueeze(2)
    negative = projection.clamp(max=0) @ likely.unsqueeze(-1)
    return projection * lost, ops.magnitude_reduced(projection, lost, negative, most=3.0), likely, 3 * negative.amin((1, 2, 3))
