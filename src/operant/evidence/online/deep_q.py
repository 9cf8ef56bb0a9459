"""What the claims of DQN's family share: CartPole with a learning rate that is chosen for each method in the same way, on other seeds than those scored."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from operant.evidence import Finding
from operant.loops.runs import Run, train

TASK = "gym:CartPole-v1"
RATES = (5e-4, 1e-3, 2.3e-3)
STEPS, LONG = 20_000, 50_000
SEEDS, CHOOSING, FIRST = 5, 3, 100
SOLVED = 475.0
CHOSEN = f"the learning rate the best of 0.0005, 0.001 and 0.0023 at {STEPS:,} steps of {CHOOSING} other seeds"
SOLVES = f"CartPole-v1, two layers of 64, {CHOSEN}: IQM of the return of 20 episodes >= {SOLVED:g} over {SEEDS} seeds within {LONG:,} steps"
BESIDE = f"CartPole-v1, two layers of 64, {STEPS:,} steps of {SEEDS} seeds, {CHOSEN}, for each of the two by itself: the mean return is at least dqn's"


def run(method: str, folder: Path, rate: float, *, seeds: int, seed: int, steps: int, **settings: object) -> Run:
    settings = {"hidden": (64, 64), "learning_rate": rate} | settings
    return train(method, TASK, seed=seed, seeds=seeds, steps=steps, every=steps, episodes=20, progress=False, out=folder, **settings)


@cache
def chosen_rate(method: str, folder: Path, **settings: object) -> tuple[float, dict[str, float]]:
    """The learning rate with the best mean return on the seeds for choosing, and what each gave."""
    found = {}
    for rate in RATES:
        made = run(method, _folder(folder, method, f"rate-{rate}", settings), rate, seeds=CHOOSING, seed=FIRST, steps=STEPS, **settings)
        found[f"return at learning rate {rate}"] = float(np.mean(made.result["score"]["per_seed"]))
    return RATES[int(np.argmax(list(found.values())))], found


@cache
def scored(method: str, folder: Path, steps: int, **settings: object) -> tuple[dict, float]:
    """The score of the seeds from 0 on, with the chosen learning rate, and that rate."""
    rate, _ = chosen_rate(method, folder, **settings)
    made = run(method, _folder(folder, method, f"steps-{steps}", settings), rate, seeds=SEEDS, seed=0, steps=steps, **settings)
    return made.result["score"], rate


def solves(method: str, folder: Path) -> Finding:
    """`SOLVES` of a method."""
    score, rate = scored(method, folder, LONG)
    figures = score | {"learning_rate": rate, "steps": LONG, "threshold": SOLVED} | chosen_rate(method, folder)[1]
    return Finding(score["iqm"] >= SOLVED, figures, seeds=SEEDS)


def beside_dqn(method: str, folder: Path, **settings: object) -> Finding:
    """`BESIDE` of a method."""
    figures, means = {}, []
    for name, extra in ((method, settings), ("dqn", {})):
        score, rate = scored(name, folder, STEPS, **extra)
        means.append(float(np.mean(score["per_seed"])))
        figures |= {f"return {name}": means[-1], f"returns {name}": score["per_seed"], f"learning rate {name}": rate}
    return Finding(means[0] >= means[1], figures, seeds=SEEDS)


def _folder(folder: Path, method: str, name: str, settings: dict[str, object]) -> Path:
    return folder / "-".join([method, *map(str, settings.values()), name])
