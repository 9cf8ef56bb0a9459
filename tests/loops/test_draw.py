"""Draws against hand-worked numbers: several steps in one, proportions of priorities, mixes."""

from __future__ import annotations

import pytest
import torch

from operant.core.checkpoint import first_difference, join_state, split_state
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.spec import Field, Spec
from operant.loops.draw import Mixed, NStep, Prioritized, Uniform, Windows
from operant.worlds.store import Store, transition_columns


def store_of(rewards: list[float], terminated: list[bool], truncated: list[bool], *, stores: int = 1, capacity: int | None = None) -> Store:
    count = len(rewards)
    store = Store(stores, capacity or count, transition_columns(Spec((Field("observation", (1,)),)), (), torch.int64))
    flags = {"terminated": torch.tensor(terminated), "truncated": torch.tensor(truncated)}
    columns = {
        "observation": torch.arange(count).float().view(-1, 1),
        "next_observation": torch.arange(count).float().view(-1, 1) + 0.5,
        "action": torch.zeros(count, dtype=torch.int64),
        "reward": torch.tensor(rewards),
    } | flags
    store.append({name: value.expand(stores, *value.shape) for name, value in columns.items()})
    return store


def test_several_steps_by_hand():
    """Rewards 1, 2, 4, 8, 16; the third transition terminates, the fifth is cut. Gamma 0.5, three steps."""
    store = store_of([1, 2, 4, 8, 16], [False, False, True, False, False], [False, False, False, False, True])
    batch = NStep(3, 0.5)(store.gather(torch.arange(5).view(1, -1)), store, Streams([0]))
    assert batch.reward[0].tolist() == [1 + 1 + 1, 2 + 2, 4, 8 + 8, 16]
    assert batch.steps[0].tolist() == [3, 2, 1, 2, 1]
    assert batch.next_observation[0, :, 0].tolist() == [2.5, 2.5, 2.5, 4.5, 4.5]
    assert batch.terminated[0].tolist() == [True, True, True, False, False]
    assert batch.truncated[0].tolist() == [False, False, False, True, True]
    assert batch.observation[0, :, 0].tolist() == [0, 1, 2, 3, 4]


def test_a_goal_ends_the_sum_where_the_recording_goes_on():
    store = Store(1, 4, transition_columns(Spec((Field("observation", (1,)),)), (), torch.int64))
    columns = {"observation": torch.zeros(1, 4, 1), "next_observation": torch.arange(4.0).view(1, 4, 1), "action": torch.zeros(1, 4, dtype=torch.int64)}
    flags = {"terminated": torch.tensor([[False, True, False, False]]), "truncated": torch.zeros(1, 4, dtype=torch.bool)}
    store.append(columns | flags | {"reward": torch.ones(1, 4)}, ends=torch.tensor([[False, False, False, True]]))
    batch = NStep(3, 1.0)(store.gather(torch.arange(4).view(1, -1)), store, Streams([0]))
    assert batch.reward[0].tolist() == [2, 1, 2, 1] and batch.terminated[0].tolist() == [True, True, False, False]
    assert batch.next_observation[0, :, 0].tolist() == [1, 1, 3, 3]


def test_priorities_draw_in_proportion_and_weights_undo_it():
    """Five transitions of priorities 0 to 4 (alpha 1): the shares of draws are 0 to 0.4, and weight times share is the same for all."""
    streams = Streams([0, 1])
    store = store_of([0] * 5, [False] * 5, [False] * 5, stores=2, capacity=7)
    drawer = Prioritized(20_000, alpha=1.0, beta=1.0, epsilon=0.0).bind({"replay": store}, streams, "draw", ())
    first = drawer.draw()  # new ones are all alike
    torch.testing.assert_close(torch.bincount(first.index[0], minlength=5) / 20_000, torch.full((5,), 0.2), atol=0.02, rtol=0)
    assert torch.equal(first.weight, torch.ones(2, 20_000))
    everything = store.gather(torch.arange(5).expand(2, -1))
    drawer.prioritize(everything, torch.tensor([[0.0, 1, 2, 3, 4], [4.0, 3, 2, 1, 0]]))
    batch = drawer.draw()
    for seed, priorities in enumerate(([0, 1, 2, 3, 4], [4, 3, 2, 1, 0])):
        share = torch.bincount(batch.index[seed], minlength=5) / 20_000
        torch.testing.assert_close(share, torch.tensor(priorities) / 10, atol=0.015, rtol=0)
        for place, priority in enumerate(priorities):
            if priority:
                torch.testing.assert_close(batch.weight[seed][batch.index[seed] == place][0], torch.tensor(1 / priority))


