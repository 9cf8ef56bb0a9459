"""Statistics over few runs: aggregates, intervals, performance profiles, pass@k.

A score table is `[runs, tasks]`: one row a run (a seed), one column a task. A vector `[runs]` is a table with one task. The definitions are those of Agarwal et
al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (NeurIPS 2021), which the library `rliable` publishes; pass@k is Chen et al.,
"Evaluating Large Language Models Trained on Code" (2021), equation 1.

One run has no spread that could be measured: its interval is `None`, never a point that looks like certainty. Two have a range, which is no 95 % interval and
is not called one. How often each interval covers what it should is measured by `operant.evaluate.coverage`; the table is in docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from operant.core.errors import BadInput
from operant.core.seeds import derive_seed

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""A statistic maps score tables `[..., runs, tasks]` to `[...]`."""

CHUNK_ELEMENTS = 1 << 21  # resampled scores held at once: 16 MiB, so that large tables do not fill the memory


class _Level:
    """What the ends of an interval are."""

    runs: int
    confidence: float | None

    @property
    def level(self) -> str:
        """ "95 %", "range of 2 seeds" or "1 seed", as tables and captions call it."""
        if self.runs == 1:
            return "1 seed"
        return f"range of {self.runs} seeds" if self.confidence is None else f"{100 * self.confidence:g} %"


@dataclass(frozen=True)
class Interval(_Level):
    """A point estimate with its interval.

    Attributes:
        point: the statistic of the scores as they are.
        low, high: the interval's ends, None where there is one run only.
        runs: runs behind it (the smaller count where two sets are compared).
        confidence: coverage aimed at, in (0, 1); None where the ends are the range of two runs.
    """

    point: float
    low: float | None
    high: float | None
    runs: int
    confidence: float | None


@dataclass(frozen=True)
class Band(_Level):
    """A curve with its pointwise band.

    Attributes:
        point: `[points]`.
        low, high: `[points]`, None where there is one run only.
        runs: runs behind it.
        confidence: coverage aimed at for each point by itself, in (0, 1); None where the ends are the range of two runs.
    """

    point: NDArray[np.float64]
    low: NDArray[np.float64] | None
    high: NDArray[np.float64] | None
    runs: int
    confidence: float | None


Bounds = tuple[float, float]
UNBOUNDED: Bounds = (-math.inf, math.inf)


def score_bounds(score: str) -> Bounds:
    """Between which numbers a score lies, by its name: shares ("success", "pass@1", …) from 0 to 1, others anywhere."""
    return (0.0, 1.0) if score == "success" or score.startswith("pass@") else UNBOUNDED


def _table(values: ArrayLike, what: str = "scores") -> NDArray[np.float64]:
    """`values` as float64 `[..., runs, tasks]`, finite and not empty."""
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim < 2 or table.size == 0:
        raise BadInput(f"{what} must be [runs, tasks] with at least one of each, got shape {list(np.shape(values))}")
    if not np.isfinite(table).all():
        raise BadInput(f"{what} hold {int((~np.isfinite(table)).sum())} values that are not finite: leave out the runs that failed and say so")
    return table


def iqm(scores: ArrayLike) -> NDArray[np.float64]:
    """Interquartile mean over all runs × tasks: the mean of the middle half (Agarwal et al. 2021, section 4.3).

    With n values, floor(n / 4) are cut at each end, as `scipy.stats.trim_mean(scores, 0.25, axis=None)` does and `rliable` therefore too. Where n is not
    divisible by 4, fewer than half of the values are cut (n = 5 keeps 3, n = 7 keeps 5), and below 4 values it is the mean.

    Args:
        scores: `[..., runs, tasks]`, or `[runs]`.

    Returns:
        `[...]`.

    Raises:
        BadInput: for no scores, or scores that are not finite.
    """
    table = _table(scores)
    flat = table.reshape(*table.shape[:-2], -1)
    count = flat.shape[-1]
    cut = count // 4
    if cut:
        flat = np.sort(flat, axis=-1)[..., cut : count - cut]
    return flat.mean(axis=-1)


def mean(scores: ArrayLike) -> NDArray[np.float64]:
    """Mean over all runs × tasks. `[..., runs, tasks]` to `[...]`; BadInput as `iqm`."""
    return _table(scores).mean(axis=(-2, -1))


def median(scores: ArrayLike) -> NDArray[np.float64]:
    """Median over the tasks of each task's mean over the runs, `rliable`'s `aggregate_median`: with one task it is that task's mean.

    `[..., runs, tasks]` to `[...]`; BadInput as `iqm`.
    """
    return np.median(_table(scores).mean(axis=-2), axis=-1)


