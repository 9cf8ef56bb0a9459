"""UCB1: its theorem's bound on every instance, a regret that grows as the logarithm, and who foils it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from operant.evidence import Finding, check
from operant.evidence.tabular.bandits.beds import SEEDS, at_random, gaps, interval, outcome, played, world

ROUNDS = 10_000
BED = "a bandit of 5 actions (tabular:bandit --states 1), 10 instances, 10,000 rounds"


@check("ucb", "bound", "small", f"{BED}: regret is at most 8 Σ ln n / Δ + (1 + π²/3) Σ Δ (theorem 1) in 10 of 10 instances")
def bound(folder: Path) -> Finding:
    bed = world("bandit", states=1)
    found, (_, lacks) = outcome(played("ucb", bed, ROUNDS))["regret"], gaps(bed)
    worse = np.where(lacks > 0, lacks, np.inf)
    most = 8 * math.log(ROUNDS) * (1 / worse).sum(-1) + (1 + math.pi**2 / 3) * lacks.sum(-1)
    return Finding(bool((found <= most).all()), {"regret": found.round(1).tolist(), "at most": most.round(1).tolist()}, SEEDS)


@check(
    "ucb",
    "rate",
    "small",
    f"{BED}: the regret exponent is below 0.5, with its 95 % interval over instances, and regret is below that of uniform play and of epsilon-greedy play "
    "(q-learning, epsilon 0.1) in the mean",
)
def rate(folder: Path) -> Finding:
    bed = world("bandit", states=1)
    ours, greedy = outcome(played("ucb", bed, ROUNDS)), outcome(played("q-learning", bed, ROUNDS, epsilon=0.1, halved=None))
    exponent, uniform = interval(ours["exponent"]), at_random(bed, ROUNDS)
    holds = exponent[2] < 0.5 and ours["regret"].mean() < min(uniform.mean(), greedy["regret"].mean())
    figures = {"exponent": exponent, "below": 0.5, "regret": interval(ours["regret"]), "of uniform play": interval(uniform)}
    return Finding(holds, figures | {"of epsilon-greedy": interval(greedy["regret"]), "its exponent": interval(greedy["exponent"])}, SEEDS)


@check(
    "ucb",
    "rate-later",
    "small",
    "the same bandits with ten times the rounds, 100,000, of which the newest factor of a hundred begins where every action was tried often: the regret "
    "exponent is below 0.5 with its 95 % interval",
)
def rate_later(folder: Path) -> Finding:
    found = outcome(played("ucb", world("bandit", states=1), 10 * ROUNDS))
    exponent = interval(found["exponent"])
    return Finding(exponent[2] < 0.5, {"exponent": exponent, "below": 0.5, "regret": interval(found["regret"])}, SEEDS)
