"""When every optimal agent changes for ever, on chains that can be worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from operant import studies
from operant.core.errors import BadInput
from operant.studies.continual_rl_definition import RULES, ContinualOptions, enumerated, played


def rule(stays: bool) -> int:
    """Keep the behaviour, or take the other one, whatever is seen: bit (behaviour, arm, reward) is the next behaviour."""
    return sum(((behaviour if stays else 1 - behaviour) << (4 * behaviour + 2 * arm + reward)) for behaviour in (0, 1) for arm in (0, 1) for reward in (0, 1))


def test_averages_and_what_is_reached_by_hand():
    found = enumerated((0.8, 0.2), 0.0, 0.1)
    assert len(found.average) == 2 * RULES
    keeps, swaps = 2 * rule(True), 2 * rule(False)
    assert found.average[keeps] == pytest.approx(0.95 * 0.8 + 0.05 * 0.2) and found.average[keeps + 1] == pytest.approx(0.05 * 0.8 + 0.95 * 0.2)
    assert found.average[swaps] == pytest.approx(0.5) and found.reaches[keeps] and not found.reaches[swaps]
    assert found.average.max() == pytest.approx(found.average[keeps]) and not found.continual


def test_arms_that_change_places_make_it_continual_and_coin_flips_do_not():
    assert enumerated((0.8, 0.2), 0.01, 0.0).continual
    assert not enumerated((0.8, 0.2), 0.5, 0.0).continual  # nothing that was seen tells what comes: to keep is as good
    assert not enumerated((0.5, 0.5), 0.01, 0.0).continual  # and so it is where arms are alike


def test_win_stay_lose_shift_is_optimal_by_hand():
    # without exploration and with sure arms, one change of places costs one step: the share of steps behind a change is what is lost
    found = enumerated((1.0, 0.0), 0.1, 0.0)
    assert found.average.max() == pytest.approx(0.9)


def test_runs_tell_the_last_change():
    options = ContinualOptions(steps=400, runs=20, commits=(50, 100), step_sizes=(0.2,), seed=100)
    found = played(options, 0.05)
    place = {name: index for index, name in enumerate(found.names)}
    assert not found.last[[place["arm 0"], place["arm 1"]]].any()
    assert found.last[place["commit after 50"]].max() <= 50 and found.quiet(400)[place["commit after 100"]] == 1
    assert found.rate[place["Q-learning, 0.2"]].min() > 0 and found.curve.shape == (len(found.names), 20, len(found.at))
    assert np.allclose(found.curve[..., -1], found.reward)


def test_two_arms_are_needed(tmp_path):
    with pytest.raises(BadInput, match="two numbers"):
        studies.run("continual-rl-definition", out=tmp_path / "study", means=(0.1, 0.2, 0.3))