def test_a_batch_has_one_draw_from_each_equal_range_of_priorities():
    """Of eight draws a transition that has a quarter of the sum gets two, whatever is drawn; what lies across two ranges its share within one draw."""
    store = store_of([0] * 3, [False] * 3, [False] * 3, stores=2)
    drawer = Prioritized(8, alpha=1.0, epsilon=0.0).bind({"replay": store}, Streams([0, 1]), "draw", ())
    everything = store.gather(torch.arange(3).expand(2, -1))
    drawer.draw()
    drawer.prioritize(everything, torch.tensor([[1.0, 2, 1], [2.5, 0.0, 1.5]]))
    found = set()
    for _ in range(20):
        first, second = drawer.draw().index.tolist()
        assert first == [0, 0, 1, 1, 1, 1, 2, 2] and second == [0] * 5 + [2] * 3
        drawer.prioritize(everything, torch.tensor([[1.0, 2, 1], [2.25, 0.0, 1.75]]))
        found.add(tuple(drawer.draw().index[1].tolist()))
        drawer.prioritize(everything, torch.tensor([[1.0, 2, 1], [2.5, 0.0, 1.5]]))
    assert found == {(0,) * 4 + (second,) + (2,) * 3 for second in (0, 2)}


def test_the_sum_tree_is_the_sum_of_its_leaves_and_goes_on_from_a_state():
    streams = Streams([0])
    store = store_of([0] * 6, [False] * 6, [False] * 6, capacity=11)
    draw = Prioritized(8, updates=10)
    drawer = draw.bind({"replay": store}, streams, "draw", ())
    generator = torch.Generator().manual_seed(0)
    one = {name: torch.zeros(1, 1, *column.shape, dtype=column.dtype) for name, column in store.columns.items()}
    for _ in range(9):  # beyond the ring's end
        batch = drawer.draw()
        drawer.prioritize(batch, torch.rand(batch.reward.shape, generator=generator))
        store.append(one)
    for node in range(1, drawer.leaves):
        assert drawer.tree[0, node] == drawer.tree[0, 2 * node] + drawer.tree[0, 2 * node + 1]
    state, drawn = join_state(*split_state({"draw": drawer.state_dict(), "streams": streams.state_dict()})), drawer.draw()
    other = Streams([0])
    other.load_state_dict(state["streams"])
    twin = draw.bind({"replay": store}, other, "draw", ())
    twin.load_state_dict(state["draw"])
    assert first_difference(twin.draw().tensors(), drawn.tensors()) is None and torch.equal(twin.tree, drawer.tree)


def test_a_mix_takes_its_share_of_each_store_and_tells_each_its_own_priorities():
    streams = Streams([0])
    stores = {"replay": store_of([1.0] * 4, [False] * 4, [False] * 4), "data": store_of([2.0] * 6, [False] * 6, [False] * 6)}
    drawer = Mixed((Prioritized(3, store="replay", alpha=1.0, epsilon=0.0), Uniform(5, store="data"))).bind(stores, streams, "draw", ())
    batch = drawer.draw()
    assert batch.reward[0].tolist() == [1.0] * 3 + [2.0] * 5 and batch.weight[0, 3:].tolist() == [1.0] * 5
    drawer.prioritize(batch, torch.full((1, 8), 7.0))
    leaves = drawer.parts[0].tree[0, drawer.parts[0].leaves :]
    assert set(leaves[batch.index[0, :3]].tolist()) == {7.0}
    assert drawer.recall(batch.index).reward[0].tolist() == batch.reward[0].tolist()


