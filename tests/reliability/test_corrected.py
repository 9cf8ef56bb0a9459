"""A mistake in a method of one's own: its line is named, the corrected command finds its place free, and a run that goes on says that its file has changed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from long_tier import turns

from operant.cli.main import main
from operant.core import registry

METHOD = '''
from dataclasses import dataclass

import operant
from operant.loops.behaviour import Sampled
from operant.loops.draw import Uniform
from operant.loops.value_learning import Phase, ValueLearning
from operant.nets.actors import ActorNet, CriticNet
from operant.worlds.gym.experience import Online


@dataclass(frozen=True)
class H:
    gamma: float = 0.9  # discount


@operant.method("corrected", family="mine", paper="none", worlds=("gym",), actions=("continuous",))
def corrected(h: H) -> ValueLearning:
    def losses(u):
        q = u.net("q")(u.batch.observation, u.batch.action)
        return {"q": LOSS}

    nets = {"actor": ActorNet(hidden=(4,), squash=True), "q": CriticNet(hidden=(4,))}
    return ValueLearning(nets, [Phase(losses, trains=("q",))], Sampled(), Uniform(4), online=Online(learning_starts=8, capacity=100))
'''
RIGHT = "(q - u.batch.reward.unsqueeze(1)).square().sum(1)"
MISTAKES = {
    "later": ("q.square().sum(1 if u.count < 5 else ())", "loss 'q' has shape"),
    "seeds": ("(q - u.batch.reward).square().sum(1)", "loss 'q' of one seed hangs on the transitions of another"),
    "shape": ("q.square().sum()", "loss 'q' has shape"),
    "name": ("u.net('qq')(u.batch.observation).sum(1)", "asks for the net 'qq'"),
    "targets": ("u.bellman(q, gamma=h.gamma) - q", "u.bellman takes next values"),
    "sizes": ("u.net('q')(u.batch.observation).sum(1)", "RuntimeError"),
    "Python": ("q.squared()", "AttributeError"),
    "number": ("(q - u.batch.reward.unsqueeze(1)).square().sum(1) * float('nan')", "the loss is not finite"),
}


@pytest.fixture
def command(tmp_path: Path, monkeypatch):
    """Write the method with a loss, and run a command as a new process would see it."""
    file = tmp_path / "corrected_method.py"

    def run(loss: str, *words: object) -> int:
        file.write_text(METHOD.replace("LOSS", loss))
        monkeypatch.setattr(registry._methods, "entries", {key: entry for key, entry in registry._methods.entries.items() if key != "corrected"})
        sys.modules.pop("corrected_method", None)
        return main([*map(str, words), "--import", str(file)])

    yield run
    sys.modules.pop("corrected_method", None)


def train(out: Path, *words: object) -> tuple:
    return ("train", "corrected", "--task", "gym:Pendulum-v1", "--steps", 24, "--every", 8, "--episodes", 1, "--out", out, *words)


@pytest.mark.parametrize("mistake", turns(MISTAKES, "src/operant/loops/", "src/operant/core/", always=list(MISTAKES)[:2]))
def test_the_corrected_command_finds_its_place_free(mistake: str, command, tmp_path: Path, capsys):
    loss, words = MISTAKES[mistake]
    out = tmp_path / "run"
    assert command(loss, *train(out)) in (1, 2)
    told = capsys.readouterr().err
    assert words in told and (mistake == "number" or "corrected_method.py, line " in told), told
    assert out.exists() == (mistake == "number")
    assert (out / "failures").exists() == (mistake == "number")  # the batch stays to be read
    assert command(RIGHT, *train(out)) == 0
    assert "failed" not in json.loads((out / "run.json").read_text()) and not (out / "failures").exists()
    assert command(RIGHT, *train(out)) == 2 and "already holds a run" in capsys.readouterr().err


def test_a_run_that_goes_on_says_that_its_file_has_changed(command, tmp_path: Path, capsys):
    out = tmp_path / "run"
    assert command(RIGHT, *train(out)) == 0
    assert command(RIGHT, "resume", out, "--trust", "--steps", 32) == 0
    assert "has changed" not in capsys.readouterr().err
    assert command("2 * " + RIGHT, "resume", out, "--trust", "--steps", 40) == 0
    told = capsys.readouterr().err
    assert told.count("corrected_method.py has changed since the run began: it goes on with the file as it is now") == 1


def test_a_run_that_goes_on_says_that_what_its_file_is_made_of_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    (tmp_path / "leaning_rules").mkdir()
    (tmp_path / "leaning_rules" / "__init__.py").write_text("LONG = 9\n")
    (tmp_path / "leaning.py").write_text(
        "import gymnasium\nfrom leaning_rules import LONG\n\n\ndef cart():\n    return gymnasium.make('CartPole-v1', max_episode_steps=LONG)\n"
    )
    (tmp_path / "unread.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    words = ["--steps", "128", "--environments", "1", "--rollout-length", "64", "--minibatches", "1", "--episodes", "1", "--out", "run"]
    assert main(["train", "ppo", "--task", "gym:leaning:cart", *words]) == 0
    said = json.loads((tmp_path / "run" / "run.json").read_text())
    assert {Path(file).relative_to(tmp_path).as_posix() for file in said["digests"]} == {"leaning.py", "leaning_rules/__init__.py"}
    assert said["imports"] == [str(tmp_path / "leaning.py")]
    (tmp_path / "leaning_rules" / "__init__.py").write_text("LONG = 8\n")
    assert main(["resume", "run", "--trust", "--steps", "192"]) == 0
    assert "leaning_rules/__init__.py has changed since the run began: it goes on with the file as it is now" in capsys.readouterr().err
    for name in ("leaning", "leaning_rules"):
        sys.modules.pop(name)
