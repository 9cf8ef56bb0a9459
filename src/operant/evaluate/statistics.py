"""Statistics over few runs: aggregates, bootstrap intervals, performance profiles, pass@k.

A score table is `[runs, tasks]`: one row a run (a seed), one column a task. A vector `[runs]` is a table with one task. The definitions are those of Agarwal et
al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (NeurIPS 2021), which the library `rliable` publishes; pass@k is Chen et al.,
"Evaluating Large Language Models Trained on Code" (2021), equation 1.

One run has no spread that could be measured: its interval is `None`, never a point that looks like certainty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from operant.core.errors import BadInput
from operant.core.random import derive_seed

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""A statistic maps score tables `[..., runs, tasks]` to `[...]`."""

CHUNK_ELEMENTS = 1 << 21  # resampled scores held at once: 16 MiB, so that large tables do not fill the memory


@dataclass(frozen=True)
class Interval:
    """A point estimate with its bootstrap interval.

    Attributes:
        point: the statistic of the scores as they are.
        low, high: the interval's ends, None where there is one run only.
        runs: runs behind it (the smaller count where two sets are compared).
        confidence: coverage aimed at, in (0, 1).
    """

    point: float
    low: float | None
    high: float | None
    runs: int
    confidence: float


@dataclass(frozen=True)
class Band:
    """A curve with its pointwise bootstrap band.

    Attributes:
        point: `[points]`.
        low, high: `[points]`, None where there is one run only.
        runs: runs behind it.
        confidence: coverage aimed at for each point by itself, in (0, 1).
    """

    point: NDArray[np.float64]
    low: NDArray[np.float64] | None
    high: NDArray[np.float64] | None
    runs: int
    confidence: float


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


def _generator(seed: int, repetitions: int, confidence: float) -> np.random.Generator:
    if repetitions < 1:
        raise BadInput(f"repetitions must be at least 1, got {repetitions}: 2000 is the usual number")
    if not 0.0 < confidence < 1.0:
        raise BadInput(f"confidence must lie between 0 and 1, got {confidence}: 0.95 is usual")
    return np.random.default_rng(derive_seed(seed, "bootstrap"))


def _ends(samples: NDArray[np.float64], confidence: float) -> NDArray[np.float64]:
    """The percentile interval of `[repetitions, ...]`: `[2, ...]`."""
    tail = (1.0 - confidence) / 2.0
    return np.quantile(samples, [tail, 1.0 - tail], axis=0)


def _counts(generator: np.random.Generator, repetitions: int, runs: int, tasks: int) -> NDArray[np.float64]:
    """How often each run is drawn in each task's resample: `[repetitions, tasks, runs]`, each last axis summing to `runs`."""
    return generator.multinomial(runs, np.full(runs, 1.0 / runs), size=(repetitions, tasks)).astype(np.float64)


