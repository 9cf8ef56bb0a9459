"""Recovering arms: the bound is one, schedules can be carried out, and how what is lost falls with the pulls and regret grows with time."""

from __future__ import annotations

from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from operant import studies
from operant.evidence import Finding, check
from operant.studies.recovering_ppp import curves, plan, relaxation

SMALL, ROUNDS = 200, 4_000


@check(
    "recovering-ppp",
    "bound",
    "exact",
    "for 200 instances of 2 or 3 arms, 4 delays and one pull a step, the relaxation is at least what the best schedule pays in the long run, by dynamic "
    "programming over the delays of all arms, within 1e-9; and the periodic schedule pays at most that",
    theorem="the concave relaxation bounds every schedule of recovering arms",
)
def bound(folder: Path) -> Finding:
    rng, short, over, span = np.random.default_rng(0), 0.0, 0.0, 0.0
    for arms in (2, 3):
        rewards = np.stack([curves(arms, 4, rng) for _ in range(SMALL // 2)])
        low, high = best(rewards)
        span = max(span, float((high - low).max()))
        for reward, least, most in zip(rewards, low, high, strict=True):
            short = max(short, float(least) - relaxation(reward, 1))
            over = max(over, plan(reward, 1).value(reward) - float(most))
    figures = {"largest_optimum_above_bound": short, "largest_schedule_above_optimum": over, "at_most": 1e-9, "optimum_known_within": span}
    return Finding(short <= 1e-9 and over <= 1e-9, figures)


@check("recovering-ppp", "feasible", "exact", "no schedule of 60 (K of 1, 2, 3, 5 and 8, five arms for each, 12 delays) pulls more than K arms at any step")
def feasible(folder: Path) -> Finding:
    rng = np.random.default_rng(1)
    most = {pulls: max(plan(curves(5 * pulls, 12, rng), pulls).most() for _ in range(12)) for pulls in (1, 2, 3, 5, 8)}
    return Finding(all(found <= pulls for pulls, found in most.items()), {"most_pulls_by_K": most})


@check(
    "recovering-ppp",
    "rounding",
    "small",
    "what the schedule lacks of the bound falls with K (1 to 32, five arms for each, 20 instances) with an exponent in [-0.8, -0.3]",
    theorem="periodic schedules lose a share of 1 / √K",
)
def rounding(folder: Path) -> Finding:
    found = conducted()
    return Finding(-0.8 <= found["exponent_of_what_is_lost"] <= -0.3, found | {"between": [-0.8, -0.3]}, 20)


@check(
    "recovering-ppp",
    "regret",
    "small",
    "the regret of UCB by phases (6 arms, two pulls a step, 12 delays) grows with T (1,000 to 100,000; 20 runs) with an exponent in [0.4, 0.6]",
    theorem="regret of recovering arms grows as √T",
)
def regret(folder: Path) -> Finding:
    found = conducted()
    return Finding(0.4 <= found["exponent_of_regret"] <= 0.6, found | {"between": [0.4, 0.6]}, 20)


def best(rewards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Between what the best schedules of one pull a step pay, of rewards `[B, N, D]`: value iteration that stays where it is every second step, which no period
    keeps from converging."""
    batch, arms, delays = rewards.shape
    states = list(product(range(delays), repeat=arms))  # how long each arm was left alone, less one
    place = {state: number for number, state in enumerate(states)}
    older = [tuple(min(each + 1, delays - 1) for each in state) for state in states]
    leads = np.array([[place[after]] + [place[(*after[:arm], 0, *after[arm + 1 :])] for arm in range(arms)] for after in older])
    pays = np.zeros((batch, len(states), arms + 1))
    for number, state in enumerate(states):
        for arm in range(arms):
            pays[:, number, arm + 1] = rewards[:, arm, state[arm]]
    value = np.zeros((batch, len(states)))
    for _ in range(ROUNDS):
        after = (value + (pays + value[:, leads]).max(-1)) / 2
        change, value = after - value, after - after[:, :1]  # only differences count
        if (change.max(1) - change.min(1)).max() < 1e-11:
            break
    return 2 * change.min(1), 2 * change.max(1)


@cache
def conducted() -> dict[str, Any]:
    entry = studies.get_study("recovering-ppp")
    return entry.conduct(entry.options(), Path(), lambda line: None).figures
