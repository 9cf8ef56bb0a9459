"""Statistics against numbers worked by hand, literal loops, and enumeration of every resample."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats

from operant.core.errors import BadInput
from operant.evaluate.statistics import (
    iqm,
    mean,
    median,
    optimality_gap,
    pass_at_k,
    performance_profile,
    probability_of_improvement,
    sample_efficiency_curve,
    stratified_bootstrap,
    t_quantile,
)


def literal_trim_mean(values: list[float]) -> float:
    """scipy.stats.trim_mean(values, 0.25), as its documentation words it: slice off int(0.25 n) at each end of the sorted values."""
    ordered = sorted(values)
    cut = int(0.25 * len(ordered))
    kept = ordered[cut : len(ordered) - cut]
    return sum(kept) / len(kept)


def test_iqm_by_hand() -> None:
    assert iqm([1, 2, 3, 4, 5, 6, 7, 100]) == 4.5  # (3 + 4 + 5 + 6) / 4
    assert iqm([[0, 10], [2, 100]]) == 6.0  # one of four cut at each end: (2 + 10) / 2
    assert iqm([5, 1, 9, 2, 1000]) == pytest.approx(16 / 3)  # floor(5 / 4) = 1 cut at each end
    assert iqm([1, 2, 9]) == 4.0  # below four values nothing is cut


@pytest.mark.parametrize("count", range(1, 18))
def test_iqm_is_the_literal_trimmed_mean_for_every_remainder(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    assert iqm(values) == pytest.approx(literal_trim_mean(values.tolist()), abs=1e-14)


def test_aggregates_by_hand() -> None:
    scores = np.array([[0.0, 1.0, 2.0], [1.0, 3.0, 0.0]])  # two runs, three tasks; task means 0.5, 2, 1
    assert mean(scores) == pytest.approx(7 / 6)
    assert median(scores) == 1.0  # of the task means, as rliable's aggregate_median
    assert median([1.0, 2.0, 9.0]) == 4.0  # one task: its mean
    assert optimality_gap(scores) == pytest.approx(1 - (0 + 1 + 1 + 1 + 1 + 0) / 6)
    assert optimality_gap(scores, target=3.0) == pytest.approx(3 - 7 / 6)


def test_aggregates_reduce_the_last_two_axes() -> None:
    tables = np.random.default_rng(0).normal(size=(5, 6, 3))
    for statistic in (iqm, mean, median, optimality_gap):
        np.testing.assert_allclose(statistic(tables), [statistic(table) for table in tables], atol=1e-14)


def test_the_quantile_of_t_is_scipys() -> None:
    for freedom in (1, 2, 3, 4, 5, 8, 9, 30, 201):
        for probability in (0.6, 0.9, 0.975, 0.995):
            assert t_quantile(probability, freedom) == pytest.approx(scipy.stats.t.ppf(probability, freedom), rel=1e-9)


def test_the_interval_of_a_mean_is_students() -> None:
    scores = [0.0, 1.0, 5.0]
    interval = stratified_bootstrap(scores, mean, repetitions=200_000)
    low, high = scipy.stats.t.interval(0.95, 2, 2.0, scipy.stats.sem(scores))
    assert interval.point == 2.0 and interval.level == "95 %" and interval.runs == 3
    np.testing.assert_allclose([interval.low, interval.high], [low, high], atol=0.03)


def test_the_interval_has_the_standard_error_of_all_resamples() -> None:
    """With four runs every resample can be written down: 256 of them."""
    scores = [0.0, 1.0, 5.0, 9.0]
    error = np.std([literal_trim_mean(list(each)) for each in itertools.product(scores, repeat=4)])
    reach = scipy.stats.t.ppf(0.9, 3) * math.sqrt(4 / 3) * error
    interval = stratified_bootstrap(scores, repetitions=100_000, confidence=0.8, seed=3)
    np.testing.assert_allclose([interval.low, interval.high], [3 - reach, 3 + reach], rtol=0.01)


def test_bootstrap_resamples_each_task_by_itself() -> None:
    """Two tasks, opposite in every run: drawn together their mean would never move; drawn apart its variance is a quarter of 2 · 1/8."""
    scores = np.array([[0.0, 1.0], [1.0, 0.0]])
    reach = scipy.stats.t.ppf(0.975, 2) * math.sqrt(2) * math.sqrt(1 / 16)
    interval = stratified_bootstrap(scores, mean, repetitions=40_000, seed=0)
    np.testing.assert_allclose([interval.low, interval.high], [0.5 - reach, 0.5 + reach], atol=0.02)
    curve = sample_efficiency_curve(scores[:, :, None].repeat(2, axis=2), mean, repetitions=40_000, seed=0)
    np.testing.assert_allclose(curve.low, interval.low, rtol=1e-12)
    cut = stratified_bootstrap(scores, mean, bounds=(0.0, 1.0))
    assert (cut.low, cut.high) == (0.0, 1.0)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """At five seeds, where the quantiles of the resamples cover nine times of ten. Three standard errors of 600 trials are 2.7 points."""
    rng = np.random.default_rng(0)
    covered = narrow = 0
    for trial in range(600):
        scores = rng.normal(size=5)
        interval = stratified_bootstrap(scores, repetitions=200, seed=trial)
        covered += interval.low <= 0.0 <= interval.high
        low, high = np.quantile(iqm(rng.choice(scores, (200, 5, 1))), [0.025, 0.975])
        narrow += low <= 0.0 <= high
    assert covered / 600 >= 0.925 and narrow / 600 < 0.925


def test_two_runs_have_a_range_and_no_interval() -> None:
    interval = stratified_bootstrap([7.0, 5.0])
    assert (interval.point, interval.low, interval.high) == (6.0, 5.0, 7.0)
    assert interval.confidence is None and interval.level == "range of 2 seeds"
    assert sample_efficiency_curve(np.ones((2, 1, 4))).level == "range of 2 seeds"
    assert stratified_bootstrap([1.0]).level == "1 seed"


def test_equal_scores_have_no_spread() -> None:
    interval = stratified_bootstrap([0.3] * 5)  # the mean of three 0.3 is not 0.3
    assert interval.low == interval.high == interval.point == pytest.approx(0.3)


def test_bootstrap_is_a_function_of_its_seed() -> None:
    scores = np.random.default_rng(0).normal(size=(10, 3))
    first = stratified_bootstrap(scores, seed=1)
    assert first == stratified_bootstrap(scores, seed=1)
    assert first != stratified_bootstrap(scores, seed=2)
    assert first.low < first.point < first.high


def test_a_table_larger_than_a_chunk_is_bootstrapped_the_same_way() -> None:
    scores = np.random.default_rng(0).normal(size=(400, 30))  # 2000 resamples are 24 million numbers: several chunks
    interval = stratified_bootstrap(scores, mean, seed=0)
    error = scores.std(axis=0).mean() / math.sqrt(scores.size)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_one_run_has_no_interval() -> None:
    assert stratified_bootstrap([3.0]).low is None
    assert stratified_bootstrap([[3.0, 4.0]]).high is None
    assert stratified_bootstrap([[3.0, 4.0]]).runs == 1
    assert probability_of_improvement([3.0], [1.0, 2.0]).low is None
    assert probability_of_improvement([3.0, 4.0], [1.0]).high is None
    assert performance_profile([3.0], [1.0]).low is None
    assert sample_efficiency_curve(np.ones((1, 1, 4))).low is None


def test_probability_of_improvement_by_hand() -> None:
    # Task 1: 3 beats 1 and 2, 2 beats 1 and ties with 2: (1 + 1 + 1 + 1/2) / 4. Task 2: every pair lost.
    x, y = [[3.0, 0.0], [2.0, 0.0]], [[1.0, 5.0], [2.0, 6.0]]
    assert probability_of_improvement(x, y).point == pytest.approx(3.5 / 8)
    assert probability_of_improvement([1.0, 1.0], [1.0, 1.0, 1.0]).point == 0.5


def test_probability_of_improvement_is_a_literal_double_loop_with_unequal_runs() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.integers(0, 4, size=(5, 3)).astype(float), rng.integers(0, 4, size=(7, 3)).astype(float)
    total = 0.0
    for task in range(3):
        for a in x[:, task]:
            for b in y[:, task]:
                total += 1.0 if a > b else 0.5 if a == b else 0.0
    found = probability_of_improvement(x, y)
    assert found.point == pytest.approx(total / (3 * 5 * 7))
    assert probability_of_improvement(y, x).point == pytest.approx(1 - found.point)
    assert 0.0 <= found.low <= found.point <= found.high <= 1.0


def test_complete_separation_is_no_certainty() -> None:
    """θ at which 1 − θ is t(8) standard errors, V(θ) = θ (1 − θ) (1 + 4 ((1 − θ) / (2 − θ) + θ / (1 + θ))) / 25, by hand."""
    found = probability_of_improvement([3.0, 4.0, 5.0, 6.0, 7.0], [0.0, 0.1, 0.2, 0.3, 0.4])
    theta = found.low
    variance = theta * (1 - theta) * (1 + 4 * ((1 - theta) / (2 - theta) + theta / (1 + theta))) / 25
    assert found.point == found.high == 1.0 and 0.5 < theta < 0.6
    assert (1 - theta) / math.sqrt(variance) == pytest.approx(scipy.stats.t.ppf(0.975, 8))
    turned = probability_of_improvement([0.0, 0.1, 0.2, 0.3, 0.4], [3.0, 4.0, 5.0, 6.0, 7.0])
    assert (turned.low, turned.high) == (0.0, pytest.approx(1 - theta))


@pytest.mark.parametrize(("truth", "spread"), [(0.5, 1.0), (0.7, 4.0), (0.92, 1.0), (0.92, 4.0), (0.99, 1.0)])
@pytest.mark.parametrize("runs", [2, 5, 10])
def test_the_interval_of_the_probability_of_improvement_holds_its_level(truth: float, spread: float, runs: int) -> None:
    """X is normal with deviation `spread`, Y with deviation 1. Three standard errors of 600 trials are 2.7 points."""
    rng = np.random.default_rng(0)
    shift = scipy.stats.norm.ppf(truth) * math.hypot(spread, 1.0)
    covered = 0
    for _ in range(600):
        found = probability_of_improvement(rng.normal(shift, spread, runs), rng.normal(0.0, 1.0, runs))
        covered += found.low <= truth <= found.high
    assert covered / 600 >= 0.92


def test_more_tasks_narrow_the_probability_of_improvement() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(5, 16)) + 0.5, rng.normal(size=(5, 16))
    one, many = probability_of_improvement(x[:, 0], y[:, 0]), probability_of_improvement(x, y)
    assert many.high - many.low < (one.high - one.low) / 2


def test_performance_profile_by_hand() -> None:
    scores = [[0.0, 0.5], [1.0, 0.5]]
    band = performance_profile(scores, [-1.0, 0.0, 0.5, 1.0])
    assert band.point.tolist() == [1.0, 0.75, 0.25, 0.0]  # a score equal to the threshold is not above it
    wilson = scipy.stats.binomtest(3, 4).proportion_ci(method="wilson")
    assert (band.low[1], band.high[1]) == (pytest.approx(wilson.low), pytest.approx(wilson.high))
    assert band.high[0] == 1.0 and band.low[3] == 0.0 and 0.4 < band.low[0] < 0.6


def test_sample_efficiency_curve_points_are_the_statistic_of_each_point() -> None:
    scores = np.random.default_rng(0).normal(size=(9, 2, 5))
    band = sample_efficiency_curve(scores)
    np.testing.assert_allclose(band.point, [literal_trim_mean(scores[:, :, i].ravel().tolist()) for i in range(5)])
    assert ((band.low < band.point) & (band.point < band.high)).all()


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_pass_at_k_is_the_share_of_draws_with_a_correct_sample(n: int) -> None:
    for c in range(n + 1):
        for k in range(1, n + 1):
            draws = list(itertools.combinations([1] * c + [0] * (n - c), k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-14)


def test_pass_at_k_is_stable_where_binomials_overflow() -> None:
    n, c, k = 10_000, 12, 700
    exact = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
    assert pass_at_k(n, c, k) == pytest.approx(float(exact), rel=1e-12)
    assert pass_at_k(n, n // 2, n // 2 + 1) == 1.0


def test_pass_at_k_takes_problems_with_different_counts() -> None:
    np.testing.assert_allclose(pass_at_k([4, 8], [2, 0], 2), [5 / 6, 0.0], atol=1e-15)  # 1 - C(2, 2) / C(4, 2)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 2, 5), (4, 2, 0), (4, 5, 2), (4, -1, 2), (4.0, 2, 2)])
def test_pass_at_k_refuses_what_samples_cannot_say(n: float, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="pass@|correct"):
        pass_at_k(n, c, k)


@pytest.mark.parametrize("scores", [[], [[]], [1.0, float("nan")], [float("inf")], 3.0])
def test_scores_that_cannot_be_aggregated_are_refused(scores: object) -> None:
    for statistic in (iqm, mean, median, optimality_gap, stratified_bootstrap):
        with pytest.raises(BadInput, match="scores"):
            statistic(scores)


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(BadInput, match=r"confidence.*0\.95"):
        stratified_bootstrap([1.0, 2.0], confidence=95)
    with pytest.raises(BadInput, match="repetitions"):
        stratified_bootstrap([1.0, 2.0], repetitions=0)
    with pytest.raises(BadInput, match="confidence"):
        performance_profile([1.0, 2.0], [0.0], confidence=0.0)
    with pytest.raises(BadInput, match="same tasks"):
        probability_of_improvement([[1.0, 2.0]], [[1.0]])
    with pytest.raises(BadInput, match="points"):
        sample_efficiency_curve([[1.0]])
    with pytest.raises(BadInput, match="statistic must map"):
        stratified_bootstrap([1.0, 2.0], lambda scores: scores)


def test_calibration_error_by_hand():
    from operant.evaluate.statistics import expected_calibration_error

    # bin 2: two answers at 0.25, one right (gap 0.25); bin 9: two at 1.0, one right (gap 0.5)
    assert expected_calibration_error([0.25, 0.25, 1.0, 1.0], [1, 0, 1, 0]) == pytest.approx(0.5 * 0.25 + 0.5 * 0.5)
    assert expected_calibration_error([0.0, 1.0], [0, 1]) == 0.0
    for bad in (([], []), ([0.5], [1, 0]), ([1.5], [1])):
        with pytest.raises(BadInput, match="calibration"):
            expected_calibration_error(*bad)
