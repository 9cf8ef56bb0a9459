"""What a plan settles before a run exists: learning rates that fit the model, bounds."""

from __future__ import annotations

import pytest

from operant.core.errors import BadInput
from operant.loops.planning import plan
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
    return plan(method, TASK, steps=1, episodes=1, hyperparameters=given)[0]["hyperparameters"]["learning_rate"]


def test_default_learning_rates_fall_with_the_root_of_the_models_size(folder, monkeypatch):
    assert count_parameters(folder) == sum(p.numel() for p in models.load_model(folder).parameters())
    assert rate() == rate(model=folder) == 3e-4  # below a million nothing changes
    monkeypatch.setattr(models, "count_parameters", lambda path: 100_000_000)
    assert rate(model=folder) == pytest.approx(3e-5) and rate("sft", model=folder) == pytest.approx(2e-4)
    assert rate(model=folder, lora_rank=2) == pytest.approx(3e-4) and rate(model=folder, learning_rate=1e-3) == 1e-3
    monkeypatch.setattr(models, "count_parameters", lambda path: 7_000_000_000)
    assert rate(model=folder) == pytest.approx(3.6e-6) and rate(model=folder, lora_rank=2) == pytest.approx(3.6e-5)
    (note,) = plan("grpo", TASK, steps=1, episodes=1, hyperparameters={"model": folder})[0]["notes"]
    assert note.startswith("learning_rate is 3.6e-06, 0.012 of the default 0.0003") and "--learning-rate sets another" in note


@pytest.mark.parametrize(("given", "says"), [({"seeds": 10**9}, "at most 10,000"), ({"hyperparameters": {"epochs": 10**30}}, "epochs")])
def test_what_could_never_end_is_refused(given, says):
    with pytest.raises(BadInput, match=says):
        plan("ppo", "gym:CartPole-v1", **given)
