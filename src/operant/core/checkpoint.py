"""Checkpoints: a nested state as safetensors and JSON, written so that a half-written one is never taken for a whole one.

A checkpoint is a directory `step-000001024` with `state.safetensors` (arrays), `state.json` (everything else, and where the arrays belong) and
`manifest.json` (sizes and
SHA-256 of both). It is written under a temporary name, synced, and renamed; `last` is a link that is replaced in one step. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from operant.core.errors import BadInput, RunFailed
from operant.core.files import check_size, disk_fault, read_json, remove

FORMAT = 1
FILES = ("state.json", "state.safetensors")


def split_state(state: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """A JSON-ready skeleton of a nested state, and its arrays by path."""
    arrays: dict[str, torch.Tensor] = {}

    def visit(value: Any, path: str) -> Any:
        if isinstance(value, torch.Tensor):
            arrays[path] = value.detach().to("cpu", copy=True).contiguous()
            return {"$array": path, "kind": "torch"}
        if isinstance(value, np.ndarray):
            arrays[path] = torch.from_numpy(np.ascontiguousarray(value).copy()).reshape(value.shape)
            return {"$array": path, "kind": "numpy"}
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise TypeError(f"state at {path or 'its root'} has keys that are not strings: {list(value)[:3]}")
            return {key: visit(item, f"{path}/{key}") for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [visit(item, f"{path}/{index}") for index, item in enumerate(value)]
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise TypeError(f"state at {path or 'its root'} has a {type(value).__name__}; a state holds arrays, numbers, strings, lists and dicts")

    return visit(state, ""), arrays


def join_state(skeleton: Any, arrays: dict[str, torch.Tensor]) -> Any:
    """The inverse of `split_state`."""
    if isinstance(skeleton, dict):
        if "$array" in skeleton:
            array = arrays[skeleton["$array"]]
            return array.numpy() if skeleton["kind"] == "numpy" else array
        return {key: join_state(item, arrays) for key, item in skeleton.items()}
    if isinstance(skeleton, list):
        return [join_state(item, arrays) for item in skeleton]
    return skeleton


def save_state(directory: Path, state: Any, **manifest: Any) -> None:
    """Write one state to a new directory, atomically."""
    temporary = directory.with_name(f".writing-{directory.name}-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        skeleton, arrays = split_state(state)
        (temporary / "state.json").write_text(json.dumps(skeleton))
        save_file(arrays, temporary / "state.safetensors")
        files = {name: _fingerprint(temporary / name) for name in FILES}
        (temporary / "manifest.json").write_text(json.dumps({"format": FORMAT, "files": files, **manifest}))
        for name in (*files, "manifest.json"):
            _sync(temporary / name)
        _sync(temporary)
        os.rename(temporary, directory)
        _sync(directory.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise RunFailed(f"checkpoint {directory} could not be written: {disk_fault(error) or error}; earlier checkpoints are untouched") from error


def load_state(directory: Path) -> Any:
    """Read one state back, or raise `BadInput` that says in one line why it cannot be."""
    try:
        manifest = read_json(directory / "manifest.json")
        if manifest.get("format") != FORMAT:
            raise BadInput(f"checkpoint {directory} has format {manifest.get('format')!r}; this version reads {FORMAT}")
        for name in FILES:
            path, expected = directory / name, manifest["files"][name]
            if path.stat().st_size == expected["bytes"]:  # a sparse file may declare any length: it is not read to learn its sum
                check_size(path, expected["bytes"])
            found = _fingerprint(path) if path.stat().st_size == expected["bytes"] else {"bytes": path.stat().st_size, "sha256": "not looked at"}
            if found != expected:
                raise BadInput(f"checkpoint {directory} is damaged: {name} has {found['bytes']} bytes, sha256 {found['sha256'][:13]}, not as its manifest says")
        return join_state(read_json(directory / "state.json"), load_file(directory / "state.safetensors"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise BadInput(f"checkpoint {directory} cannot be read: {error}") from error


class Checkpoints:
    """The checkpoints of one run.

    Args:
        directory: RUN/checkpoints.
        keep: how many of the newest stay (at least 2, so that a damaged newest one has a fallback).
    """

    def __init__(self, directory: Path, keep: int = 2):
        self.directory = directory
        self.keep = max(2, keep)

    def all(self) -> list[Path]:
        """Whole-looking checkpoints, oldest first."""
        return sorted(path for path in self.directory.glob("step-*") if path.name.removeprefix("step-").isdecimal() and path.is_dir())

    def save(self, step: int, state: Any) -> Path:
        """Write the state of `step`, make `last` name it, and drop the ones that are too old."""
        target = self.directory / f"step-{step:012d}"
        remove(target)
        self.directory.mkdir(parents=True, exist_ok=True)
        save_state(target, state, step=step)
        link, last = self.directory / f".last-{os.getpid()}", self.directory / "last"
        link.unlink(missing_ok=True)
        link.symlink_to(target.name)
        if last.is_dir() and not last.is_symlink():  # a copy that followed links
            remove(last)
        os.replace(link, last)
        for old in self.all()[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)
        return target

    def load(self) -> tuple[Any, Path, list[str]]:
        """The newest whole state, where it was, and a line for each newer one that was damaged.

        Raises:
            BadInput: when there is none.
        """
        damaged = []
        for path in reversed(self.all()):
            try:
                return load_state(path), path, damaged
            except BadInput as error:
                damaged.append(str(error))
        if damaged:
            raise BadInput(f"no checkpoint in {self.directory} is whole: {damaged[0]}")
        raise BadInput(f"no checkpoint in {self.directory}: the run was stopped before its first one; start it again")


def _fingerprint(path: Path) -> dict:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def first_difference(a: Any, b: Any, path: str = "") -> str | None:
    """Where two states first differ in a bit, in words; None when they are the same bits."""
    if isinstance(a, dict) and isinstance(b, dict):
        if list(a) != list(b) and set(a) != set(b):
            return f"{path or 'state'}: keys {sorted(set(a) ^ set(b))} are in one only"
        for key in a:
            if (difference := first_difference(a[key], b[key], f"{path}/{key}")) is not None:
                return difference
        return None
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return f"{path}: lengths {len(a)} and {len(b)}"
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            if (difference := first_difference(x, y, f"{path}/{index}")) is not None:
                return difference
        return None
    if isinstance(a, (torch.Tensor, np.ndarray)) and isinstance(b, (torch.Tensor, np.ndarray)):
        x, y = np.ascontiguousarray(a), np.ascontiguousarray(b)
        if x.shape != y.shape or x.dtype != y.dtype:
            return f"{path}: {x.dtype}{list(x.shape)} and {y.dtype}{list(y.shape)}"
        if x.tobytes() != y.tobytes():
            index = next(i for i in np.ndindex(x.shape) if x[i].tobytes() != y[i].tobytes())
            return f"{path}[{', '.join(map(str, index))}]: {x[index]!r} and {y[index]!r}"
        return None
    return None if type(a) is type(b) and a == b else f"{path}: {a!r} and {b!r}"
