"""Stores against slow literal references: what is appended is what is gathered, and windows keep to their episode."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from operant.core.spec import Field, Spec
from operant.worlds.store import Column, Store, Transitions, transition_columns

SEEN = Spec((Field("left", ()), Field("picture", (2, 2), "uint8", low=(0,), high=(255,)), Field("right", ())))


def filled(stores: int, capacity: int, count: int, lanes: int, *, seed: int = 0, extra: bool = False) -> tuple[Store, list[dict[str, torch.Tensor]]]:
    """A store, and the transitions that went into it, a turn through the lanes at a time."""
    columns = transition_columns(Spec((Field("observation", (3,)),)), (), torch.int64) | ({"seen": Column((6,), observation=SEEN)} if extra else {})
    store, turns = Store(stores, capacity, columns, lanes=lanes), []
    generator = torch.Generator().manual_seed(seed)
    for number in range(count):
        turn = {
            "observation": torch.full((stores, lanes, 3), float(number)) + torch.arange(lanes).view(1, -1, 1) / 10,
            "next_observation": torch.full((stores, lanes, 3), number + 0.5),
            "action": torch.randint(0, 5, (stores, lanes), generator=generator),
            "reward": torch.randn(stores, lanes, generator=generator),
            "terminated": torch.rand(stores, lanes, generator=generator) < 0.15,
            "truncated": torch.rand(stores, lanes, generator=generator) < 0.1,
        }
        if extra:
            picture = torch.randint(0, 256, (stores, lanes, 4), generator=generator).float()
            turn["seen"] = torch.cat([torch.randn(stores, lanes, 1, generator=generator), picture, torch.randn(stores, lanes, 1, generator=generator)], -1)
        store.append(turn)
        turns.append(turn)
    return store, turns


@pytest.mark.parametrize("count", [3, 8, 21])
def test_what_is_gathered_is_what_was_appended(count: int):
    store, turns = filled(2, 16, count, 2, extra=True)
    kept = turns[-8:]
    assert store.size == 2 * len(kept)
    first = (count - len(kept)) * 2
    index = torch.tensor([[(first + place) % store.capacity for place in range(store.size)]] * 2)
    batch = store.gather(index)
    for name in ("observation", "next_observation", "action", "reward", "terminated", "truncated"):
        wanted = torch.cat([turn[name] for turn in kept], 1)
        assert torch.equal(getattr(batch, name), wanted) and getattr(batch, name).dtype == wanted.dtype
    assert store.bytes.shape == (2, 16, 4) and torch.equal(batch.extras["seen"], torch.cat([turn["seen"] for turn in kept], 1))  # pixels are bytes


@pytest.mark.parametrize(("count", "lanes"), [(5, 1), (40, 1), (7, 3), (29, 3)])
def test_windows_end_with_their_episode_and_with_the_newest(count: int, lanes: int):
    """Against a walk through each lane's list, one transition after the other."""
    store, turns = filled(2, 12, count, lanes)
    turns_kept = store.size // lanes
    index = torch.arange(store.size).expand(2, -1)
    where, there = store.window(index, 4)
    age = {}  # place in the ring -> (turn, lane)
    for back in range(turns_kept):
        for lane in range(lanes):
            age[((count - 1 - back) * lanes + lane) % store.capacity] = (count - 1 - back, lane)
    for seed in range(2):
        for place in range(store.size):
            turn, lane = age[place]
            walk = []
            for step in range(4):
                if turn + step >= count:
                    break
                walk.append(((turn + step) * lanes + lane) % store.capacity)
                if bool(turns[turn + step]["terminated"][seed, lane] | turns[turn + step]["truncated"][seed, lane]):
                    break
            assert there[seed, place].tolist() == [step < len(walk) for step in range(4)]
            assert where[seed, place].tolist() == walk + [walk[-1]] * (4 - len(walk))


def test_episodes_of_a_data_set():
    store, turns = filled(1, 30, 30, 1, seed=3)
    ends = [bool(turn["terminated"] | turn["truncated"]) for turn in turns]
    first, last = (x[0].tolist() for x in store.episodes())
    begin = 0
    for place in range(30):
        assert first[place] == begin
        assert last[place] == next(i for i in range(place, 30) if ends[i] or i == 29)
        begin = place + 1 if ends[place] else begin


def test_nothing_follows_a_cut():
    store, _ = filled(1, 40, 6, 2, seed=5)
    store.ends.zero_()
    store.cut()
    store.append({name: torch.zeros(1, 2, *column.shape, dtype=column.dtype) for name, column in store.columns.items()})
    assert store.window(torch.tensor([[8, 9, 10, 11, 12]]), 3)[1].sum(-1).tolist() == [[2, 2, 1, 1, 1]]


def test_state_goes_on_where_it_was():
    store, _ = filled(2, 10, 17, 2, extra=True)
    twin = Store(2, 10, store.columns, lanes=2)
    twin.load_state_dict(store.state_dict())
    index = torch.arange(10).expand(2, -1)
    for name, value in store.gather(index).tensors().items():
        assert torch.equal(value, twin.gather(index).tensors()[name])
    assert all(torch.equal(x, y) for x, y in zip(store.window(index, 3), twin.window(index, 3), strict=True))


def test_batches_side_by_side():
    store, _ = filled(2, 10, 5, 1)
    a, b = store.gather(torch.tensor([[0, 1], [2, 3]])), store.gather(torch.tensor([[4], [0]]))
    b.steps = torch.full((2, 1), 3)
    joined = Transitions.join([a, b])
    assert joined.index.tolist() == [[0, 1, 4], [2, 3, 0]] and joined.steps.tolist() == [[1, 1, 3], [1, 1, 3]] and joined.weight is None
    np.testing.assert_array_equal(joined.observation, torch.cat([a.observation, b.observation], 1))
