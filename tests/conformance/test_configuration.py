"""A method's hyper-parameters survive the run's file, and its documentation exists."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from battery import Case, worlds

from operant.cli.main import main
from operant.core.errors import BadInput
from operant.core.registry import configure, get_method, methods

KEYS = list(methods())


@pytest.mark.parametrize("key", KEYS)
def test_hyperparameters_round_trip_through_json(key: str):
    default = get_method(key).hyperparameters()
    changes = {int: lambda x: x * 2, float: lambda x: x * 0.75, tuple: lambda x: x * 2, bool: lambda x: not x}
    values = {item.name: getattr(default, item.name) for item in fields(default)}
    changed = {name: changes[type(value)](value) for name, value in values.items() if type(value) in changes}
    for h in (default, replace(default, **changed)):
        again = configure(key, json.loads(json.dumps(asdict(h))))
        assert again == h
        assert [type(getattr(again, item.name)) for item in fields(h)] == [type(getattr(h, item.name)) for item in fields(h)]
    for name, value in asdict(default).items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert getattr(configure(key, {name: text}), name) == value


@pytest.mark.parametrize("key", KEYS)
def test_hyperparameters_are_frozen_and_explained(key: str):
    from operant.core.registry import hyperparameters

    cls = get_method(key).hyperparameters
    assert cls.__dataclass_params__.frozen
    assert [item.name for item in hyperparameters(cls) if not item.help] == []


@pytest.mark.parametrize("key", KEYS)
def test_an_unknown_hyperparameter_names_the_nearest(key: str):
    names = [item.name for item in fields(get_method(key).hyperparameters)]
    wrong = f"{names[0]}s" if names else "learning_rate"
    with pytest.raises(BadInput) as told:
        configure(key, {wrong: 1})
    assert repr(wrong) in str(told.value) and "\n" not in str(told.value)
    assert not names or f"did you mean {names[0]}" in str(told.value)


@pytest.mark.parametrize("key", KEYS)
def test_show_and_help_exist(key: str, capsys: pytest.CaptureFixture[str]):
    entry = get_method(key)
    for words in (["show", key], ["train", key, "--help"]):
        assert main(words) == 0
        out = capsys.readouterr().out
        for item in fields(entry.hyperparameters):
            assert item.name in out or item.name.replace("_", "-") in out, f"{' '.join(words)} does not name {item.name}"
        assert entry.doc.splitlines()[0].split(":")[0] in out


@pytest.mark.parametrize("key", KEYS)
def test_the_documentation_names_the_paper(key: str):
    entry = get_method(key)
    assert entry.doc.strip() and entry.family
    if not entry.baseline:
        assert entry.paper.removeprefix("arXiv:") in entry.doc
        assert re.search(r"\b(eq|equation|section|algorithm|table)\b\.?|[=/+−‖·√∑Σ]", entry.doc, re.IGNORECASE), "which equation, or what does it compute?"


@worlds()
def test_a_run_keeps_its_configuration(case: Case, tmp_path: Path):
    """As run.json has it, after the smallest of runs."""
    import operant

    steps = {"gym": 32, "data": 6, "text": 1, "preferences": 1, "sequences": 1, "generative": 1, "agents": 64, "tabular": 4}[case.kind]
    run = operant.train(case.key, case.task, steps=steps, seed=3, threads=1, episodes=1, out=tmp_path / "run", **case.values(batch_size=8))
    config = json.loads((tmp_path / "run" / "run.json").read_text())
    assert configure(case.key, config["hyperparameters"]) == configure(case.key, case.values(batch_size=8))
    assert (config["method"], config["task"], config["seeds"], config["seed"], config["threads"]) == (case.key, case.task, 1, 3, 1)
    assert config["versions"]["torch"] and config["hardware"]["cores"]
    assert config["resume"] == "bitwise"
    assert run.result == json.loads((tmp_path / "run" / "result.json").read_text())