def test_a_store_that_is_not_there():
    with pytest.raises(BadInput, match="a draw asks for the store 'data'; there is replay"):
        Uniform(3, store="data").bind({"replay": store_of([0.0], [False], [False])}, Streams([0]), "draw", ())


def test_windows_by_hand():
    """Two episodes, of transitions 0 to 2 (a termination) and 3 to 9: a window of 2 places behind 1 of burn-in, for each place of each transition."""
    ends = [place in (2, 9) for place in range(10)]
    store = store_of([float(place) for place in range(10)], ends, [False] * 10)
    draw = Windows(400, 2, burn_in=1)
    batch = draw.bind({"replay": store}, Streams([0]), "draw", ()).draw()
    seen, begins = draw.unrolled(batch)
    assert draw.size == 1200 and batch.index.shape == (1, 1200) and seen.shape == (1, 400, 4, 1) and begins.shape == (1, 400, 4)
    share = 1200 / batch.weight.count_nonzero()
    found = {}
    for row in range(400):
        at = slice(3 * row, 3 * row + 3)
        found[tuple(batch.index[0, at].tolist())] = (seen[0, row, :, 0].tolist(), begins[0, row].tolist(), (batch.weight[0, at] / share).round().tolist())
    empty = [True, False, False, False]
    # observation k is k, and k + 0.5 stands behind transition k: it shows where an episode ended
    assert found == {
        (0, 0, 1): ([0, 0, 1, 1.5], [False, True, False, False], [0, 1, 1]),
        (0, 0, 0): ([0, 0, 0, 0.5], [False, False, True, False], [0, 0, 1]),
        (0, 1, 2): ([0, 1, 2, 2.5], empty, [1, 1, 1]),
        (1, 2, 2): ([1, 2, 2.5, 2.5], empty, [0, 1, 0]),
        (3, 3, 4): ([3, 3, 4, 4.5], [False, True, False, False], [0, 1, 1]),
        (3, 3, 3): ([3, 3, 3, 3.5], [False, False, True, False], [0, 0, 1]),
        **{(k, k + 1, k + 2): ([k, k + 1, k + 2, k + 2.5], empty, [int(k == 3), 1, 1]) for k in range(3, 8)},
        (8, 9, 9): ([8, 9, 9.5, 9.5], empty, [0, 1, 0]),
    }


def test_windows_give_every_transition_its_share():
    """Of one episode of 20, each is learned from; the first and the last about half as often as those in the middle, and not a window's length more seldom."""
    store = store_of([0.0] * 20, [place == 19 for place in range(20)], [False] * 20)
    batch = Windows(20_000, 4).bind({"replay": store}, Streams([0]), "draw", ()).draw()
    counts = torch.zeros(20).index_add_(0, batch.index[0], (batch.weight[0] > 0).float()) / 20_000
    torch.testing.assert_close(counts, torch.tensor([2.5, 3.25, 3.75, *[4.0] * 14, 3.75, 3.25, 2.5]) / 20, atol=0.01, rtol=0)


def test_windows_of_a_full_ring_need_their_burn_in():
    """The oldest transition that is left does not begin its episode: what comes before it is not known."""
    store = store_of([0.0] * 13, [False] * 13, [False] * 13, capacity=8)
    batch = Windows(200, 2, burn_in=4).bind({"replay": store}, Streams([0]), "draw", ()).draw()
    learned = (batch.index[batch.weight > 0] - 13) % 8
    assert learned.min() == 4 and learned.max() == 7
    few = Windows(1, 1, burn_in=4).bind({"replay": store}, Streams([0]), "draw", ())
    assert all(batch.weight.isfinite().all() for batch in (few.draw() for _ in range(20)))
