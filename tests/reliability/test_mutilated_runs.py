"""Runs that a stranger sent, or that something damaged: whatever their files hold, each command answers in words, and nothing outside of them changes."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import operant
from operant.cli.main import main
from operant.core.files import remove

MAZE = "ogbench:pointmaze-medium-navigate-singletask-v0"
SMALL = {"threads": 1, "episodes": 1}
RUNS = {
    "gym": ("ppo", "gym:CartPole-v1", {"steps": 96, "every": 32, "hidden": (4,), "environments": 2, "rollout_length": 16, "seeds": 2}),
    "data": ("iql", MAZE, {"steps": 30, "every": 10, "hidden": (4,), "batch_size": 8}),
    "sequences": ("grpo", "sequences:target", {"steps": 3, "every": 1, "prompts": 2, "group_size": 4}),
    "text": ("grpo", "text:arithmetic", {"steps": 2, "every": 1, "prompts": 1, "group_size": 2, "max_new_tokens": 4}),
}
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


@pytest.fixture(scope="module")
def runs(small_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Path, Path]]]:
    """Of each kind of task a finished run, with its video where there is one, and the same as it was before its last iteration."""
    folder = tmp_path_factory.mktemp("runs")
    threads = torch.get_num_threads()
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPERANT_CACHE", str(small_cache))
        for kind, (method, task, options) in RUNS.items():
            run = operant.train(method, task, out=folder / kind, **SMALL, **options)
            if kind in ("gym", "data"):
                run.draw_video()
            stopped = Path(shutil.copytree(run.path, folder / f"{kind}-stopped", symlinks=True))
            (stopped / "result.json").unlink()
            shutil.rmtree(max(stopped.glob("checkpoints/step-*")))
            (stopped / "checkpoints" / "last").unlink()
            (stopped / "checkpoints" / "last").symlink_to(max(stopped.glob("checkpoints/step-*")).name)
            found[kind] = (run.path, stopped)
        yield found
    torch.set_num_threads(threads)


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
    manifest = {"format": 1, "files": {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}}
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


def test_explore(runs, tmp_path, capsys):
    import time
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text('{"kept": true}\n')
    rng = random.Random(int(os.environ.get("SEED", 0)))
    kinds = os.environ.get("KINDS", "gym").split(",")
    most = int(os.environ.get("MOST", 200))
    log = open(os.environ["LOG"], "a")
    for kind in kinds:
        changes = list(all_changes(runs[kind][0]))
        picked = rng.sample(changes, min(most, len(changes)))
        spent = {}
        for file, what, change in picked:
            t = time.time()
            try:
                for line in answered(capsys, file, change, runs[kind], tmp_path):
                    print(kind, file, what, line, file=log, flush=True)
            except FileNotFoundError as e:
                print("NF", file, what, e, file=log, flush=True)
            spent[file.split("/")[0]] = spent.get(file.split("/")[0], 0) + time.time() - t
            if time.time() - t > 3: print("SLOW", kind, file, what, time.time() - t, file=log, flush=True)
            if (tmp_path / "outside" / "kept").read_text() != '{"kept": true}\n' or len(list((tmp_path / "outside").iterdir())) != 1:
                print("OUTSIDE CHANGED", kind, file, what, file=log, flush=True)
                shutil.rmtree(tmp_path / "outside"); (tmp_path / "outside").mkdir(); (tmp_path / "outside" / "kept").write_text('{"kept": true}\n')
        print(kind, len(changes), len(picked), spent, file=log, flush=True)
