"""A run that was stopped between two checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import operant
from operant.loops.runner import Update

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
