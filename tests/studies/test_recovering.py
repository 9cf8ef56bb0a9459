"""Schedules of recovering arms."""

from __future__ import annotations

import numpy as np
import pytest

from operant.studies.recovering_ppp import Schedule, curves, fitted, learn, plan, relaxation, rounded


def test_periods_by_hand():
    assert [rounded(period, 1)[0] for period in (1, 2, 3, 5, 9)] == [1, 2, 4, 8, 16]
    assert [rounded(period, 3) for period in (3, 5, 7, 9, 11)] == [(3, 3), (5, 5), (8, 1), (10, 5), (12, 3)]


def test_arms_of_a_base_share_a_pull():
    """1/2 + 1/4 + 1/4 of the steps are all there are; 1/3 more needs another pull."""
    schedule = fitted(np.array([0.5, 0.25, 0.25]), 2, 1)
    assert schedule.period.tolist() == [2, 4, 4] and schedule.most() == 1 and len(set((schedule.first % 4).tolist())) == 3
    assert fitted(np.array([0.5, 0.25, 0.25, 1 / 3]), 2, 1) is None and fitted(np.array([0.5, 0.25, 0.25, 1 / 3]), 2, 2).most() == 2
    assert schedule.value(np.array([[0.0, 1.0], [0.5, 1.0], [0.0, 0.4]])) == pytest.approx(1 / 2 + 1 / 4 + 0.4 / 4)


@pytest.mark.parametrize("pulls", [1, 3, 4])
def test_plans_fit_and_stay_below_the_bound(pulls: int):
    rng = np.random.default_rng(100 + pulls)
    for _ in range(5):
        reward = curves(4 * pulls, 8, rng)
        schedule = plan(reward, pulls)
        assert schedule.most() <= pulls and 0.5 * relaxation(reward, pulls) < schedule.value(reward) <= relaxation(reward, pulls) + 1e-12


def test_pulls_are_counted():
    assert Schedule(np.array([2, 3, 0]), np.array([0, 1, 0])).most() == 2


def test_learning_loses_less_and_less():
    rng = np.random.default_rng(100)
    reward = curves(3, 6, rng)
    early, late = (np.mean([learn(reward, 1, steps, 0.3, rng) for _ in range(4)]) / steps for steps in (400, 6_400))
    assert late < early
