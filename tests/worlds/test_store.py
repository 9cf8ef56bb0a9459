"""Stores against slow literal references: what is appended is what is gathered, and windows keep to their episode."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from operant.core.checkpoint import join_state, split_state
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


@pytest.mark.parametrize(("count", "lanes"), [(5, 1), (40, 1), (7, 3), (29, 3)])
def test_windows_around_a_transition_keep_to_its_episode(count: int, lanes: int):
    """Against a walk through each lane's list, backwards and forwards."""
    store, turns = filled(2, 12, count, lanes)
    oldest, length = count - store.size // lanes, 6
    places = {((turn * lanes + lane) % store.capacity): (turn, lane) for turn in range(oldest, count) for lane in range(lanes)}
    index = torch.arange(store.size).expand(2, -1)
    before = torch.randint(0, length, index.shape, generator=torch.Generator().manual_seed(0))
    where, there = store.window(index, length, before)

    def ends(seed: int, turn: int, lane: int) -> bool:
        return bool(turns[turn]["terminated"][seed, lane] | turns[turn]["truncated"][seed, lane])

    for seed in range(2):
        for place in range(store.size):
            turn, lane = places[place]
            first = last = turn
            while turn - first < before[seed, place] and first > oldest and not ends(seed, first - 1, lane):
                first -= 1
            while last - turn < length - 1 - before[seed, place] and last + 1 < count and not ends(seed, last, lane):
                last += 1
            wanted = [turn - int(before[seed, place]) + step for step in range(length)]
            assert there[seed, place].tolist() == [first <= t <= last for t in wanted]
            assert where[seed, place].tolist() == [(min(max(t, first), last) * lanes + lane) % store.capacity for t in wanted]


@pytest.mark.parametrize("seed", range(3))
def test_what_is_appended_at_once_is_what_comes_turn_by_turn(seed: int):
    """Also more than the store holds."""
    one, turns = filled(2, 6, 5, 2, seed=seed)
    many, _ = filled(2, 6, 5, 2, seed=seed)
    more = filled(2, 100, 11, 2, seed=seed + 10)[1]
    for turn in more:
        one.append(turn)
    many.append({name: torch.cat([turn[name] for turn in more], 1) for name in more[0]})
    assert many.added == one.added == 32 and torch.equal(many.rows, one.rows) and torch.equal(many.ends, one.ends)
    index = torch.arange(6).expand(2, -1)
    assert torch.equal(many.begins(index), one.begins(index))


@pytest.mark.parametrize(("count", "lanes", "capacity"), [(5, 1, 12), (40, 1, 12), (29, 3, 12), (30, 1, 30), (9, 3, 3)])
def test_what_is_left_of_each_episode(count: int, lanes: int, capacity: int):
    """Against a walk forward through each lane's turns: asked once and kept in step, asked late, and asked of what goes on from a state."""
    late, turns = filled(2, capacity, count, lanes, seed=3)
    early, _ = filled(2, capacity, 0, lanes)
    for turn in turns:
        early.append(turn)
        early.left(torch.zeros(2, 1, dtype=torch.int64))
    again, _ = filled(2, capacity, 0, lanes)
    again.load_state_dict(join_state(*split_state(late.state_dict())))
    index = torch.arange(late.size).expand(2, -1)
    left = late.left(index)
    assert torch.equal(early.left(index), left) and torch.equal(again.left(index), left)
    rows = late.capacity // lanes
    for turn in range(max(0, count - rows), count):
        for lane in range(lanes):
            place = turn % rows * lanes + lane
            for store in range(2):
                over = [bool((later["terminated"] | later["truncated"])[store, lane]) for later in turns[turn:]]
                assert left[store, place] == (over.index(True) if True in over else len(over) - 1)
    ahead = late.gather(late.later(index, left)).observation[..., 0] - late.gather(index).observation[..., 0]
    assert torch.allclose(ahead, left.float())  # observations tell the turn, and so that a lane is not left


