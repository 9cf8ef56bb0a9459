"""Runs that a stranger sent, or that something damaged: whatever their files hold, each command answers in words, and nothing outside of them changes."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from long_tier import due, turns

import operant
from operant.cli.main import main
from operant.core.checkpoint import FORMAT
from operant.core.files import remove
from operant.loops.trust import code_named

RESTS_ON = ("src/operant/core/", "src/operant/evaluate/")
MAZE = "ogbench:pointmaze-medium-navigate-singletask-v0"
SMALL = {"threads": 1, "episodes": 1}
RUNS = {
    "gym": ("ppo", "gym:CartPole-v1", {"steps": 96, "every": 32, "hidden": (4,), "environments": 2, "rollout_length": 16, "seeds": 2}),
    "data": ("iql", MAZE, {"steps": 200, "every": 100, "hidden": (4,), "batch_size": 8}),
    "sequences": ("grpo", "sequences:target", {"steps": 3, "every": 1, "prompts": 2, "group_size": 4}),
    "tabular": ("vi-lcb", "tabular:random-sparse", {"steps": 6, "every": 2, "states": 5, "transitions": 200, "seeds": 2}),
    "levels": ("alp-gmm", "gym:cartpole-levels", {"steps": 96, "every": 32, "hidden": (4,), "environments": 2, "rollout_length": 16, "period": 3}),
    "archive": ("map-elites", "gym:planar-arm", {"steps": 24, "every": 8, "hidden": (4,), "members": 4, "episode_steps": 2, "cells": 4}),
    "text": ("grpo", "text:arithmetic", {"steps": 2, "every": 1, "prompts": 1, "group_size": 2, "max_new_tokens": 4}),
}
CHANGES = {"gym": 150, "data": 60, "sequences": 110, "tabular": 20, "levels": 10, "archive": 20, "text": 40}
COMMANDS = {
    "compare": lambda run, out: ("compare", run),
    "report": lambda run, out: ("report", run, "--out", out / "report.html"),
    "evaluate": lambda run, out: ("evaluate", run, "--episodes", 1),
    "resume": lambda run, out: ("resume", run),
}
READS = {  # by what a file's name begins with; a report costs most, and reads what a comparison reads
    "run.json": ("compare", "evaluate", "resume"),
    "result.json": ("compare", "resume"),
    "metrics": ("compare",),
    "evaluations": ("compare", "resume"),
    "completions": ("compare",),
    "checkpoints": ("resume",),
    "policies": ("evaluate",),
    "": ("report", "resume"),
}


class Runs(dict[str, tuple[Path, Path]]):
    """Of each kind of task that is asked for a finished run, with its video where drawing one is safe, and the same as it was before its last iteration."""

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder

    def __missing__(self, kind: str) -> tuple[Path, Path]:
        method, task, options = RUNS[kind]
        run = operant.train(method, task, out=self.folder / kind, **SMALL, **options)
        if kind == "gym":
            run.draw_video()
        stopped = Path(shutil.copytree(run.path, self.folder / f"{kind}-stopped", symlinks=True))
        (stopped / "result.json").unlink()
        shutil.rmtree(max(stopped.glob("checkpoints/step-*")))
        (stopped / "checkpoints" / "last").unlink()
        (stopped / "checkpoints" / "last").symlink_to(max(stopped.glob("checkpoints/step-*")).name)
        self[kind] = (run.path, stopped)
        return self[kind]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


# ------------------------------------------------------------------------------------------------------------------------------- what is done to them

NEST: Any = 0
for _ in range(50):
    NEST = [NEST]
VALUES = {
    "null": lambda old: None,
    "another type": lambda old: 7 if isinstance(old, str | dict | list) else "seven",
    "negative": lambda old: -1,
    "huge": lambda old: 10**30,
    "more than a float": lambda old: 10**400,
    "not a number": lambda old: float("nan"),
    "infinite": lambda old: float("inf"),
    "nested": lambda old: NEST,
    "an empty object": lambda old: {},
    "an empty list": lambda old: [],
    "true": lambda old: True,
    "control characters": lambda old: "\x1b[31m\u202e\ud800\x00",
    "another path": lambda old: "../../outside/kept",
}


def places(value: Any, depth: int = 3) -> Iterator[tuple]:
    """Paths to the values within a JSON value; of a list its first item alone."""
    if depth == 0 or not isinstance(value, dict | list):
        return
    for key in list(value) if isinstance(value, dict) else range(min(1, len(value))):
        yield (key,)
        yield from ((key, *rest) for rest in places(value[key], depth - 1))


def changed(value: Any, path: tuple, new: Callable[[Any], Any] | None) -> Any:
    """A copy with the value at a path replaced, or removed."""
    value = copy.deepcopy(value)
    within = value
    for key in path[:-1]:
        within = within[key]
    if new is None:
        del within[path[-1]]
    else:
        within[path[-1]] = new(within[path[-1]])
    return value


def json_changes(text: str) -> Iterator[tuple[str, str]]:
    """(name, new text) of one JSON value."""
    value = json.loads(text)
    for path in places(value):
        for name, new in {"removed": None, **VALUES}.items():
            yield f"{'/'.join(map(str, path))} {name}", json.dumps(changed(value, path, new))


def text_changes(text: str) -> Iterator[tuple[str, bytes]]:
    """(name, new content) of a file as such."""
    whole = text.encode()
    yield "half of it", whole[: len(whole) // 2]
    yield "empty", b""
    yield "binary", bytes(range(256))
    yield "another value", b"[1]"
    yield "a key twice", b'{"method": "ppo", ' + whole.lstrip()[1:] if whole.lstrip().startswith(b"{") else b'{"a": 1, "a": 2}'
    yield "brackets", b"[" * 100_000
    yield "digits", b'{"step": ' + b"1" * 5_000 + b"}"
    yield "UTF-16", text.encode("utf-16")
    yield "a NUL before it", b"\0" + whole


def seal(checkpoint: Path) -> None:
    """Make a manifest that fits what a checkpoint holds by now."""
    files = {name: (checkpoint / name).read_bytes() for name in ("state.json", "state.safetensors")}
    sums = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    manifest = {"format": FORMAT, "blocks": {}, "files": sums}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


Change = Callable[[Path], None]


def write(name: str, content: str | bytes, sealed: bool = False) -> Change:
    def change(run: Path) -> None:
        for path in run.glob(name):
            path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
            if sealed:
                seal(path.parent)

    return change


def entries(run: Path) -> Iterator[tuple[str, str, Change]]:
    """(file, what is done, the change) of files as wholes: missing, folders in their place, links, pipes, no permission."""
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))

        def replaced(make: Callable[..., None], *arguments: str, name: str = name) -> Change:
            def change(run: Path) -> None:
                target = run / name
                target.parent.mkdir(exist_ok=True)
                remove(target)
                make(target, *(run.parent / "outside" / argument for argument in arguments))

            return change

        yield name, "missing", replaced(lambda target: None)
        yield name, "a link that leaves", replaced(Path.symlink_to, "kept")
        yield name, "a link to a folder that leaves", replaced(Path.symlink_to, "")
        yield name, "a link to itself", replaced(lambda target: target.symlink_to(target))
        if path.is_file():
            yield name, "a folder", replaced(Path.mkdir)
            yield name, "a pipe", replaced(os.mkfifo)
            yield name, "another name of a file outside", replaced(Path.hardlink_to, "kept")
            yield name, "huge and sparse", replaced(lambda target: (target.touch(), os.truncate(target, 2**43)))
            yield name, "empty", replaced(Path.touch)
        else:
            yield name, "a file", replaced(Path.touch)


def all_changes(run: Path) -> Iterator[tuple[str, str, Change]]:
    for name in ("run.json", "result.json"):
        text = (run / name).read_text()
        yield from ((name, what, write(name, new)) for what, new in json_changes(text))
        yield from ((name, what, write(name, new)) for what, new in text_changes(text))
    for name in ("metrics.jsonl", "evaluations.jsonl", "completions.jsonl"):
        if (run / name).exists():
            first, *rest = (run / name).read_text().splitlines(keepends=True)
            yield from ((name, what, write(name, new + "\n" + "".join(rest))) for what, new in json_changes(first))
            yield from ((name, what, write(name, new)) for what, new in text_changes(first + "".join(rest)))
    newest = max(run.glob("checkpoints/step-*"))
    for name in ("manifest.json", "state.json"):
        text = (newest / name).read_text()
        for what, new in (*json_changes(text), *text_changes(text)):
            yield f"checkpoints/*/{name}", what, write(f"checkpoints/step-*/{name}", new, sealed=name == "state.json")
    yield from entries(run)


def answered(capsys: pytest.CaptureFixture[str], file: str, change: Change, pair: tuple[Path, Path], folder: Path, commands=None) -> Iterator[str]:
    """What was wrong with the answers to a change, a line each."""
    target = folder / "run"
    for command in commands or next(READS[begin] for begin in READS if file.startswith(begin)):
        shutil.copytree(pair[command == "resume" and file != "result.json"], target, symlinks=True)
        try:
            change(target)
            capsys.readouterr()
            code = main([str(word) for word in COMMANDS[command](target, folder)])
            said = capsys.readouterr()
            lines = said.err.splitlines()
            if code not in (0, 1, 2) or "a fault of Operant's own" in said.err or "Traceback" in said.err:
                yield f"{command}: code {code}: {said.err[-300:]}"
            elif code and not (lines and lines[-1].startswith("operant: error: ")):
                yield f"{command}: no line"
            elif any(ord(character) < 32 and character not in "\n\t" for character in said.err + said.out):
                yield f"{command}: control characters were printed"
        finally:
            shutil.rmtree(target)


OUTSIDE = '{"kept": true}\n'


@pytest.mark.parametrize("kind", turns(RUNS, *RESTS_ON, always=("gym", "sequences")))
def test_every_mutilated_run_is_answered_in_words(kind: str, runs, use_small_cache, tmp_path: Path, capsys, monkeypatch):
    """Some hundred changes, the same ones every time, out of thousands; of what always runs a third where its turn has not come."""
    if kind == "data":  # each drawing takes a process
        monkeypatch.setattr("operant.cli.results.draw", lambda *given: "")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text(OUTSIDE)
    changes = list(all_changes(runs[kind][0]))
    wrong = []
    chosen = random.Random(f"mutilated {kind}").sample(changes, CHANGES[kind])
    for file, what, change in chosen if due(kind, *RESTS_ON) else chosen[::3]:
        wrong += [f"{file}, {what}: {line}" for line in answered(capsys, file, change, runs[kind], tmp_path)]
        if [path.name for path in outside.iterdir()] != ["kept"] or (outside / "kept").read_text() != OUTSIDE:
            pytest.fail(f"{file}, {what}: a file outside the run was changed")
    assert not wrong, "\n".join(wrong)


def test_offsets_name_logs_alone(runs, use_small_cache, tmp_path: Path, capsys):
    """A checkpoint's lengths of logs cut no other file."""
    run = Path(shutil.copytree(runs["gym"][1], tmp_path / "run", symlinks=True))
    kept = tmp_path / "kept"
    kept.write_text("kept")
    for folder in run.glob("checkpoints/step-*"):
        state = json.loads((folder / "state.json").read_text())
        state["run"]["offsets"] |= {str(kept): 0, "../kept": 0, "run.json": 0}
        (folder / "state.json").write_text(json.dumps(state))
        seal(folder)
    assert main(["resume", str(run)]) == 0
    assert kept.read_text() == "kept" and json.loads((run / "run.json").read_text())["method"] == "ppo"
    assert main(["diff", str(runs["gym"][0]), str(run)]) == 0


