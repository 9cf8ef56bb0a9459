"""The Python face of the command line: `train`, `resume`, `load`."""

from __future__ import annotations

from pathlib import Path

from operant.core.run import RunDirectory
from operant.loops.runner import Run, resume, train

__all__ = ["Run", "load", "resume", "train"]


def load(path: str | Path) -> Run:
    """Open a run directory. Raises `BadInput` where it is none."""
    return Run(RunDirectory.open(path))
