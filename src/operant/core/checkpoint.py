"""Checkpoints: a nested state as safetensors and JSON, written so that a half-written one is never taken for a whole one.

A checkpoint is a directory `step-000001024` with `state.safetensors` (arrays), `state.json` (everything else, and where the arrays belong), a file for
each `Block` (arrays that grow, and seldom change where they have been), and `manifest.json` (sizes and SHA-256 of all). It is written under a temporary name,
synced, and renamed; `last` is a link that is replaced in one step. A block that is as the last checkpoint has it is not written again: the new one has a
hard link to its file. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from operant.core.errors import BadInput, NotWritten, a_type
from operant.core.files import check_size, disk_fault, read_json, remove, sync

FORMAT = 2
FILES = ("state.json", "state.safetensors")
_BLOCK = re.compile(r"block-\d{6}\.safetensors")


class Block(dict):
    """Tensors by name, a part of a state that is written to a file of its own.

    Args:
        tensors: by name.
        key: of their content, within this object's owner and run: the same key, the same bits.
    """

    def __init__(self, tensors: dict[str, torch.Tensor], key: str):
        super().__init__(tensors)
        self.key = key


def split_state(state: Any, blocks: dict[str, Block] | None = None) -> tuple[Any, dict[str, torch.Tensor]]:
    """A JSON-ready skeleton of a nested state, and its arrays by path.

    Args:
        blocks: takes the blocks, by path and key; None treats them as dicts.
    """
    arrays: dict[str, torch.Tensor] = {}

    def visit(value: Any, path: str) -> Any:
        if blocks is not None and isinstance(value, Block):
            name = f"{path}@{value.key}"
            blocks[name] = value
            return {"$block": name}
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
        raise TypeError(f"state at {path or 'its root'} has {a_type(value)}; a state holds arrays, numbers, strings, lists and dicts")

    return visit(state, ""), arrays


def join_state(skeleton: Any, arrays: dict[str, torch.Tensor], blocks: Mapping[str, dict[str, torch.Tensor]] | None = None) -> Any:
    """The inverse of `split_state`."""
    if isinstance(skeleton, dict):
        if "$block" in skeleton and blocks is not None:
            return blocks[skeleton["$block"]]
        if "$array" in skeleton:
            array = arrays[skeleton["$array"]].clone()  # a file's bytes stand at any address, and on that the last bits of a small product hang
            return array.numpy() if skeleton["kind"] == "numpy" else array
        return {key: join_state(item, arrays, blocks) for key, item in skeleton.items()}
    if isinstance(skeleton, list):
        return [join_state(item, arrays, blocks) for item in skeleton]
    return skeleton


@dataclass(frozen=True)
class Kept:
    """The blocks of a checkpoint that is whole: their files, and what its manifest says of them, by path and key."""

    directory: Path
    files: Mapping[str, str]
    fingerprints: Mapping[str, dict]

    @classmethod
    def none(cls) -> Kept:
        return cls(Path(), {}, {})

    def link(self, name: str, target: Path) -> dict | None:
        """Make `target` the file of a block; its fingerprint, None where this checkpoint does not have it or the disk has no links."""
        if name not in self.files:
            return None
        try:
            os.link(self.directory / self.files[name], target, follow_symlinks=False)
        except OSError:
            return None
        return self.fingerprints[name]


def save_state(directory: Path, state: Any, kept: Kept | None = None, **manifest: Any) -> Kept:
    """Write one state to a new directory, atomically.

    Args:
        kept: blocks of an earlier checkpoint of this very run, which are linked where they are the same.

    Returns:
        the blocks that the new one has.
    """
    kept, blocks = kept or Kept.none(), {}
    temporary = directory.with_name(f".writing-{directory.name}-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        skeleton, arrays = split_state(state, blocks)
        (temporary / "state.json").write_text(json.dumps(skeleton))
        save_file(arrays, temporary / "state.safetensors")
        files, written = {name: _fingerprint(temporary / name) for name in FILES}, [*FILES, "manifest.json"]
        places = {name: f"block-{place:06d}.safetensors" for place, name in enumerate(blocks)}
        for name, file in places.items():
            files[file] = kept.link(name, temporary / file)
            if files[file] is None:
                save_file({part: value.detach().to("cpu", copy=True).contiguous() for part, value in blocks[name].items()}, temporary / file)
                files[file] = _fingerprint(temporary / file)
                written.append(file)
        (temporary / "manifest.json").write_text(json.dumps({"format": FORMAT, "files": files, "blocks": places, **manifest}))
        for name in written:
            sync(temporary / name)
        sync(temporary)
        os.rename(temporary, directory)
        sync(directory.parent)
        return Kept(directory, places, {name: files[file] for name, file in places.items()})
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise NotWritten(f"checkpoint {directory} could not be written: {disk_fault(error) or error}; earlier checkpoints are untouched") from error


def load_state(directory: Path, *, with_blocks: bool = True) -> tuple[Any, Kept]:
    """Read one state back, and which blocks it has; or raise `BadInput` that says in one line why it cannot be.

    Args:
        with_blocks: False leaves the blocks unread: what they hold means nothing then.
    """
    try:
        manifest = read_json(directory / "manifest.json")
        if manifest.get("format") != FORMAT:
            raise BadInput(f"checkpoint {directory} has format {manifest.get('format')!r}; this version reads {FORMAT}")
        places = manifest["blocks"]
        if not all(_BLOCK.fullmatch(file) for file in places.values()):
            raise BadInput(f"checkpoint {directory} is damaged: its manifest names files that no checkpoint has")
        places = places if with_blocks else {}
        for name in (*FILES, *places.values()):
            path, expected = directory / name, manifest["files"][name]
            if path.stat().st_size == expected["bytes"]:  # a sparse file may declare any length: it is not read to learn its sum
                check_size(path, expected["bytes"])
            found = _fingerprint(path) if path.stat().st_size == expected["bytes"] else {"bytes": path.stat().st_size, "sha256": "not looked at"}
            if found != expected:
                raise BadInput(f"checkpoint {directory} is damaged: {name} has {found['bytes']} bytes, sha256 {found['sha256'][:13]}, not as its manifest says")
        blocks = {name: load_file(directory / file) for name, file in places.items()}
        state = join_state(read_json(directory / "state.json"), load_file(directory / "state.safetensors"), blocks if with_blocks else None)
        return state, Kept(directory, places, {name: manifest["files"][file] for name, file in places.items()})
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
        self._kept = Kept.none()

    def all(self) -> list[Path]:
        """Whole-looking checkpoints, oldest first."""
        return sorted(path for path in self.directory.glob("step-*") if path.name.removeprefix("step-").isdecimal() and path.is_dir())

    def save(self, step: int, state: Any) -> Path:
        """Write the state of `step`, make `last` name it, and drop the ones that are too old."""
        target = self.directory / f"step-{step:012d}"
        remove(target)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._kept = save_state(target, state, self._kept, step=step)
        self.settle(target)
        return target

    def settle(self, newest: Path) -> None:
        """Make `last` name the newest one, and drop those that are too old: of a writer that was killed, what it had left to do."""
        link, last = self.directory / f".last-{os.getpid()}", self.directory / "last"
        link.unlink(missing_ok=True)
        link.symlink_to(newest.name)
        if last.is_dir() and not last.is_symlink():  # a copy that followed links
            remove(last)
        os.replace(link, last)
        for old in self.all()[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)

    def load(self, *, with_blocks: bool = True) -> tuple[Any, Path, list[str]]:
        """The newest whole state, where it was, and a line for each newer one that was damaged.

        Args:
            with_blocks: as of `load_state`.

        Raises:
            BadInput: when there is none.
        """
        damaged = []
        for path in reversed(self.all()):
            try:
                state, self._kept = load_state(path, with_blocks=with_blocks)
                return state, path, damaged
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