def test_a_log_with_a_second_name_is_not_written(runs, use_small_cache, tmp_path: Path, capsys):
    run = Path(shutil.copytree(runs["gym"][1], tmp_path / "run", symlinks=True))
    kept = tmp_path / "kept"
    kept.write_bytes((run / "metrics.jsonl").read_bytes())
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").hardlink_to(kept)
    before = kept.read_bytes()
    assert main(["resume", str(run)]) in (1, 2)
    assert "hard link" in capsys.readouterr().err.splitlines()[-1]
    assert kept.read_bytes() == before


MODULE = """
import gymnasium, os, pathlib
pathlib.Path(os.environ["SPRUNG"]).touch()
gymnasium.register("Sent-v0", "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=20)
def verdict(problem, completion):
    return 1.0
"""


def test_verifiers_of_the_library_are_no_code_that_a_run_names():
    def named(task: str = "text:arithmetic", **options) -> list[str]:
        return code_named({"task": task, "method": "grpo", "options": options})

    assert named(verifier="exact:marker== ", evaluate_with="numeric:tolerance=1e-3") == named(verifier="noisy:0.1,0.3") == []
    assert named("gym:noisy.evil:Evil-v0") and named("gym:exact:Evil-v0") and named(verifier="noisy.evil:f") and named(verifier="theirs:f")


