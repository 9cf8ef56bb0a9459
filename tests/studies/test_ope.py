"""Off-policy estimators of whole data sets, held against each other and against exact values."""

from __future__ import annotations

import json

import pytest
import torch

from operant import studies
from operant.cli.main import main
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.studies.ope import Logged, OpeOptions, crossed, estimators, logged, problem


@pytest.fixture(scope="module")
def data() -> tuple[Logged, float]:
    mdp, target, behaviour = problem(OpeOptions())
    return logged(mdp, target, behaviour, 400, Streams(range(100, 110))), mdp.start_value(mdp.value(target))[0].item()


def test_every_estimator_is_near_the_value(data):
    found, value = data
    for name, estimate in estimators().items():
        each = estimate(found)
        assert each.shape == (10,) and abs(each.mean().item() - value) < (0.5 if name == "ips" else 0.2), name


def test_a_policys_own_episodes_are_worth_their_mean():
    mdp, target, _ = problem(OpeOptions())
    found = logged(mdp, target, target, 50, Streams([100]))
    mean = found.reward.sum(-1).mean(-1)
    assert torch.allclose(found.ratio, torch.ones_like(found.ratio))
    for name in ("ips", "per-decision", "snips", "dice"):
        assert torch.allclose(estimators()[name](found), mean), name


def test_switching_goes_from_the_model_to_dr(data):
    found, _ = data
    of = {threshold: estimators(threshold)["switch"](found) for threshold in (1e-9, 1e9)}
    assert torch.allclose(of[1e9], estimators()["dr"](found))
    first, second = found.halves()
    model = [here.met(there.model)[1][..., 0].mean(-1) for here, there in ((first, second), (second, first))]
    assert torch.allclose(of[1e-9], sum(model) / 2)


def test_halves_give_each_other_their_models(data):
    found, _ = data
    first, second = found.halves()
    assert first.reward.shape[1] == second.reward.shape[1] == 200
    nothing = crossed(found, lambda half: torch.zeros_like(half.model))
    assert torch.allclose(nothing, estimators()["per-decision"](found))


def test_the_study_says_all_of_them(tmp_path, capsys):
    words = ["study", "ope", "--task", "tabular:river-swim", "--horizon", "4", "--episodes", "40", "--repeats", "10", "--out", str(tmp_path / "a"), "--json"]
    assert main(words) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert set(figures["episodes"]["40"]) == set(estimators()) and figures["value"] > figures["behaviour_value"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"task": "gym:CartPole-v1"}, "no finite MDP"),
        ({"task": "tabular:chain"}, "give --horizon"),
        ({"behaviour_epsilon": 0.0}, "says nothing of them"),
        ({"repeats": 10**8}, "take fewer --repeats"),
    ],
)
def test_bad_options_are_one_line(options, says, tmp_path):
    with pytest.raises(BadInput, match=says):
        studies.run("ope", out=tmp_path / "study", **options)