def test_a_place_without_a_transition_is_no_part_of_an_episode():
    """A lane of turns 0 to 5, whose episode ends at 2, with a reset at 3 that took a step of its own."""
    store, _ = filled(1, 8, 0, 1)
    for turn in range(6):
        columns = {name: torch.zeros(1, 1, *column.shape, dtype=column.dtype) for name, column in store.columns.items()}
        columns["truncated"][:] = turn == 2
        store.append(columns, valid=torch.tensor([[turn != 3]]))
        store.left(torch.tensor([[0]]))
    assert store.left(torch.arange(6).unsqueeze(0)).tolist() == [[2, 1, 0, 0, 1, 0]]


def test_nothing_follows_a_cut():
    store, _ = filled(1, 40, 6, 2, seed=5)
    store.ends.zero_()
    store.cut()
    store.append({name: torch.zeros(1, 2, *column.shape, dtype=column.dtype) for name, column in store.columns.items()})
    assert store.window(torch.tensor([[8, 9, 10, 11, 12]]), 3)[1].sum(-1).tolist() == [[2, 2, 1, 1, 1]]
    assert store.left(torch.tensor([[8, 9, 10, 11, 12]])).tolist() == [[1, 1, 0, 0, 0]]


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


SHOWN = Spec(
    (
        Field("speed", (2,)),
        Field("screen", (3, 2, 2), "uint8", low=(0,), high=(255,), stack=3),
        Field("chart", (2, 3), "uint8", low=(0,), high=(255,)),
        Field("cells", (3, 1, 2, 1), "bool", low=(0,), high=(1,), stack=3),
    )
)


def shown(stores: int, capacity: int, lanes: int, *, frames: bool) -> Store:
    return Store(stores, capacity, transition_columns(SHOWN, (), torch.int64), lanes=lanes, frames=frames)


def play(into: list[Store], turns: int, generator: torch.Generator, past: list[list[list[dict]]], *, ends: float = 0.2) -> None:
    """Episodes in every lane of every seed into stores of the same shape; `past` is what each has seen of its episode, empty where one begins."""
    stores, lanes = into[0].stores, into[0].lanes

    def one() -> dict[str, torch.Tensor]:
        return {
            "speed": torch.randn(2, generator=generator),
            "screen": torch.randint(0, 256, (4,), generator=generator).float(),
            "chart": torch.randint(0, 256, (6,), generator=generator).float(),
            "cells": torch.randint(0, 2, (2,), generator=generator).float(),
        }

    def row(seen: list[dict]) -> torch.Tensor:
        last = [seen[max(0, len(seen) - back)] for back in (3, 2, 1)]
        stacked = {name: torch.cat([frame[name] for frame in last]) for name in ("screen", "cells")}
        return torch.cat([(seen[-1] | stacked)[field.name] for field in SHOWN.fields])

    for _ in range(turns):
        turn = {"observation": torch.zeros(stores, lanes, SHOWN.size), "next_observation": torch.zeros(stores, lanes, SHOWN.size)}
        turn |= {"action": torch.zeros(stores, lanes, dtype=torch.int64), "reward": torch.randn(stores, lanes, generator=generator)}
        turn |= {name: torch.rand(stores, lanes, generator=generator) < ends / 2 for name in ("terminated", "truncated")}
        for seed in range(stores):
            for lane in range(lanes):
                seen = past[seed][lane] or [one()]
                turn["observation"][seed, lane] = row(seen)
                turn["next_observation"][seed, lane] = row([*seen, following := one()])
                over = bool(turn["terminated"][seed, lane] | turn["truncated"][seed, lane])
                past[seed][lane] = [] if over else [*seen, following]
        for store in into:
            store.append(turn)


