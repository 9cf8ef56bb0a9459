"""MEX: with tables it swims up the river that Q-learning does not find, and with networks it climbs a hill that TD3 does not."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from operant.evidence import Finding, check
from operant.evidence.online.swimming import maximise_to_explore, q_learning, river, slope
from operant.loops.runs import train

EPISODES, SEEDS, ETA = 20_000, 10, 1.0
EPSILONS = (0.05, 0.2, 0.5)
STEPS = 20_000
SETTINGS = {"hidden": (64, 64), "batch_size": 128, "learning_rate": 1e-3, "learning_starts": 1_000}


@check(
    "mex",
    "river-swim",
    "small",
    "RiverSwim (6 states, episodes of 20 steps, rewards known): with tables and a model that climbs V + eta log likelihood (eta = 1), cumulative regret over "
    "20,000 episodes of 10 seeds grows with a slope of at most 0.7 in logarithms over the last decade, and is at most half that of epsilon-greedy Q-learning "
    "with the best of three epsilons; the same without V is reported beside it",
)
def river_swim(folder: Path) -> Finding:
    model, seeds = river(), list(range(SEEDS))
    mex = maximise_to_explore(model, seeds, EPISODES, eta=ETA)
    likelihood = maximise_to_explore(model, seeds, EPISODES, eta=math.inf)
    chance = {epsilon: float(q_learning(model, seeds, EPISODES, epsilon=epsilon, rate=20.0).sum(0).mean()) for epsilon in EPSILONS}
    found, least = mex.sum(0), min(chance.values())
    figures = {"regret per seed": found.tolist(), "slope": slope(mex), "largest slope": 0.7, "regret of likelihood alone": likelihood.sum(0).tolist()}
    figures |= {f"regret of q-learning, epsilon {epsilon:g}": value for epsilon, value in chance.items()}
    return Finding(slope(mex) <= 0.7 and found.mean() <= least / 2, figures | {"regret at most": least / 2}, seeds=SEEDS)


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
