"""Presets: every one is a setting of its method and a command line, what is given besides wins, and a run says what it took."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path

import pytest

import operant
from operant.cli.main import parse
from operant.core.errors import BadInput
from operant.core.registry import configure, get_method
from operant.loops.configuration import configure_run
from operant.loops.presets import PRESETS, find_preset

SOME = {"threads": 1, "progress": False, "episodes": 1}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: f"{preset.name}-{preset.method}-{preset.task}")
def test_a_preset_sets_what_its_method_has_to_what_is_no_default(preset):
    entry = get_method(preset.method)
    h = asdict(configure(preset.method, dict(preset.settings)))
    entry.build(configure(preset.method, dict(preset.settings)))
    usual = asdict(entry.hyperparameters())
    assert {name for name in h if h[name] != usual[name]} <= set(preset.settings)
    _, args = parse(shlex.split(preset.command)[1:])
    assert (args.method, args.task, args.steps) == (preset.method, f"gym:{preset.task}", preset.steps)
    assert asdict(configure(preset.method, args.hyperparameters)) == h


def test_what_is_given_besides_wins_and_the_run_says_so(tmp_path: Path):
    preset = find_preset("zoo", "sac-v2", "Pendulum-v1")
    config, _, _ = configure_run("sac-v2", "gym:Pendulum-v1", preset="zoo", hyperparameters={"sac-v2.learning_rate": "1e-4", "batch_size": 8})
    assert config["steps"] == preset.steps == 20_000 and config["preset"] == {"name": "zoo", "source": preset.source}
    found = config["hyperparameters"]
    assert (found["learning_rate"], found["batch_size"], found["learning_starts"]) == (1e-4, 8, 100)
    assert config["notes"][0].startswith("--preset zoo: operant train sac-v2 --task gym:Pendulum-v1 --steps 20000 --learning-rate 0.0001 --learning-starts 100")
    for budget in ({"steps": 100}, {"seconds": 5}):
        assert configure_run("sac-v2", "Pendulum-v1", preset="zoo", **budget)[0]["budget"]["amount"] == next(iter(budget.values()))
    run = operant.train("sac-v2", "gym:Pendulum-v1", preset="zoo", steps=4, hidden=(8,), out=tmp_path / "run", **SOME)
    assert operant.load(run.path).config["preset"]["name"] == "zoo" and run.config["hyperparameters"]["learning_starts"] == 100


@pytest.mark.parametrize(
    ("name", "method", "task", "said"),
    [
        ("zo", "ppo", "gym:CartPole-v1", "unknown preset 'zo': did you mean zoo?"),
        ("zoo", "sac-v2", "gym:MountainCarContinuous-v0", "has no settings of sac-v2 on gym:MountainCarContinuous-v0; it has those for sac-v2 Pendulum-v1"),
        ("zoo", "random", "gym:Acrobot-v1", "it has those for Acrobot-v1 ppo"),
        ("zoo", "grpo", "text:arithmetic", "operant presets lists them"),
        ("zoo", "ppo", lambda: None, "has no settings of ppo on that task"),
    ],
)
def test_what_there_is_not_is_said(name: str, method: str, task, said: str):
    with pytest.raises(BadInput) as refused:
        find_preset(name, method, task)
    assert said in str(refused.value)
