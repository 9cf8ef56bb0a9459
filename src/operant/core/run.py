"""The run directory: what a run leaves behind, and how it is found again. `docs/architecture.md` lists its files."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

import torch

from operant.core import schema
from operant.core.checkpoint import Checkpoints
from operant.core.commands import going_on
from operant.core.errors import BadInput, NotWritten, nearest
from operant.core.files import check_inside, given_path, make_folder, open_in_place, read_json, read_rows, remove, remove_empty, sync, write_atomic
from operant.core.processor import model
from operant.core.schema import require

LOGS = {"metrics.jsonl": schema.METRICS, "evaluations.jsonl": schema.EVALUATION, "completions.jsonl": schema.COMPLETION}
"""The logs, each with what its rows must be."""
OWN = (*LOGS, "result.json", "checkpoints", "policies", "videos", "failures", "tensorboard")  # what a run makes beside run.json and lock
WORLDS = ("gymnasium", "mujoco", "ale-py", "MinAtar", "minigrid", "Box2D", "ogbench")
PACKAGES = ("operant", "torch", "numpy", *WORLDS, "transformers", "tokenizers", "safetensors")


def machine() -> dict[str, Any]:
    """Versions and hardware, as a run records them."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    hardware = {"processor": model(), "cores": os.cpu_count(), "system": f"{platform.system()} {platform.release()}"}
    if torch.cuda.is_available():
        hardware["accelerator"] = torch.cuda.get_device_name()
    return {"versions": versions, "hardware": hardware}


