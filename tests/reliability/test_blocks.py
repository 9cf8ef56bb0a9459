"""Replay in checkpoints: what was written once and has not changed is linked, not written again, and every run goes on to the same bits."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import operant
from operant.core import checkpoint
from operant.core.checkpoint import Block, Checkpoints, first_difference, load_state, save_state
from operant.core.errors import BadInput
from operant.core.spec import Field, Spec
from operant.worlds import store as stores
from operant.worlds.store import Store, transition_columns

SMALL = {"hidden": (8,), "learning_starts": 50, "batch_size": 8, "updates_per_step": 0.2, "threads": 1, "episodes": 1, "progress": False}


def blocks_of(path: Path) -> dict[str, tuple[int, int]]:
    """(inode, bytes) of each block's file, by the block's name."""
    places = json.loads((path / "manifest.json").read_text())["blocks"]
    return {name: ((path / file).stat().st_ino, (path / file).stat().st_size) for name, file in places.items()}


def grown(monkeypatch: pytest.MonkeyPatch, capacity: int = 2_000) -> Store:
    monkeypatch.setattr(stores, "BLOCK_BYTES", 1)  # 256 transitions a block
    return Store(2, capacity, transition_columns(Spec((Field("observation", (3,)),)), (1,)))


def add(store: Store, count: int) -> None:
    columns = {name: torch.randn(2, count, *column.shape) for name, column in store.columns.items()}
    store.append(columns | {name: torch.zeros(2, count, dtype=torch.bool) for name in ("terminated", "truncated")})


def test_only_what_was_appended_to_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    store, checkpoints = grown(monkeypatch), Checkpoints(tmp_path)
    add(store, 700)
    first = blocks_of(checkpoints.save(1, {"store": store.state_dict()}))
    add(store, 10)
    second = blocks_of(checkpoints.save(2, {"store": store.state_dict()}))
    assert len(first) == len(second) == 3
    assert [first.get(name) == found for name, found in second.items()] == [True, True, False]
    add(store, 1_500)  # around the ring: 2,210 of 2,000
    third = blocks_of(checkpoints.save(3, {"store": store.state_dict()}))
    assert [name in second for name in third] == [False, True, *[False] * 6]  # only the second was full before, and is not yet written over
    state, _, _ = checkpoints.load()
    twin = grown(monkeypatch)
    twin.load_state_dict(state["store"])
    assert first_difference(twin.state_dict(), store.state_dict()) is None
    add(store, 1)
    assert sum(name in third for name in blocks_of(checkpoints.save(4, {"store": store.state_dict()}))) == 7
    assert len(list(tmp_path.glob("step-*"))) == 2 and load_state(tmp_path / "last")  # the old ones are gone, their files live on


def test_a_cut_episode_is_written_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    store, checkpoints = grown(monkeypatch), Checkpoints(tmp_path)
    add(store, 300)
    before = blocks_of(checkpoints.save(1, {"store": store.state_dict()}))
    store.cut()
    after = blocks_of(checkpoints.save(2, {"store": store.state_dict()}))
    assert [name in before for name in after] == [True, False]


def test_a_disk_without_links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def refuses(*arguments, **options):
        raise OSError(95, "Operation not supported")

    store, checkpoints = grown(monkeypatch), Checkpoints(tmp_path)
    add(store, 600)
    monkeypatch.setattr(os, "link", refuses)
    first, second = (blocks_of(checkpoints.save(step, {"store": store.state_dict()})) for step in (1, 2))
    assert first.keys() == second.keys() and not {inode for inode, _ in first.values()} & {inode for inode, _ in second.values()}
    assert first_difference(checkpoints.load()[0]["store"], store.state_dict()) is None


def test_a_run_goes_on_to_the_same_bits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(stores, "BLOCK_BYTES", 1)
    whole = operant.train("sac-v2", "gym:Pendulum-v1", steps=800, every=200, out=tmp_path / "whole", **SMALL)
    linked = [blocks_of(path) for path in sorted((whole.path / "checkpoints").glob("step-*"))]
    assert len(set(linked[0].values()) & set(linked[1].values())) >= 2
    operant.train("sac-v2", "gym:Pendulum-v1", steps=500, every=200, out=tmp_path / "part", **SMALL)
    resumed = operant.resume(tmp_path / "part", steps=800, progress=False)
    ends = [load_state(run.path / "checkpoints" / "last")[0]["learner"] for run in (whole, resumed)]
    assert first_difference(ends[0]["nets"], ends[1]["nets"]) is None and first_difference(ends[0]["experience"], ends[1]["experience"]) is None


@pytest.mark.parametrize(
    "fault",
    [
        lambda folder, file: (folder / file).unlink(),
        lambda folder, file: (folder / file).write_bytes((folder / file).read_bytes()[:-1] + b"x"),
        lambda folder, file: (folder / "manifest.json").write_text((folder / "manifest.json").read_text().replace(file, "../../run.json")),
        lambda folder, file: (folder / "manifest.json").write_text((folder / "manifest.json").read_text().replace('"blocks"', '"bricks"')),
    ],
    ids=["missing", "damaged", "elsewhere", "unnamed"],
)
def test_a_damaged_block_is_refused_in_one_line(fault, tmp_path: Path):
    checkpoint.save_state(tmp_path / "step-1", {"parts": [Block({"x": torch.arange(5)}, "0-5")]})
    (file,) = json.loads((tmp_path / "step-1" / "manifest.json").read_text())["blocks"].values()
    fault(tmp_path / "step-1", file)
    with pytest.raises(BadInput, match=r"^checkpoint \S+step-1 (is damaged|cannot be read)") as told:
        load_state(tmp_path / "step-1")
    assert "\n" not in str(told.value)


def test_arrays_of_a_checkpoint_stand_where_fresh_ones_do(tmp_path):
    """A product whose rows stand at another address than a multiple of 16 may round otherwise: a resumed run would have other bits."""
    makes = {"tensor": torch.ones, "array": lambda length: np.ones(length, np.float32)}
    state = {f"{kind} {length}": make(length) for length in range(1, 9) for kind, make in makes.items()}
    save_state(tmp_path / "kept", state)
    found, _ = load_state(tmp_path / "kept")
    places = {name: torch.as_tensor(value).data_ptr() % 64 for name, value in found.items()}
    assert set(places.values()) == {0}, places
    assert all(type(found[name]) is type(value) for name, value in state.items())