def optimality_gap(scores: ArrayLike, target: float = 1.0) -> NDArray[np.float64]:
    """How far the scores stay below `target` on average; what exceeds the target counts as the target (Agarwal et al. 2021, section 4.3).

    Args:
        scores: `[..., runs, tasks]`, in the units of `target`.
        target: the score that counts as solved.

    Returns:
        `[...]`, at least 0; smaller is better. BadInput as `iqm`.
    """
    return target - np.minimum(_table(scores), target).mean(axis=(-2, -1))


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise BadInput(f"confidence must lie between 0 and 1, got {confidence}: 0.95 is usual")


@cache
def t_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t, by bisection of its distribution function for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4).

    Args:
        probability: 0.5 to 1.
        freedom: degrees of freedom, at least 1.
    """

    def within(t: float) -> float:
        """The chance that |T| is at most t."""
        angle = math.atan2(t, math.sqrt(freedom))
        cosine, odd = math.cos(angle), freedom % 2
        term = total = 0.0 if freedom == 1 else cosine if odd else 1.0
        for k in range(3 if odd else 2, freedom - 1, 2):
            term *= (k - 1) / k * cosine**2
            total += term
        return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total

    low, high = 0.0, 1.0
    while within(high) < 2 * probability - 1:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle) < 2 * probability - 1 else (low, middle)
    return high


def stratified_bootstrap(
    scores: ArrayLike, statistic: Statistic = iqm, *, repetitions: int = 2000, confidence: float = 0.95, seed: int = 0, bounds: Bounds = UNBOUNDED
) -> Interval:
    """A statistic with its t interval, whose standard error is a bootstrap's, point ± t √(n / (n − 1)) SE, and which reaches the quantiles of the resamples.

    Runs are resampled with replacement for each task by itself (Agarwal et al. 2021, section 4.1). The quantiles of the resamples, the usual interval, cover
    too little where there are few runs (90 % at five, 75 % at three). This one has the t quantile in the place of the normal one, with Welch's and
    Satterthwaite's degrees of freedom, rounded down: tasks · (n − 1) where all tasks spread alike, n − 1 where one spreads most. √(n / (n − 1)) makes up for
    the bootstrap's variance, whose divisor is n. Where the resamples lie to one side, as with a share of failed runs, a quantile may lie beyond its end, which
    then moves there. Two runs of one task have their range instead, and so have runs that all scored alike.

    Args:
        scores: `[runs, tasks]` or `[runs]`.
        statistic: maps `[repetitions, runs, tasks]` to `[repetitions]`: `iqm`, `mean`, `median`, `optimality_gap`, or a callable of that form.
        repetitions: resamples.
        confidence: coverage, in (0, 1).
        seed: the same seed gives the same interval.
        bounds: between which numbers the statistic lies; the interval is cut there (see `score_bounds`).

    Raises:
        BadInput: for scores that are empty or not finite, or arguments out of range.
    """
    table = _table(scores)
    if table.ndim != 2:
        raise BadInput(f"scores must be [runs, tasks], got shape {list(table.shape)}")
    band = sample_efficiency_curve(table[:, :, None], statistic, repetitions=repetitions, confidence=confidence, seed=seed, bounds=bounds)
    low, high = (None, None) if band.low is None or band.high is None else (float(band.low[0]), float(band.high[0]))
    alike = band.runs > 2 and _alike(table)  # says nothing of the spread that other seeds would have
    return Interval(float(band.point[0]), low, high, band.runs, None if alike else band.confidence)


def sample_efficiency_curve(
    scores: ArrayLike, statistic: Statistic = iqm, *, repetitions: int = 2000, confidence: float = 0.95, seed: int = 0, bounds: Bounds = UNBOUNDED
) -> Band:
    """A statistic at each point of training (Agarwal et al. 2021, figure 6), with the interval of `stratified_bootstrap` at each point.

    A resample draws whole runs: the same runs stand at every point of one resampled curve.

    Args:
        scores: `[runs, tasks, points]`, the scores at shared numbers of steps.
        statistic, repetitions, confidence, seed, bounds: as in `stratified_bootstrap`.

    Returns:
        a Band with arrays `[points]`.

    Raises:
        BadInput: as `stratified_bootstrap`, and for scores that have not three axes.
    """
    curves = _table(scores)
    if curves.ndim != 3:
        raise BadInput(f"scores must be [runs, tasks, points], got shape {list(curves.shape)}")
    _check_confidence(confidence)
    if repetitions < 1:
        raise BadInput(f"repetitions must be at least 1, got {repetitions}: 2000 is the usual number")
    curves = np.moveaxis(curves, 2, 0)  # [points, runs, tasks]: the statistic takes the last two axes
    points, runs, tasks = curves.shape
    point = np.asarray(statistic(curves), dtype=np.float64)
    if point.shape != (points,):
        raise BadInput(f"a statistic must map [{points}, {runs}, {tasks}] to [{points}], got {list(point.shape)}")
    if runs == 1:
        return Band(point, None, None, 1, confidence)
    if runs == 2 and tasks == 1:
        alone = np.stack([np.asarray(statistic(curves[:, run : run + 1]), dtype=np.float64) for run in range(2)])
        return Band(point, alone.min(0), alone.max(0), 2, None)
    generator = np.random.default_rng(derive_seed(seed, "bootstrap"))
    samples = np.empty((repetitions, points))
    step = max(1, CHUNK_ELEMENTS // curves.size)
    for start in range(0, repetitions, step):
        drawn = generator.integers(runs, size=(min(step, repetitions - start), runs, tasks))
        resampled = curves[:, drawn, np.arange(tasks)]  # [points, step, runs, tasks]
        samples[start : start + step] = np.asarray(statistic(resampled.reshape(-1, runs, tasks))).reshape(points, -1).T
    alike = np.array([_alike(table) for table in curves])
    error = np.where(alike, 0.0, samples.std(axis=0))
    lower, upper = (np.where(alike, point, end) for end in np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0))
    freedom = [_degrees_of_freedom(table) for table in curves]
    reach = np.array([t_quantile((1 + confidence) / 2, each) for each in freedom]) * math.sqrt(runs / (runs - 1)) * error
    return Band(point, np.clip(np.minimum(point - reach, lower), *bounds), np.clip(np.maximum(point + reach, upper), *bounds), runs, confidence)


def _alike(table: NDArray[np.float64]) -> bool:
    """Whether the runs of each task scored the same, up to rounding, from scores `[runs, tasks]`."""
    return bool((np.ptp(table, axis=0) <= 4 * np.finfo(np.float64).eps * np.abs(table).max(axis=0)).all())


def _degrees_of_freedom(table: NDArray[np.float64]) -> int:
    """Of a mean over tasks whose spreads may differ (Satterthwaite 1946), from scores `[runs, tasks]`."""
    runs, tasks = table.shape
    spread = table.var(axis=0, ddof=1)
    return int((runs - 1) * (spread.sum() ** 2 / np.square(spread).sum() if spread.any() else tasks) + 1e-9)


def probability_of_improvement(x: ArrayLike, y: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """How likely a run of X beats a run of Y on a task drawn at random; a tie counts one half (Agarwal et al. 2021, section 4.3; Mann and Whitney's U / nm).

    The interval holds all θ with |point − θ| ≤ t √V(θ): Wilson's idea for U / nm, with the variance of Newcombe's method 5 (Statistics in Medicine 25, 2006,
    p. 559), V(θ) = θ (1 − θ) (1 + ((n + m) / 2 − 1) ((1 − θ) / (2 − θ) + θ / (1 + θ))) / nm. It has a width where every run of X beats every run of Y.
    Where the scores show a larger variance at the point than V does (DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988), as with unequal spreads, V is
    scaled up to it. t has n + m − 2 degrees of freedom a task.

    Args:
        x: `[n, tasks]` or `[n]`.
        y: `[m, tasks]` or `[m]`, the same tasks.
        confidence: coverage, in (0, 1).

    Returns:
        an Interval in [0, 1]; without ends where X or Y is a single run.

    Raises:
        BadInput: for scores that are empty or not finite, or different numbers of tasks.
    """
    first, second = _table(x, "scores of X"), _table(y, "scores of Y")
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise BadInput(f"X and Y must be [runs, tasks] over the same tasks, got {list(first.shape)} and {list(second.shape)}")
    _check_confidence(confidence)
    (n, tasks), m = first.shape, second.shape[0]
    wins = np.sign(first[:, None, :] - second[None, :, :]) / 2.0 + 0.5  # [n, m, tasks]: 1 won, 1/2 tied, 0 lost
    point = float(wins.mean())
    if min(n, m) == 1:
        return Interval(point, None, None, 1, confidence)

    def variance(theta: float) -> float:
        spread = 1 + ((n + m) / 2 - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return theta * (1 - theta) * spread / (n * m * tasks)

    seen = (wins.mean(axis=1).var(axis=0, ddof=1) / n + wins.mean(axis=0).var(axis=0, ddof=1) / m).sum() / tasks**2
    assumed = variance(point)
    scale = max(1.0, seen / assumed) if assumed > 0 else 1.0
    reach = t_quantile((1 + confidence) / 2, tasks * (n + m - 2)) * math.sqrt(scale)

    def end(bound: float) -> float:
        """The θ towards `bound` that is farthest from the point and still not rejected."""
        inside, outside = point, bound
        if abs(bound - point) <= reach * math.sqrt(variance(bound)):
            return bound
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if abs(middle - point) <= reach * math.sqrt(variance(middle)) else (inside, middle)
        return inside

    return Interval(point, end(0.0), end(1.0), min(n, m), confidence)


def performance_profile(scores: ArrayLike, thresholds: ArrayLike, *, confidence: float = 0.95) -> Band:
    """Share of all runs × tasks whose score is above each threshold (Agarwal et al. 2021, equation 1), with Wilson's interval of a share at each.

    Args:
        scores: `[runs, tasks]` or `[runs]`.
        thresholds: `[points]`, in the scores' units; a score equal to the threshold is not above it.
        confidence: coverage, in (0, 1).

    Returns:
        a Band in [0, 1], `[points]`, falling in the threshold.

    Raises:
        BadInput: for scores that are empty or not finite, thresholds that are no vector, or arguments out of range.
    """
    table, taus = _table(scores), np.asarray(thresholds, dtype=np.float64)
    if table.ndim != 2 or taus.ndim != 1 or not taus.size:
        raise BadInput(f"scores must be [runs, tasks] and thresholds [points], got {list(table.shape)} and {list(taus.shape)}")
    _check_confidence(confidence)
    runs, count = len(table), table.size
    point = (table.reshape(-1, 1) > taus).mean(axis=0)
    if runs == 1:
        return Band(point, None, None, 1, confidence)
    square = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    centre = (point + square / (2 * count)) / (1 + square / count)
    reach = np.sqrt(square * (point * (1 - point) + square / (4 * count)) / count) / (1 + square / count)
    return Band(point, np.maximum(centre - reach, 0.0), np.minimum(centre + reach, 1.0), runs, confidence)


def pass_at_k(samples: ArrayLike, correct: ArrayLike, k: int) -> NDArray[np.float64]:
    """Unbiased pass@k of each problem: the chance that k of its n samples, drawn without replacement, hold a correct one.

    1 - C(n-c, k) / C(n, k), as the product 1 - Π_{i=n-c+1..n} (1 - k/i), which neither overflows nor cancels (Chen et al. 2021, equation 1 and figure 3). The
    mean over the problems is the figure that is reported.

    Args:
        samples: n, samples of each problem, integers, any shape that broadcasts with `correct`.
        correct: c, how many of them are correct, 0 ≤ c ≤ n.
        k: 1 ≤ k ≤ n.

    Returns:
        the estimate of each problem, float64, the broadcast shape.

    Raises:
        ValueError: for k below 1 or above n (n samples say nothing of a pass@k beyond n), or c outside 0 to n.
    """
    n, c = np.broadcast_arrays(np.asarray(samples), np.asarray(correct))
    if n.size == 0 or not np.issubdtype(n.dtype, np.integer) or not np.issubdtype(c.dtype, np.integer):
        raise ValueError(f"pass@k takes counts: integers, at least one problem, got {n.dtype} and {c.dtype} of shape {list(n.shape)}")
    if not 1 <= k <= n.min():
        raise ValueError(f"pass@{k} needs 1 to n samples a problem, and there are n = {n.min()}: k can be at most {n.min()}")
    if (c < 0).any() or (c > n).any():
        raise ValueError(f"correct must lie between 0 and the samples a problem, got {c.min()} to {c.max()} of {n.min()}")
    i = np.arange(1, n.max() + 1)
    inside = (i > (n - c)[..., None]) & (i <= n[..., None])
    return 1.0 - np.where(inside, 1.0 - k / i, 1.0).prod(axis=-1)


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 10) -> float:
    """Mean distance between stated confidence and share of right answers, over equal bins of confidence weighted by their answers (Guo et al. 2017, eq. 3).

    Args:
        confidence: `[N]`, in [0, 1].
        correct: `[N]`, 0 or 1.
        bins: at least 1; a confidence of 1 belongs to the last.

    Raises:
        BadInput: no answer, different lengths, or a confidence outside [0, 1].
    """
    stated, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if stated.shape != right.shape or stated.ndim != 1 or not len(stated):
        raise BadInput(
            f"calibration: confidences of shape {list(stated.shape)} and answers of shape {list(right.shape)}: give one each for at least one answer"
        )
    if bins < 1 or not ((stated >= 0) & (stated <= 1)).all():
        raise BadInput("calibration: confidences lie in [0, 1], and there is at least one bin")
    place = np.minimum((stated * bins).astype(int), bins - 1)
    gaps = [np.abs(stated[place == b].mean() - right[place == b].mean()) * (place == b).mean() for b in range(bins) if (place == b).any()]
    return float(np.sum(gaps))
