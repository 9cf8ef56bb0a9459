"""ALP-GMM: a toy student of whose tasks half cannot be learned, what the teacher draws, and PPO on cart-poles of which a quarter cannot be balanced."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

import operant
from operant.evaluate.statistics import probability_of_improvement
from operant.evidence import Finding, check
from operant.methods.curriculum.alp_gmm import LevelTeacher

SIDE, SEEDS, EPISODES = 10, 10, 10_000
STEPS, RUNS = 100_352, 5


class Student:
    """Tasks are the places of a square of 10 × 10 cells; the right half cannot be learned. What an episode gives is how many were tried in its cell, at most
    100, once the cell is open: the lower left corner is at first, any other when a neighbour has come to 75 (Portelas et al. 2019, toy environment)."""

    def __init__(self):
        self.open, self.tried = np.zeros((SIDE, SIDE), bool), np.zeros((SIDE, SIDE))
        self.open[0, 0] = True

    def play(self, level: np.ndarray) -> float:
        x, y = np.minimum((level * SIDE).astype(int), SIDE - 1)
        if not self.open[x, y]:
            return 0.0
        self.tried[x, y] += 1
        if self.tried[x, y] >= 75:
            for a, b in ((x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)):
                if 0 <= a < SIDE // 2 and 0 <= b < SIDE:
                    self.open[a, b] = True
        return float(min(self.tried[x, y], 100))

    @property
    def mastered(self) -> float:
        """The share of cells with 90 or more."""
        return float((self.tried >= 90).mean())


@cache
def toy() -> dict[str, list[dict[str, float]]]:
    """Share of cells mastered, and of levels in the right half, of each seed: with the teacher, and with uniform levels."""
    found: dict[str, list[dict[str, float]]] = {"alp-gmm": [], "uniform": []}
    for name, runs in found.items():
        for seed in range(SEEDS):
            draws, student, wasted = np.random.default_rng(seed), Student(), 0
            teacher = LevelTeacher([0.0, 0.0], [1.0, 1.0], draws)
            for _ in range(EPISODES):
                level = teacher.propose(1)[0] if name == "alp-gmm" else draws.uniform(size=2)
                outcome = student.play(level)
                if name == "alp-gmm":
                    teacher.tell(level, outcome)
                wasted += level[0] >= 0.5
            runs.append({"mastered": student.mastered, "wasted": wasted / EPISODES})
    return found


def of(name: str, what: str) -> list[float]:
    return [run[what] for run in toy()[name]]


@check(
    "alp-gmm",
    "toy-mastered",
    "small",
    "toy student in a square of 100 cells of which half cannot be learned, 10,000 episodes, 10 seeds: masters at least 1.3 times as many cells as with uniform"
    " levels (means), P(more) with its 95 % interval above 1/2",
)
def toy_mastered(folder: Path) -> Finding:
    ours, theirs = of("alp-gmm", "mastered"), of("uniform", "mastered")
    more = probability_of_improvement(np.array(ours)[:, None], np.array(theirs)[:, None])
    ratio = float(np.mean(ours) / np.mean(theirs))
    figures = {"mastered": {"alp-gmm": ours, "uniform": theirs}, "ratio": ratio, "ratio_at_least": 1.3, "more": {"point": more.point, "low": more.low}}
    return Finding(ratio >= 1.3 and more.low is not None and more.low > 0.5, figures, SEEDS)


@check(
    "alp-gmm",
    "toy-wasted",
    "small",
    "toy student as in toy-mastered: fewer levels than of uniform ones are where nothing can be learned, every seed",
)
def toy_wasted(folder: Path) -> Finding:
    ours, theirs = of("alp-gmm", "wasted"), of("uniform", "wasted")
    return Finding(max(ours) < min(theirs), {"share": {"alp-gmm": ours, "uniform": theirs}}, SEEDS)


@check(
    "alp-gmm",
    "one-learnable-cell",
    "small",
    "one cell of 25 in a square is learnable (its outcome rises with every episode), 2,000 episodes: at least 60 % of the next 2,000 levels that are not"
    " uniform land within a cell's width of it, each of 10 seeds",
)
def one_learnable_cell(folder: Path) -> Finding:
    near = []
    for seed in range(SEEDS):
        draws, tried = np.random.default_rng(seed), 0
        teacher = LevelTeacher([0.0, 0.0], [1.0, 1.0], draws)
        for _ in range(2_000):
            level = teacher.propose(1)[0]
            inside = bool((np.abs(level - 0.5) < 0.1).all())
            teacher.tell(level, float(tried) if inside else 0.0)
            tried += inside
        teacher.uniform = 0.0
        near.append(float((np.abs(teacher.propose(2_000) - 0.5) < 0.3).all(1).mean()))
    return Finding(min(near) >= 0.6, {"share_near": near, "at_least": 0.6}, SEEDS)


@check(
    "alp-gmm",
    "ppo-cart-poles",
    "small",
    "gym:cartpole-levels, PPO, 100,352 steps a seed, 5 seeds: mean return over 200 uniform levels above that of PPO on uniform levels (means of the seeds)",
)
def ppo_cart_poles(folder: Path) -> Finding:
    found = {}
    for key in ("alp-gmm", "ppo"):
        run = operant.train(key, "gym:cartpole-levels", seeds=RUNS, steps=STEPS, every=STEPS, episodes=200, out=folder / key, progress=False)
        found[key] = run.result["score"]["per_seed"]
    gain = float(np.mean(found["alp-gmm"]) - np.mean(found["ppo"]))
    return Finding(gain > 0, {"return": {"alp-gmm": found["alp-gmm"], "uniform": found["ppo"]}, "gain": gain, "above": 0.0}, RUNS)