@pytest.mark.parametrize(("stores", "lanes", "capacity", "ends"), [(1, 1, 40, 0.2), (2, 3, 33, 0.3), (2, 2, 6, 0.9), (1, 4, 1000, 0.1), (1, 2, 2, 0.5)])
def test_one_copy_of_each_frame_gives_the_same_batches(stores: int, lanes: int, capacity: int, ends: float):
    """Stacks that are put together again are those that were seen: round the ring, behind an episode's end, after a cut, and from a checkpoint."""
    generator, past = torch.Generator().manual_seed(lanes), [[[] for _ in range(lanes)] for _ in range(stores)]
    plain, frames = (shown(stores, capacity, lanes, frames=one) for one in (False, True))
    for round in range(12):
        play([plain, frames], 1 + 3 * round, generator, past, ends=ends)
        if round in (4, 7):
            for store in (plain, frames):
                store.cut()
            past = [[[] for _ in range(lanes)] for _ in range(stores)]
        if round in (5, 9):
            state, frames = frames.state_dict(), shown(stores, capacity, lanes, frames=True)
            frames.load_state_dict(state)
        index = torch.arange(plain.size).expand(stores, -1)
        wanted, got = plain.gather(index).tensors(), frames.gather(index).tensors()
        assert wanted.keys() == got.keys() and all(torch.equal(wanted[name], got[name]) for name in wanted)
        window, _ = plain.window(index, 3)
        assert torch.equal(plain.gather(window).observation, frames.gather(window).observation)
    assert frames.bytes.numel() == 0 and frames.frames.data.shape == (stores, -(-capacity // lanes) * lanes + 3 * lanes, 4 + 6 + 2)


def test_a_ring_that_grows_keeps_its_frames():
    """A run that goes on for longer than it was planned has more room."""
    generator, past = torch.Generator().manual_seed(0), [[[], []]]
    plain, frames = shown(1, 60, 2, frames=False), shown(1, 20, 2, frames=True)
    play([plain, frames], 10, generator, past)
    state, frames = frames.state_dict(), shown(1, 60, 2, frames=True)
    frames.load_state_dict(state)
    play([plain, frames], 30, generator, past)
    index = torch.arange(plain.size).unsqueeze(0)
    assert torch.equal(plain.gather(index).next_observation, frames.gather(index).next_observation)


@pytest.mark.parametrize(("lanes", "capacity"), [(1, 12), (3, 30), (2, 400)])
def test_what_is_no_transition_is_never_drawn(lanes: int, capacity: int):
    """Every place that holds one is drawn as often as the others, whatever stands between; against a list of those that are left."""
    generator = torch.Generator().manual_seed(capacity)
    store, kept = Store(2, capacity, transition_columns(Spec((Field("observation", (1,)),)), (), torch.int64), lanes=lanes), [[], []]
    for turn in range(60):
        valid = torch.rand(2, lanes, generator=generator) < 0.7
        value = (turn * lanes + torch.arange(lanes)).float().expand(2, -1)
        seen = value.unsqueeze(-1)
        flags = {name: torch.zeros(2, lanes, dtype=torch.bool) for name in ("terminated", "truncated")}
        columns = {"observation": seen, "next_observation": seen, "action": torch.zeros(2, lanes, dtype=torch.int64), "reward": value} | flags
        store.append(columns, valid=None if turn < 5 or valid.all() else valid)
        for seed in range(2):
            kept[seed] += [value[seed, lane].item() for lane in range(lanes) if turn < 5 or valid[seed, lane]]
            kept[seed] = [number for number in kept[seed] if number >= (turn + 1) * lanes - store.capacity]
        if turn == 30:
            state, store = store.state_dict(), Store(2, capacity, store.columns, lanes=lanes)
            store.load_state_dict(state)
    assert [row.item() for row in store.count] == [len(numbers) for numbers in kept]
    most = max(map(len, kept))
    for seed in range(2):
        share = ((torch.arange(most) + 0.5) / len(kept[seed])).clamp(max=1).expand(2, -1)
        assert store.gather(store.pick(share)).reward[seed, : len(kept[seed])].tolist() == kept[seed]
