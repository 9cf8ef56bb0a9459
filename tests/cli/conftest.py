"""The command line in this process, and two finished runs to ask about."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import operant as operant_package
from operant.cli.main import main


@pytest.fixture(autouse=True)
def no_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine, nothing takes so long that it is announced: what is refused is refused in one line."""
    monkeypatch.setattr("operant.loops.progress.SILENCE", 10_000.0)


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The last line of standard output, read strictly."""

        def refuse(constant: str):
            raise AssertionError(f"{constant} is no JSON")

        return json.loads(self.out.splitlines()[-1], parse_constant=refuse)


Operant = Callable[..., Answer]


@pytest.fixture
def operant(capsys: pytest.CaptureFixture[str]) -> Operant:
    """Run one command line in this process: operant("train", "ppo", …) -> (code, out, err)."""

    def run(*words: object) -> Answer:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run


TRAIN = ("train", "ppo", "--task", "gym:CartPole-v1", "--seeds", "2", "--steps", "2048", "--threads", "1", "--episodes", "3")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two finished runs of PPO with the same seeds; do not change them."""
    folder = tmp_path_factory.mktemp("runs")
    paths = folder / "a", folder / "b"
    for path in paths:
        assert main([*TRAIN, "--out", str(path), "--json"]) == 0
    return paths


@pytest.fixture
def command() -> list[str]:
    """What starts `operant` as a process of its own."""
    return [sys.executable, "-m", "operant"]


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment of such a process, which finds the package that is tested wherever it is started."""
    source = str(Path(operant_package.__file__).parents[1])
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])}
