"""What a person writes in a decorator is read like what is typed: a wrong word is one line that says which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from operant import BadInput, method, studies
from operant.bench import harness
from operant.cli.main import main
from operant.core.index import Register
from operant.core.registry import WORLDS
from operant.evidence import check
from operant.loops.value_learning import ValueLearning
from operant.worlds import SCHEMES
from operant.worlds.text.decoders import decoder


@dataclass(frozen=True)
class Nothing:
    pass


def of_method(key: str = "mine", **given):
    def build(h: Nothing) -> ValueLearning: ...

    build.__annotations__ = {"h": Nothing, "return": ValueLearning}
    return method(key, **{"family": "mine", "paper": "none", "worlds": ("gym",)} | given)(build)


def of_study(key: str = "mine", paper: object = "none", summary: object = "mine"):
    def conduct(options: Nothing, folder, say): ...

    conduct.__annotations__ = {"options": Nothing}
    return studies.study(key, paper=paper, summary=summary)(conduct)


def of_check(key: str = "mine", name: object = "one", tier: object = "exact", says: object = "It holds."):
    return check(key, name, tier, says)(lambda folder: None)


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch):
    """What a case registers is refused, and where it is not, forgotten."""
    monkeypatch.setattr(Register, "add", lambda self, key, entry, module: self.check_key(key, module))


WRONG = [
    (lambda: of_method(worlds=("gmy",)), "unknown kind of worlds of method mine: 'gmy': did you mean gym?"),
    (lambda: of_method(worlds="gym"), r"method mine: worlds = 'gym' is no tuple of kinds; write worlds=\('gym',\)"),
    (lambda: of_method(worlds=()), r"method mine: worlds = \(\) is no tuple of kinds"),
    (lambda: of_method(worlds=(3,)), "unknown kind of worlds of method mine: '3'"),
    (lambda: of_method(actions=("discret",)), "unknown kind of actions of method mine: 'discret': did you mean discrete?"),
    (lambda: of_method(actions="continuous"), r"actions = 'continuous' is no tuple of kinds; write actions=\('continuous',\)"),
    (lambda: of_method(family=None), "method mine: family = None is no text"),
    (lambda: of_method(paper=2015), "method mine: paper = 2015 is no text"),
    (lambda: of_method(name=""), "method mine: name = '' is no text"),
    (lambda: of_method(example="Pendulum-v1"), "example = 'Pendulum-v1' is no task; write it with its kind"),
    (lambda: of_method("my method"), "method 'my method' of .*: its name is letters"),
    (lambda: of_method("--mine"), "method '--mine' of .*: its name is letters"),
    (lambda: of_method("ppo"), "method 'ppo' is registered twice: by operant.methods.online.ppo and by "),
    (lambda: of_study(3), "study 3 of .*: its name is letters"),
    (lambda: of_study(paper=None), "study mine: paper = None is no text"),
    (lambda: of_study(summary=" "), "study mine: summary = ' ' is no text"),
    (lambda: of_study("lite-ppo"), "study 'lite-ppo' is registered twice"),
    (lambda: of_check(tier="exct"), "unknown tier of check 'one' of mine: 'exct': did you mean exact?"),
    (lambda: of_check(says=None), "check of mine: says = None is no text"),
    (lambda: of_check(""), "check '' of .*: its name is letters"),
    (lambda: harness.bench("a bench")(lambda: None), "bench 'a bench' of .*: its name is letters"),
    (lambda: decoder("")(lambda candidates: [0]), "decoder '' of .*: its name is letters"),
    (lambda: decoder("mine", plan=8)(lambda candidates: [0]), "decoder mine: plan = 8 makes no sampling plan"),
]


@pytest.mark.parametrize(("write", "words"), WRONG)
def test_a_wrong_word_in_a_decorator_is_named(write, words: str):
    with pytest.raises(BadInput, match=words) as told:
        write()
    assert "\n" not in str(told.value)


def test_the_kinds_of_worlds_are_those_of_tasks():
    assert set(WORLDS) == {scheme.kind for scheme in SCHEMES.values()}


def test_it_is_one_line_on_the_command_line(tmp_path: Path, capsys):
    file = tmp_path / "mistaken_kind.py"
    file.write_text(
        "from dataclasses import dataclass\nimport operant\nfrom operant.loops.value_learning import ValueLearning\n\n\n"
        "@dataclass(frozen=True)\nclass H:\n    x: float = 0.1\n\n\n"
        '@operant.method("mistaken", family="mine", paper="none", worlds=("gmy",))\ndef mistaken(h: H) -> ValueLearning: ...\n'
    )
    assert main(["train", "mistaken", "--import", str(file), "--task", "gym:CartPole-v1"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "unknown kind of worlds of method mistaken: 'gmy': did you mean gym?" in told
