"""Names of environments of a person's own that are nearly right: what would be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from operant.core.errors import BadInput
from operant.core.registry import get_method
from operant.loops.configuration import check_kind
from operant.worlds import check_name, make_world

MODULE = """
import gymnasium

def corridor():
    return gymnasium.make("CartPole-v1")
"""


@pytest.mark.parametrize(("task", "told"), [
    ("gym:block-gird", "unknown Gymnasium environment 'block-gird': did you mean block-grid"),
    ("gym:own_names_environment:corridoor", "own_names_environment has no function, class or id corridoor: did you mean corridor?"),
    ("gym:own_names_environment:nothing-near", "own_names_environment has no function, class or id nothing-near: known: corridor"),
    ("gym:own_names_environment.py:corridor", "modules are named without .py: gym:own_names_environment:corridor"),
    ("gym:own_name_environment:corridor", "No module named 'own_name_environment'; .* and in the working directory, .*: did you mean own_names_environment"),
    ("agents:own_name_environment:corridor", "No module named 'own_name_environment'; .* and in the working directory, .*: did you mean own_names_environment"),
    ("tabular:own_name_environment:corridor", "No module named 'own_name_environment'; .* and in the working directory, .*: did you mean own_names_envi"),
    ("own_names_environment:corridor", "an environment of a module of your own is gym:own_names_environment:corridor"),
    ("own_names_environment.py:corridor", "an environment of a module of your own is gym:own_names_environment:corridor"),
])  # fmt: skip
def test_what_a_name_was_meant_to_be(task: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "own_names_environment.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        with pytest.raises(BadInput, match=told):
            check_name(task)
            make_world(task)
    finally:
        sys.modules.pop("own_names_environment", None)


@pytest.mark.parametrize("task", ["tabular:kuhn-poker", "tabular:river-swim", "tabular:own.npz"])
def test_methods_that_are_named_take_the_task(task: str):
    with pytest.raises(BadInput, match="take value-iteration, …; cfr where it is a game"):
        check_kind(get_method("ppo"), task, "tabular")