def stratified_bootstrap(scores: ArrayLike, statistic: Statistic = iqm, *, repetitions: int = 2000, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Percentile interval of a statistic, from runs resampled with replacement for each task by itself (Agarwal et al. 2021, section 4.1).

    Args:
        scores: `[runs, tasks]` or `[runs]`.
        statistic: maps `[repetitions, runs, tasks]` to `[repetitions]`: `iqm`, `mean`, `median`, `optimality_gap`, or a callable of that form.
        repetitions: resamples.
        confidence: coverage, in (0, 1).
        seed: the same seed gives the same interval.

    Raises:
        BadInput: for scores that are empty or not finite, or arguments out of range.
    """
    table = _table(scores)
    if table.ndim != 2:
        raise BadInput(f"scores must be [runs, tasks], got shape {list(table.shape)}")
    band = sample_efficiency_curve(table[:, :, None], statistic, repetitions=repetitions, confidence=confidence, seed=seed)
    low, high = (None, None) if band.low is None or band.high is None else (float(band.low[0]), float(band.high[0]))
    return Interval(float(band.point[0]), low, high, band.runs, confidence)


def sample_efficiency_curve(scores: ArrayLike, statistic: Statistic = iqm, *, repetitions: int = 2000, confidence: float = 0.95, seed: int = 0) -> Band:
    """A statistic at each point of training, with its stratified bootstrap band (Agarwal et al. 2021, figure 6).

    A resample draws whole runs: the same runs stand at every point of one resampled curve.

    Args:
        scores: `[runs, tasks, points]`, the scores at shared numbers of steps.
        statistic, repetitions, confidence, seed: as in `stratified_bootstrap`.

    Returns:
        a Band with arrays `[points]`.

    Raises:
        BadInput: as `stratified_bootstrap`, and for scores that have not three axes.
    """
    curves = _table(scores)
    if curves.ndim != 3:
        raise BadInput(f"scores must be [runs, tasks, points], got shape {list(curves.shape)}")
    generator = _generator(seed, repetitions, confidence)
    curves = np.moveaxis(curves, 2, 0)  # [points, runs, tasks]: the statistic takes the last two axes
    points, runs, tasks = curves.shape
    point = np.asarray(statistic(curves), dtype=np.float64)
    if point.shape != (points,):
        raise BadInput(f"a statistic must map [{points}, {runs}, {tasks}] to [{points}], got {list(point.shape)}")
    if runs == 1:
        return Band(point, None, None, 1, confidence)
    samples = np.empty((repetitions, points))
    step = max(1, CHUNK_ELEMENTS // curves.size)
    for start in range(0, repetitions, step):
        drawn = generator.integers(runs, size=(min(step, repetitions - start), runs, tasks))
        resampled = curves[:, drawn, np.arange(tasks)]  # [points, step, runs, tasks]
        samples[start : start + step] = np.asarray(statistic(resampled.reshape(-1, runs, tasks))).reshape(points, -1).T
    low, high = _ends(samples, confidence)
    return Band(point, low, high, runs, confidence)


def probability_of_improvement(x: ArrayLike, y: ArrayLike, *, repetitions: int = 2000, confidence: float = 0.95, seed: int = 0) -> Interval:
    """How likely a run of X beats a run of Y on a task drawn at random; a tie counts one half (Agarwal et al. 2021, section 4.3; Mann and Whitney's U / nm).

    Args:
        x: `[n, tasks]` or `[n]`.
        y: `[m, tasks]` or `[m]`, the same tasks.
        repetitions, confidence, seed: as in `stratified_bootstrap`; runs of X and of Y are resampled independently for each task.

    Returns:
        an Interval in [0, 1]; without ends where X or Y is a single run.

    Raises:
        BadInput: for scores that are empty or not finite, or different numbers of tasks.
    """
    first, second = _table(x, "scores of X"), _table(y, "scores of Y")
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise BadInput(f"X and Y must be [runs, tasks] over the same tasks, got {list(first.shape)} and {list(second.shape)}")
    generator = _generator(seed, repetitions, confidence)
    (n, tasks), m = first.shape, second.shape[0]
    wins = np.sign(first[:, None, :] - second[None, :, :]) / 2.0 + 0.5  # [n, m, tasks]: 1 won, 1/2 tied, 0 lost
    point = float(wins.mean())
    if min(n, m) == 1:
        return Interval(point, None, None, min(n, m), confidence)
    drawn_x, drawn_y = _counts(generator, repetitions, n, tasks), _counts(generator, repetitions, m, tasks)
    scored = np.matmul(drawn_x.transpose(1, 0, 2), wins.transpose(2, 0, 1))  # [tasks, repetitions, m]
    samples = np.einsum("trm,rtm->r", scored, drawn_y) / (n * m * tasks)
    low, high = _ends(samples, confidence)
    return Interval(point, float(low), float(high), min(n, m), confidence)


def performance_profile(scores: ArrayLike, thresholds: ArrayLike, *, repetitions: int = 2000, confidence: float = 0.95, seed: int = 0) -> Band:
    """Share of all runs × tasks whose score is above each threshold, with a pointwise stratified bootstrap band (Agarwal et al. 2021, equation 1).

    Args:
        scores: `[runs, tasks]` or `[runs]`.
        thresholds: `[points]`, in the scores' units; a score equal to the threshold is not above it.
        repetitions, confidence, seed: as in `stratified_bootstrap`.

    Returns:
        a Band in [0, 1], `[points]`, falling in the threshold.

    Raises:
        BadInput: for scores that are empty or not finite, thresholds that are no vector, or arguments out of range.
    """
    table, taus = _table(scores), np.asarray(thresholds, dtype=np.float64)
    if table.ndim != 2 or taus.ndim != 1 or not taus.size:
        raise BadInput(f"scores must be [runs, tasks] and thresholds [points], got {list(table.shape)} and {list(taus.shape)}")
    generator = _generator(seed, repetitions, confidence)
    runs, tasks = table.shape
    above = (table.T.reshape(-1, 1) > taus).astype(np.float64)  # [tasks · runs, points]
    point = above.mean(axis=0)
    if runs == 1:
        return Band(point, None, None, 1, confidence)
    samples = _counts(generator, repetitions, runs, tasks).reshape(repetitions, -1) @ above / (runs * tasks)
    low, high = _ends(samples, confidence)
    return Band(point, low, high, runs, confidence)


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
