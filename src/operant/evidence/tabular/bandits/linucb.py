"""LinUCB: its ellipsoids hold the truth, and regret that hangs on the dimension and not on the number of contexts and actions."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from operant import ops
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.evidence.tabular.bandits.beds import SEEDS, at_random, interval, outcome, played, world
from operant.worlds.tabular.problems import LINEAR_BANDIT

ROUNDS = 5_000
BED = "tabular:linear-bandit with 20 contexts and 10 actions (d = 5), 10 instances, 5,000 rounds"


def bed():
    return world("linear-bandit", states=20, actions=10)


@check(
    "linucb",
    "ellipsoid",
    "small",
    f"{BED}: ‖θ̂ - θ*‖_A ≤ ½ √(2 ln(1/δ) + ln(det A / λ^d)) + √λ with δ = 0.1 at every hundredth round in at least 9 of 10",
    theorem="the confidence ellipsoid holds with 1 - δ",
)
def ellipsoid(folder: Path) -> Finding:
    theta = LINEAR_BANDIT.theta(range(SEEDS))
    learner = get_method("linucb").build(configure("linucb", {})).learner(bed(), list(range(SEEDS)), ROUNDS, torch.device("cpu"))
    worst, features = torch.zeros(SEEDS, dtype=torch.float64), learner.problem.model_features.flatten(-3, -2)
    while learner.step < ROUNDS:
        learner.iterate()
        parameter, gram = ops.ridge_regression(features, learner.state["count"].flatten(1), learner.state["gained"].flatten(1), ridge=1.0)
        off = parameter - theta
        radius = 1 + 0.5 * (gram.logdet() + 2 * math.log(10)).sqrt()
        worst = torch.maximum(worst, torch.einsum("si,sij,sj->s", off, gram, off).sqrt() / radius)
    return Finding(int((worst <= 1).sum()) >= 9, {"largest share of the radius": worst.numpy().round(3).tolist(), "at most": 1}, SEEDS)


@check(
    "linucb",
    "rate",
    "small",
    f"{BED}: the regret exponent is below 0.65 with its 95 % interval, and regret below a half of UCB1's, which learns each of the 200 pairs by itself, and a "
    "tenth of uniform play's, in the mean",
    theorem="regret d √T",
)
def rate(folder: Path) -> Finding:
    ours, theirs, uniform = outcome(played("linucb", bed(), ROUNDS)), outcome(played("ucb", bed(), ROUNDS)), at_random(bed(), ROUNDS)
    exponent, regret = interval(ours["exponent"]), ours["regret"].mean()
    figures = {
        "exponent": exponent,
        "below": 0.65,
        "regret": interval(ours["regret"]),
        "of ucb": interval(theirs["regret"]),
        "of uniform play": interval(uniform),
    }
    return Finding(exponent[2] < 0.65 and regret < min(theirs["regret"].mean() / 2, uniform.mean() / 10), figures, SEEDS)
