"""What a Markov reward cannot ask for, by hand; and what a person's own ordering is told."""

from __future__ import annotations

import json
import math

import pytest
import torch

from operant import studies
from operant.cli.main import main
from operant.core.errors import BadInput
from operant.studies.objective_expressivity import (
    LimitAverage,
    LotteryFunction,
    MarkovReward,
    TemporalLogic,
    coin,
    leaving,
    markov_margin,
    ordering,
    two_steps,
    witnesses,
)

F64 = torch.float64


def test_values_by_hand():
    # leaving with probability 1/2 a step, discount 1/2: Σ (1/4)^t = 4/3 in the first state, which pays 1
    half = torch.tensor([[0.5, 0.5], [1.0, 0.0]], dtype=F64)
    first = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=F64)
    assert MarkovReward(first, 0.5).evaluate(leaving(), half) == pytest.approx(4 / 3)
    assert LimitAverage(first).evaluate(leaving(), half) == pytest.approx(0, abs=1e-12)
    assert LimitAverage(1 - first).evaluate(leaving(), half) == pytest.approx(1)
    always = torch.tensor([[[0, 1], [0, 0]], [[1, 1], [1, 1]]])  # goes to 1 where action 1 was taken in the first state: "eventually"
    assert TemporalLogic(always, torch.tensor([False, True])).evaluate(leaving(), half) == pytest.approx(1)
    assert TemporalLogic(always, torch.tensor([True, False])).evaluate(leaving(), torch.eye(2, dtype=F64)[[0, 0]]) == pytest.approx(1)


def test_the_chances_of_trajectories_sum_to_one_and_what_does_not_end_is_refused():
    third = torch.tensor([[1 / 3, 2 / 3]] * 3, dtype=F64)
    found = {tuple(action for _, action in pairs): chance for chance, pairs in two_steps().trajectories(third)}
    assert found == pytest.approx({(0, 0): 1 / 9, (0, 1): 2 / 9, (1, 0): 2 / 9, (1, 1): 4 / 9})
    number = LotteryFunction(torch.eye(2, dtype=F64)[[1, 1, 1]], lambda chances, returns: float((chances * returns).sum()))
    assert number.evaluate(two_steps(), third) == pytest.approx(4 / 3)
    with pytest.raises(BadInput, match="end within"):
        leaving().trajectories(torch.eye(2, dtype=F64)[[0, 0]])


def test_the_margin_by_hand():
    # one state, two actions: rewards within [-1, 1] tell the pure policies apart by 2, and put their mean 1 below the better and 1 above the worse
    occupancy = torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]], [[0.0, 1.0]]], dtype=F64)
    assert markov_margin(occupancy[[0, 2]], [[0], [1]])[0] == pytest.approx(2)
    margin, reward = markov_margin(occupancy, [[2], [1], [0]])
    assert margin == pytest.approx(1) and reward.tolist() == [[pytest.approx(-1), pytest.approx(1)]]
    assert markov_margin(occupancy, [[1], [0, 2]])[0] == pytest.approx(0, abs=1e-12)
    assert markov_margin(occupancy, [[0, 1, 2]])[0] == math.inf


def test_orderings_keep_ties():
    assert ordering([1.0, 3.0, 1.0 + 1e-12, 2.0]) == [[1], [3], [2, 0]]


def test_a_witness_is_told_as_it_is_meant():
    told = {witness.formalism: witness.told() for witness in witnesses()}
    assert len(told) == 12 and told["temporal logic"] == "01 ~ 10 > 00 ~ 11" and told["limit average"] == "0.5 ~ 1 > 0"
    assert coin().occupancy(torch.tensor([[0.3, 0.7]], dtype=F64), 0.9).tolist() == [[pytest.approx(0.3), pytest.approx(0.7)]]


def test_an_ordering_of_ones_own(tmp_path, capsys):
    study = ["study", "objective-expressivity", "--task", "tabular:chain"]
    assert main([*study, "--order", "00000,11111", "--out", str(tmp_path / "a"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["figures"]
    assert found["expressible"] and found["margin"] > 0
    assert main([*study, "--order", "00000=11111,01010=10101", "--out", str(tmp_path / "b")]) == 0
    # in the middle of a chain of two choices nothing is added up but what each is worth: equal mixtures are equally good
    assert "orders them so" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"task": "tabular:chain"}, "go together"),
        ({"task": "gym:CartPole-v1", "order": "0,1"}, "no finite MDP"),
        ({"task": "tabular:river-swim", "order": "000000,111111"}, "without, such as"),
        ({"task": "tabular:chain", "order": "0000,11111"}, "5 digits, 0 to 1"),
        ({"task": "tabular:chain", "order": "00000,00000"}, "twice"),
        ({"task": "tabular:chain", "order": "00000=11111"}, "nothing below"),
    ],
)
def test_bad_orderings_are_one_line(options, says, tmp_path):
    with pytest.raises(BadInput, match=says):
        studies.run("objective-expressivity", out=tmp_path / "study", **options)
    assert not (tmp_path / "study").exists()