@pytest.mark.parametrize("kind, named", [("gym", {"task": "gym:sent_module:Sent-v0"}), ("text", {"options": {"verifier": "sent_module:verdict"}})])
@pytest.mark.parametrize("command", ["report", "evaluate", "resume"])
def test_code_that_a_run_names_waits_for_trust(kind: str, named: dict, command: str, runs, use_small_cache, tmp_path: Path, capsys, monkeypatch):
    (tmp_path / "sent_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SPRUNG", str(tmp_path / "sprung"))
    sys.modules.pop("sent_module", None)
    run = Path(shutil.copytree(runs[kind][command == "resume"], tmp_path / "run", symlinks=True))
    shutil.rmtree(run / "videos", ignore_errors=True)
    (run / "run.json").write_text(json.dumps(json.loads((run / "run.json").read_text()) | named))
    words = [str(word) for word in COMMANDS[command](run, tmp_path)]
    code = main(words)
    said = capsys.readouterr().err
    assert not (tmp_path / "sprung").exists()
    assert ("the module sent_module" in said and "--trust" in said) or (command, kind) == ("report", "text")  # of text there is no video to draw
    assert code == (0 if command == "report" else 2)  # a report does without the video
    if kind == "gym":
        assert main([*words, "--trust"]) == (2 if command == "resume" else 0)  # its fingerprint says that it is another task
        assert (tmp_path / "sprung").exists()
