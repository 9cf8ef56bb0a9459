"""Thompson sampling: near the smallest regret that there can be, and below UCB1's."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from operant.evidence import Finding, check
from operant.evidence.tabular.bandits.beds import gaps, interval, outcome, played, world

ROUNDS, INSTANCES = 5_000, 20
BED = "a bandit of 5 actions (tabular:bandit --states 1), 20 instances, 5,000 rounds"


@check(
    "thompson",
    "lower-bound",
    "small",
    f"{BED}: regret over ln T Σ Δ / kl(μ, μ*), what Lai and Robbins say no consistent method falls short of as T grows, is between 0.3 and 1.5 in the mean "
    "over instances (kl of Bernoulli means)",
)
def lower_bound(folder: Path) -> Finding:
    bed = world("bandit", states=1)
    regret, (mean, lacks) = outcome(played("thompson", bed, ROUNDS, INSTANCES))["regret"], gaps(bed, INSTANCES)
    best = mean.max(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        divergence = mean * np.log(mean / best) + (1 - mean) * np.log((1 - mean) / (1 - best))
        least = np.where(lacks > 0, lacks / divergence, 0.0).sum(-1) * math.log(ROUNDS)
    ratio = regret / least
    return Finding(bool(0.3 <= ratio.mean() <= 1.5), {"ratio": interval(ratio), "between": [0.3, 1.5], "of each": ratio.round(2).tolist()}, INSTANCES)


@check(
    "thompson", "beside-ucb", "small", f"{BED}: regret is below that of UCB1 in at least 18 of 20 instances, and its exponent below 0.5 with its 95 % interval"
)
def beside_ucb(folder: Path) -> Finding:
    bed = world("bandit", states=1)
    ours, theirs = (outcome(played(key, bed, ROUNDS, INSTANCES)) for key in ("thompson", "ucb"))
    below, exponent = int((ours["regret"] < theirs["regret"]).sum()), interval(ours["exponent"])
    figures = {"below": below, "at least": 18, "regret": interval(ours["regret"]), "of ucb": interval(theirs["regret"]), "exponent": exponent}
    return Finding(below >= 18 and exponent[2] < 0.5, figures, INSTANCES)
