"""Processes to kill, and a run that was stopped between two checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import operant
from operant.loops.runner import Update


@dataclass
class Child:
    """A process of the nursery."""

    nursery: subprocess.Popen
    pid: int
    errors: Path

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens where the process has ended already."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def wait(self) -> int:
        """Its exit code; minus the signal's number where one ended it."""
        return int(self.nursery.stdout.readline())

    @property
    def said(self) -> str:
        return self.errors.read_text() if self.errors.exists() else ""


Start = Callable[..., Child]


@pytest.fixture(scope="session")
def start(process_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start one command line as a process: start("train", …, VARIABLE=…) -> Child. One at a time."""
    command = [sys.executable, str(Path(__file__).with_name("nursery.py"))]
    nursery = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=process_environment)
    assert nursery.stdout.readline() == "ready\n"
    folder = tmp_path_factory.mktemp("said")

    def order(*words: object, **variables: object) -> Child:
        errors = folder / str(len(list(folder.iterdir())))
        errors.touch()
        environment = {name: str(value) for name, value in variables.items()}
        nursery.stdin.write(json.dumps({"words": [str(word) for word in words], "errors": str(errors), "environment": environment}) + "\n")
        nursery.stdin.flush()
        return Child(nursery, int(nursery.stdout.readline()), errors)

    yield order
    nursery.stdin.close()
    assert nursery.wait(timeout=60) == 0


PPO = {"steps": 512, "every": 128, "threads": 1, "episodes": 1, "hidden": (8, 8), "environments": 2, "rollout_length": 16, "keep": 3}


class _Stopped(Exception):
    pass


@pytest.fixture(scope="session")
def ppo_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(a finished run of 512 steps, the same stopped behind its third checkpoint, as a killed process leaves it); do not change them."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("ppo")
    operant.train("ppo", "gym:CartPole-v1", out=folder / "whole", **PPO)

    def stop(update: Update) -> None:
        if update.phase == "train" and update.step > 400:
            raise _Stopped

    with pytest.raises(_Stopped):
        operant.train("ppo", "gym:CartPole-v1", out=folder / "stopped", listener=stop, **PPO)
    names = sorted(path.name for path in (folder / "stopped" / "checkpoints").iterdir())
    assert names == ["last", "step-000000000128", "step-000000000256", "step-000000000384"]
    return folder / "whole", folder / "stopped"


@pytest.fixture
def stopped(ppo_runs: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the stopped run."""
    return Path(shutil.copytree(ppo_runs[1], tmp_path / "run", symlinks=True))
