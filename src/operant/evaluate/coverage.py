"""How often the intervals of `operant.evaluate.statistics` cover the truth, by simulation: the tables of docs/statistics.md.

python -m operant.evaluate.coverage                              # prints them; about ten minutes
python -m operant.evaluate.coverage --write docs/statistics.md   # puts them between the page's two markers
"""

from __future__ import annotations

import argparse
import datetime
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from operant.core.run import machine
from operant.evaluate.statistics import iqm, probability_of_improvement, stratified_bootstrap

SEEDS = (2, 3, 4, 5, 8, 10, 20)
MARKERS = ("<!-- coverage -->\n", "<!-- end of coverage -->\n")

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]

SCORES: dict[str, Draw] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "skewed up: log-normal": lambda rng, size: rng.lognormal(size=size),
    "skewed down: minus an exponential": lambda rng, size: -rng.exponential(size=size),
    "heavy tails: t of 3 degrees": lambda rng, size: rng.standard_t(3, size),
    "bounded: normal about 0.9, cut to 0 to 1": lambda rng, size: rng.normal(0.9, 0.2, size).clip(0, 1),
    "two humps of equal weight": lambda rng, size: rng.normal(size=size) + 6.0 * (rng.random(size) < 0.5),
    "three in ten seeds fail": lambda rng, size: 0.9 - 0.8 * (rng.random(size) < 0.3) + rng.normal(0, 0.03, size),
}
"""Distributions of a seed's score, as draws."""

TRUTHS = (0.5, 0.7, 0.92, 0.99)
SPREADS = (1.0, 4.0)


@cache
def true_iqm(draw: Draw) -> float:
    """The interquartile mean of a distribution, from two million draws."""
    return float(iqm(draw(np.random.default_rng(1), 2_000_000)))


def interval_coverage(draw: Draw, seeds: int, *, trials: int, repetitions: int = 1000, confidence: float = 0.95) -> tuple[float, float]:
    """How often the interval of the IQM of so many seeds covers the distribution's own, and how often the quantiles of the resamples do.

    Args:
        draw: the distribution.
        seeds: runs in each trial.
        trials: simulated experiments; the standard error of a share p is √(p (1 − p) / trials).
        repetitions: resamples.
    """
    truth = true_iqm(draw)
    rng = np.random.default_rng(0)
    own = quantiles = 0
    for trial in range(trials):
        scores = draw(rng, seeds)
        found = stratified_bootstrap(scores, repetitions=repetitions, confidence=confidence, seed=trial)
        own += found.low <= truth <= found.high
        resampled = iqm(rng.choice(scores, (repetitions, seeds, 1)))
        low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
        quantiles += low <= truth <= high
    return own / trials, quantiles / trials


def improvement_coverage(truth: float, spread: float, seeds: int, *, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """How often the interval of the probability of improvement covers it, and the interval's mean width.

    Args:
        truth: the probability that a run of X beats one of Y.
        spread: standard deviation of X's scores, which are normal; Y's is 1.
        seeds: runs of each.
    """
    shift = NormalDist().inv_cdf(truth) * math.hypot(spread, 1.0)
    rng = np.random.default_rng(0)
    covered = width = 0.0
    for _ in range(trials):
        found = probability_of_improvement(rng.normal(shift, spread, seeds), rng.normal(size=seeds), confidence=confidence)
        covered += found.low <= truth <= found.high
        width += found.high - found.low
    return covered / trials, width / trials


def tables(trials: int) -> str:
    """Both tables as Markdown, with date, processor and number of trials."""
    hardware = machine()["hardware"]
    error = 100 * math.sqrt(0.95 * 0.05 / trials)
    lines = [
        f"Made by `python -m operant.evaluate.coverage` on {datetime.date.today().isoformat()}, {hardware['processor']}: {trials:,} simulated experiments",
        f"each, so that 95 % is measured to ± {error:.1f} points (one standard error).",
        "",
        "Interval of the IQM: how often it covers the IQM of the distribution, in per cent; in brackets the quantiles of the resamples, which were used",
        "before. Two seeds have their range.",
        "",
        "| Scores | " + " | ".join(f"{seeds} seeds" for seeds in SEEDS) + " |",
        "|---|" + "---|" * len(SEEDS),
    ]
    for name, draw in SCORES.items():
        cells = [interval_coverage(draw, seeds, trials=trials) for seeds in SEEDS]
        lines.append(f"| {name} | " + " | ".join(f"{100 * own:.0f} ({100 * quantiles:.0f})" for own, quantiles in cells) + " |")
    lines += [
        "",
        "Interval of the probability of improvement: how often it covers the truth, in per cent, and its mean width. Scores are normal; spread is the standard",
        "deviation of X by that of Y.",
        "",
        "| Truth | Spread | " + " | ".join(f"{seeds} seeds" for seeds in SEEDS) + " |",
        "|---|---|" + "---|" * len(SEEDS),
    ]
    for truth in TRUTHS:
        for spread in SPREADS:
            cells = [improvement_coverage(truth, spread, seeds, trials=trials) for seeds in SEEDS]
            lines.append(f"| {truth} | {spread:g} | " + " | ".join(f"{100 * share:.0f} ({width:.2f})" for share, width in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m operant.evaluate.coverage", description="How often the intervals cover the truth, by simulation.")
    parser.add_argument("--trials", type=int, default=1000, help="simulated experiments of each case")
    parser.add_argument("--write", metavar="FILE", help="a page with the markers, between which the tables are put")
    args = parser.parse_args()
    made = tables(args.trials)
    if args.write is None:
        print(made, end="")
        return
    page = Path(args.write).read_text(encoding="utf-8")
    before, rest = page.split(MARKERS[0])
    Path(args.write).write_text(before + MARKERS[0] + made + MARKERS[1] + rest.split(MARKERS[1])[1], encoding="utf-8")


if __name__ == "__main__":
    main()
