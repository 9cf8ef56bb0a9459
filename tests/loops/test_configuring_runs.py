"""What configuring a run settles before it exists: learning rates that fit the model, bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operant.core.errors import BadInput
from operant.core.registry import get_method
from operant.loops.configuration import configure_run
from operant.loops.pairs import Pairs
from operant.loops.terms import NegativeLogLikelihood
from operant.worlds import make_world
from operant.worlds.text import models
from operant.worlds.text.models import count_parameters, make_model, make_tokenizer, save_policy

TASK = "text:arithmetic"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from operant.worlds import make_world

    tokenizer = make_tokenizer(make_world(TASK).problems.alphabet)
    path = tmp_path_factory.mktemp("model")
    save_policy(path, make_model("llama", len(tokenizer), 0, width=32, layers=1, heads=2), tokenizer)
    return str(path)


def rate(method: str = "grpo", **given) -> float:
    return configure_run(method, TASK, steps=1, episodes=1, hyperparameters=given)[0]["hyperparameters"]["learning_rate"]


def test_default_learning_rates_fall_with_the_root_of_the_models_size(folder, monkeypatch):
    assert count_parameters(folder) == sum(p.numel() for p in models.load_model(folder).parameters())
    assert rate() == rate(model=folder) == 3e-4  # below a million nothing changes
    monkeypatch.setattr(models, "count_parameters", lambda path: 100_000_000)
    assert rate(model=folder) == pytest.approx(3e-5) and rate("sft", model=folder) == pytest.approx(2e-4)
    assert rate(model=folder, lora_rank=2) == pytest.approx(3e-4) and rate(model=folder, learning_rate=1e-3) == 1e-3
    monkeypatch.setattr(models, "count_parameters", lambda path: 7_000_000_000)
    assert rate(model=folder) == pytest.approx(3.6e-6) and rate(model=folder, lora_rank=2) == pytest.approx(3.6e-5)
    (note,) = configure_run("grpo", TASK, steps=1, episodes=1, hyperparameters={"model": folder})[0]["notes"]
    assert note.startswith("learning_rate is 3.6e-06, 0.012 of the default 0.0003") and "--learning-rate sets another" in note


@pytest.mark.parametrize(("given", "says"), [({"seeds": 10**9}, "at most 10,000"), ({"hyperparameters": {"epochs": 10**30}}, "epochs")])
def test_what_could_never_end_is_refused(given, says):
    with pytest.raises(BadInput, match=says):
        configure_run("ppo", "gym:CartPole-v1", **given)


def spine(method: str, **changes):
    entry = get_method(method)
    return replace(entry.build(entry.hyperparameters()), **changes)


@pytest.mark.parametrize(
    ("loop", "task", "says"),
    [
        (lambda: Pairs([NegativeLogLikelihood()]), "gym:CartPole-v1", "no demonstrations"),
        (lambda: Pairs([NegativeLogLikelihood()]), "sequences:target", "no demonstrations"),
        (lambda: spine("iql"), "gym:Pendulum-v1", "no data set of transitions"),
        (lambda: spine("iql"), TASK, "no data set of transitions"),
        (lambda: spine("sac-v2"), TASK, "no steps to act in"),
        (lambda: spine("sac-v2"), "sequences:target", "no steps to act in"),
        (lambda: spine("ppo"), TASK, "plan is Steps"),
        (lambda: spine("ppo"), "sequences:target", "plan is Steps"),
        (lambda: spine("grpo"), "gym:CartPole-v1", "plan is Groups"),
        (lambda: spine("ppo", terms=spine("kdrl").terms), "gym:CartPole-v1", "no teacher to follow"),
    ],
)
def test_a_loop_is_told_of_a_channel_that_a_world_lacks_before_anything_is_made(loop, task, says):
    world = make_world(task)
    with pytest.raises(BadInput, match=says):
        loop().check(world, [0], 10, 1)
