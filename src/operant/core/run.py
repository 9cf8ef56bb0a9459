"""The run directory: what a run leaves behind, and how it is found again. `docs/architecture.md` lists its files."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from operant.core.checkpoint import Checkpoints, write_atomic
from operant.core.errors import BadInput, RunFailed

LOGS = ("metrics.jsonl", "evaluations.jsonl", "completions.jsonl")
PACKAGES = ("operant", "torch", "numpy", "gymnasium", "mujoco", "ogbench", "transformers", "tokenizers", "safetensors")


def machine() -> dict[str, Any]:
    """Versions and hardware, as a run records them."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    processor = platform.processor() or platform.machine()
    try:
        names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        processor = names[0] if names else processor
    except OSError:
        pass
    hardware = {"processor": processor, "cores": os.cpu_count(), "system": f"{platform.system()} {platform.release()}"}
    if torch.cuda.is_available():
        hardware["accelerator"] = torch.cuda.get_device_name()
    return {"versions": versions, "hardware": hardware}


class RunDirectory:
    """One run on disk.

    Args:
        path: the directory.
        keep: how many checkpoints stay.
    """

    def __init__(self, path: str | Path, keep: int = 2):
        self.path = Path(path)
        self.checkpoints = Checkpoints(self.path / "checkpoints", keep)

    @classmethod
    def create(cls, path: str | Path, config: dict[str, Any], keep: int = 2) -> RunDirectory:
        """A new run. Raises `BadInput` where one is already, or where nothing can be written."""
        path = Path(path)
        if (path / "run.json").exists():
            raise BadInput(f"{path} already holds a run: go on with `operant resume {path}`, or choose another --out")
        if path.exists() and not path.is_dir():
            raise BadInput(f"{path} is a file; --out must name a directory")
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_atomic(path / "run.json", json.dumps(config, indent=1))
        except OSError as error:
            raise BadInput(f"cannot write a run to {path}: {error.strerror}; choose another --out") from error
        return cls(path, keep)

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """A run that exists. Raises `BadInput` where there is none."""
        path = Path(path)
        try:
            config = json.loads((path / "run.json").read_text())
        except FileNotFoundError:
            near = sorted(str(run.parent) for run in path.parent.glob("*/run.json"))[:5] if path.parent.is_dir() else []
            raise BadInput(f"{path} is no run (it has no run.json){'; runs beside it: ' + ', '.join(near) if near else ''}") from None
        except (OSError, ValueError) as error:
            raise BadInput(f"{path}/run.json cannot be read: {error}") from error
        return cls(path, config.get("keep", 2))

    @property
    def config(self) -> dict[str, Any]:
        return json.loads((self.path / "run.json").read_text())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for writing. Raises `BadInput` when another process does. The lock dies with its process."""
        try:
            file = open(self.path / "lock", "a+")
        except OSError as error:
            raise BadInput(f"cannot write to the run {self.path}: {error.strerror}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                raise BadInput(f"{self.path} is being written by another process ({file.read().strip() or 'unknown'}); wait for it or stop it") from None
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            yield

    def append(self, log: str, rows: list[dict[str, Any]]) -> None:
        """Add rows to one of `LOGS`."""
        try:
            with open(self.path / log, "a", encoding="utf-8") as file:
                file.write("".join(json.dumps(row) + "\n" for row in rows))
        except OSError as error:
            raise RunFailed(f"{self.path / log} could not be written: {error.strerror}; checkpoints are untouched") from error

    def rewrite(self, log: str, rows: list[dict[str, Any]]) -> None:
        """Replace one of `LOGS`."""
        write_atomic(self.path / log, "".join(json.dumps(row) + "\n" for row in rows))

    def offsets(self) -> dict[str, int]:
        """How long each log is, in bytes: what a checkpoint remembers."""
        return {log: (self.path / log).stat().st_size if (self.path / log).exists() else 0 for log in LOGS}

    def truncate(self, offsets: dict[str, int]) -> None:
        """Cut the logs back to a checkpoint's length, so that a resumed run repeats no row."""
        for log, length in offsets.items():
            if (self.path / log).exists():
                os.truncate(self.path / log, min(length, (self.path / log).stat().st_size))

    def sweep(self) -> None:
        """Remove what a killed writer left under a temporary name. Only for who holds the lock."""
        for pattern in ("checkpoints/.writing-*", "checkpoints/.last-*", "policies/*/.seed-*", "videos/.*.gif", ".*.json", ".*.json.*", ".*.jsonl.*"):
            for path in self.path.glob(pattern):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def write_result(self, result: dict[str, Any]) -> None:
        write_atomic(self.path / "result.json", json.dumps(result, indent=1))

    @property
    def result(self) -> dict[str, Any] | None:
        """What the finished run reported, None while it is not finished."""
        try:
            return json.loads((self.path / "result.json").read_text())
        except FileNotFoundError:
            return None