class RunDirectory:
    """One run on disk.

    Args:
        path: the directory, as a person gave it.
        keep: how many checkpoints stay.
        here: the directory that a relative `path` begins in, where an environment may have changed the working one since; None for that.

    Attributes:
        path: the directory, absolute: an environment may change the working one later.
        shown: the same as it was given, for messages.
    """

    def __init__(self, path: str | Path, keep: int = 2, here: Path | None = None):
        self.shown = Path(path)
        self.path = (here or Path.cwd()) / self.shown
        self.checkpoints = Checkpoints(self.path / "checkpoints", keep)
        self._lock: BinaryIO | None = None
        self._made: list[Path] = []  # the folders that `create` made, the outermost first

    @classmethod
    def create(cls, path: str | Path, config: dict[str, Any], keep: int = 2, here: Path | None = None) -> RunDirectory:
        """A new run, which this process holds for writing before its first byte is written, until the first `locked` ends.

        The folder may exist and hold other files, such as a log; none of a name that a run writes, unless it is of a run that failed before its first
        checkpoint, which is removed. Arguments are the class's.

        Raises:
            BadInput: where a run is already or is being made, or where nothing can be written.
        """
        path = given_path(path, "--out")
        require(json.loads(json.dumps(config)), schema.RUN, "a run like this could not be read again")
        run = cls(path, keep, here)
        try:
            if run.path.exists() and not run.path.is_dir():
                raise BadInput(f"{path} is a file; --out must name a directory")
            if not run._failed():
                run._check_free()
            run._made = make_folder(run.path)
            run._take_lock()
            if run._failed():
                for name in ("run.json", *OWN):
                    remove(run.path / name)
            run._check_free()  # by now another process may have made one
            run.write_config(config)
        except OSError as error:
            run.discard()
            run._release()
            raise BadInput(f"cannot write a run to {path}: {error.strerror}; choose another --out") from error
        except BadInput:
            run._release()
            raise
        return run

    def note_failure(self, why: str) -> None:
        """Keep in a run without a checkpoint that it failed: another may be begun in its place. Only for who holds the lock."""
        self.write_config(self.config | {"failed": why})

    def write_config(self, config: dict[str, Any]) -> None:
        """Replace what run.json says."""
        write_atomic(self.path / "run.json", json.dumps(config, indent=1))

    def forget_result(self) -> None:
        """Remove what was made of a run's end, which goes on."""
        (self.path / "result.json").unlink(missing_ok=True)
        remove(self.path / "videos")  # of policies that are trained on

    def save(self, step: int, state: Any) -> None:
        """Write a checkpoint, with the logs as far as it remembers them: a power cut takes nothing of them that it counts on."""
        for path in (*(path for log in LOGS if (path := self.path / log).exists()), self.path):
            sync(path)
        self.checkpoints.save(step, state)

    def _failed(self) -> bool:
        """Whether a run is here that failed before its first checkpoint, so that nothing of it could be gone on with."""
        if not (self.path / "run.json").exists() or self.checkpoints.all():
            return False
        try:
            return "failed" in self.config
        except BadInput:
            return False

    def _check_free(self) -> None:
        if (self.path / "run.json").exists():
            try:
                there = self.config
            except BadInput:  # nothing that says what it needs
                there = {}
            raise BadInput(f"{self.shown} already holds a run: choose another --out, or {going_on(self.shown, there)}")
        if strangers := [name for name in OWN if os.path.lexists(self.path / name)]:
            raise BadInput(f"{self.shown} holds {strangers[0]}, but no run.json: choose another --out, or move it away")

    def discard(self) -> None:
        """Remove a run that was refused before anything was trained, so that the corrected command finds its place free. Only for who created it.

        Other files that stood in its folder stay.
        """
        if self._lock is not None:
            for name in ("run.json", *OWN, "lock"):
                remove(self.path / name)
        remove_empty(self._made)

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """A run that exists. Raises `BadInput` where there is none, where it holds what is not its own, or where what it says cannot be."""
        run = cls(given_path(path, "the run directory"))
        run.checkpoints = Checkpoints(run.path / "checkpoints", run.config.get("keep", 2))
        check_inside(run.path)
        return run

    @property
    def config(self) -> dict[str, Any]:
        """What run.json says."""
        path = self.shown
        try:
            return require(read_json(self.path / "run.json"), schema.RUN, path / "run.json")
        except FileNotFoundError:
            pass
        try:
            if path.is_dir():
                inside = sorted(str(run.parent) for run in path.glob("*/run.json"))[:5]
                raise BadInput(f"{path} is no run: it has no run.json" + (f"; it holds the runs {', '.join(inside)}" if inside else ""))
            siblings = [run.parent.name for run in sorted(path.parent.glob("*/run.json"), key=lambda run: run.stat().st_mtime, reverse=True)]
        except OSError as error:
            raise BadInput(f"cannot read {path}: {error.strerror}") from error
        newest = f"the newest there: {', '.join(siblings[:3])}" if siblings else "give the directory that `operant train` named"
        raise BadInput(f"no run at {path}: {nearest(path.name, siblings, newest)}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for writing. Raises `BadInput` when another process does. The lock dies with its process."""
        if self._lock is None:
            try:
                self._take_lock()
            except OSError as error:
                raise BadInput(f"cannot write to the run {self.shown}: {error.strerror}") from error
        try:
            yield
        finally:
            self._release()

    def _take_lock(self) -> None:
        path = self.path / "lock"
        while True:
            file = open_in_place(path, 0)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                with file:
                    holder = file.read(200).decode(errors="replace").strip()
                raise BadInput(f"{self.shown} is being written by another process ({holder or 'unknown'}); wait for it or stop it") from None
            try:
                if os.path.samestat(os.fstat(file.fileno()), path.lstat()):
                    break
            except FileNotFoundError:
                pass
            file.close()  # its holder discarded the run after we had opened it: the file of that name is another one by now
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        file.flush()
        self._lock = file

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def append(self, log: str, rows: list[dict[str, Any]]) -> None:
        """Add rows to one of `LOGS`."""
        try:
            with open_in_place(self.path / log, os.O_APPEND) as file:
                file.write("".join(json.dumps(row) + "\n" for row in rows).encode())
        except OSError as error:
            raise NotWritten(f"{self.shown / log} could not be written: {error.strerror}; checkpoints are untouched") from error

    def rewrite(self, log: str, rows: list[dict[str, Any]]) -> None:
        """Replace one of `LOGS`."""
        write_atomic(self.path / log, "".join(json.dumps(row) + "\n" for row in rows))

    def offsets(self) -> dict[str, int]:
        """How long each log is, in bytes: what a checkpoint remembers."""
        return {log: (self.path / log).stat().st_size if (self.path / log).exists() else 0 for log in LOGS}

    def truncate(self, offsets: dict[str, int]) -> list[str]:
        """Cut the logs back to a checkpoint's length, so that a resumed run repeats no row, and leave lines out of them that cannot be read: the run would be
        refused for them once all is trained. What is none of `LOGS` is left alone.

        Returns:
            of each log that has lost something, a line that says what.
        """
        told = []
        for log, check in LOGS.items():
            path, length, size = self.path / log, offsets.get(log, 0), 0
            if path.exists():
                with open_in_place(path, 0) as file:
                    size = min(length, os.fstat(file.fileno()).st_size)
                    file.truncate(size)
            damaged: list[int] = []
            rows = read_rows(path, check, damaged)
            if size == length and not damaged:
                continue
            self.rewrite(log, rows)
            lost = [f"{length - size:,} of {length:,} bytes are missing"] * (size < length)
            lost += [f"line {first:,}{f' and {len(damaged) - 1:,} more' * (len(damaged) > 1)} cannot be read" for first in damaged[:1]]
            left = f"its other rows stay, {len(rows):,} up to step {rows[-1]['step']:,}" if rows else "no row of it is left"
            told.append(f"{self.shown / log} has lost what the checkpoint counts on: {' and '.join(lost)}; {left}")
        return told

    def sweep(self) -> None:
        """Remove what a killed writer left under a temporary name. Only for who holds the lock."""
        for pattern in ("checkpoints/.writing-*", "checkpoints/.last-*", "policies/*/.seed-*", "videos/.*", ".*.json", ".*.json.*", ".*.jsonl.*"):
            for path in self.path.glob(pattern):
                remove(path)

    def write_result(self, result: dict[str, Any]) -> None:
        write_atomic(self.path / "result.json", json.dumps(result, indent=1))

    @property
    def result(self) -> dict[str, Any] | None:
        """What the finished run reported, None while it is not finished. Its "run" is where the run is now, which may have been moved or copied."""
        try:
            found = require(read_json(self.path / "result.json"), schema.RESULT, self.shown / "result.json")
        except FileNotFoundError:
            return None
        if len(found["score"]["per_seed"]) != self.config["seeds"]:
            raise BadInput(f"{self.shown / 'result.json'}: {len(found['score']['per_seed'])} scores of {self.config['seeds']} seeds: it is of another run")
        return found | {"run": str(self.shown)}


class Followed(RunDirectory):
    """A run as the processes see it that train it together with the one that writes."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        yield

    def _nothing(self, *_: Any) -> None:
        """The first process does it."""

    def truncate(self, offsets: dict[str, int]) -> list[str]:
        return []

    append = sweep = save = discard = note_failure = write_config = forget_result = write_result = _nothing
