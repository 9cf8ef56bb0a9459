"""MEX: with tables it swims up a river, and with networks it climbs a hill that TD3 does not.

Who plans with a model and knows the rewards needs little of the river: beside Q-learning, which has to find out what both give, MEX is far ahead, and so is the
likelihood alone. The check "optimism" is the one that tells them apart."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np

from operant.evidence import Finding, check
from operant.evidence.online.swimming import maximise_to_explore, q_learning, river, slope
from operant.loops.runs import train

EPISODES, SEEDS, ETA = 20_000, 10, 1.0
EPSILONS, RATES = (0.05, 0.2, 0.5), (1.0, 20.0)
STEPS = 20_000
SETTINGS = {"hidden": (64, 64), "batch_size": 128, "learning_rate": 1e-3, "learning_starts": 1_000}


@check(
    "mex",
    "river-swim",
    "small",
    "RiverSwim (6 states, episodes of 20 steps): with tables, rewards that it knows and a model that climbs V + eta log likelihood (eta = 1), cumulative "
    "regret over 20,000 episodes of 10 seeds grows with a slope of at most 0.7 in logarithms over the last decade, and is at most half that of epsilon-greedy "
    "Q-learning, which has no model and must find the rewards, breaks ties at random, and has the best of three epsilons and two decays of its rate",
)
def river_swim(folder: Path) -> Finding:
    model, seeds = river(), list(range(SEEDS))
    mex = maximise_to_explore(model, seeds, EPISODES, eta=ETA)
    asked = itertools.product(EPSILONS, RATES)
    chance = {(epsilon, rate): float(q_learning(model, seeds, EPISODES, epsilon=epsilon, rate=rate).sum(0).mean()) for epsilon, rate in asked}
    found, least = mex.sum(0), min(chance.values())
    figures = {"regret per seed": found.tolist(), "slope": slope(mex), "largest slope": 0.7}
    figures |= {f"regret of q-learning, epsilon {epsilon:g}, rate {rate:g}": value for (epsilon, rate), value in chance.items()}
    return Finding(slope(mex) <= 0.7 and found.mean() <= least / 2, figures | {"regret at most": least / 2}, seeds=SEEDS)


@check(
    "mex",
    "optimism",
    "small",
    "the same bed, 2,000 episodes of 10 seeds: mean cumulative regret is at most 0.8 of that of the likelihood alone, which is MEX without V",
)
def optimism(folder: Path) -> Finding:
    model, seeds = river(), list(range(SEEDS))
    mex, likelihood = (maximise_to_explore(model, seeds, 2_000, eta=eta).sum(0) for eta in (ETA, math.inf))
    figures = {"regret per seed": mex.tolist(), "regret of likelihood alone per seed": likelihood.tolist(), "at_most": 0.8}
    return Finding(mex.mean() <= 0.8 * likelihood.mean(), figures | {"ratio": float(mex.mean() / likelihood.mean())}, seeds=SEEDS)


@check(
    "mex",
    "mountain-car",
    "small",
    "MountainCarContinuous-v0 (100 at the goal, minus the cost of actions): mean return of 10 evaluation episodes >= 90 in at least 4 of 5 seeds by 20,000 "
    "steps, and in at most 1 of 5 of TD3, both with two layers of 64, batches of 128, a learning rate of 1e-3 and 1,000 random steps; MEX with the baseline "
    "and eta = 0.005",
)
def mountain_car(folder: Path) -> Finding:
    scores = {}
    for method, own in (("mex", {"eta": 0.005, "baseline": True}), ("td3", {})):
        out = folder / method
        run = train(method, "gym:MountainCarContinuous-v0", seeds=5, steps=STEPS, every=STEPS, episodes=10, progress=False, out=out, **SETTINGS, **own)
        scores[method] = np.array(run.result["score"]["per_seed"])
    solved = {method: int((values >= 90).sum()) for method, values in scores.items()}
    figures = {f"return {method}": values.tolist() for method, values in scores.items()} | {f"seeds at 90 {method}": n for method, n in solved.items()}
    return Finding(solved["mex"] >= 4 and solved["td3"] <= 1, figures | {"steps": STEPS}, seeds=5)
