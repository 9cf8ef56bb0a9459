"""Advantages of windows, segments and trees: by hand, against literal loops, and the identities that they must keep."""

from __future__ import annotations

import pytest
import torch

from operant import ops


def draws(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def last_steps(length: torch.Tensor, steps: int) -> torch.Tensor:
    return torch.arange(steps) == length.unsqueeze(1) - 1


# ------------------------------------------------------------------------------------------------------------------------------------------ windows


def test_extended_gae_by_hand():
    # Cut after three steps: deltas 2 - 1, 4 - 2, and 4 - 4 = 0 where the value behind the cut is taken to be the last one; lambda 0.5, gamma 1.
    nothing = torch.zeros(3, dtype=torch.bool)
    advantage = ops.extended_gae(
        reward=torch.zeros(3),
        value=torch.tensor([1.0, 2.0, 4.0]),
        next_value=torch.tensor([2.0, 4.0, 100.0]),
        terminated=nothing,
        unfinished=torch.tensor([False, False, True]),
        gamma=1.0,
        lam=0.5,
    )
    assert advantage.tolist() == [1 + 0.5 * 2, 2.0, 0.0]


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (1.0, 1.0), (0.9, 0.5)])
def test_extended_gae_is_gae_where_answers_are_finished_or_the_value_stays(gamma: float, lam: float):
    length = torch.tensor([4, 7, 1, 7, 3])
    last, reward, value = last_steps(length, 7), draws(5, 7), draws(5, 7, seed=1)
    following = torch.cat([value[:, 1:], draws(5, 1, seed=2)], 1)
    never = torch.zeros_like(last)
    finished = ops.extended_gae(reward, value, following, last, never, gamma=gamma, lam=lam)
    torch.testing.assert_close(finished, ops.gae(reward, value, following, last, never, gamma=gamma, lam=lam), rtol=0, atol=1e-12)
    cut = ops.extended_gae(reward, value, following, never, last, gamma=gamma, lam=lam)
    constant = torch.where(last, value, following)  # a value that does not change behind the cut
    torch.testing.assert_close(cut, ops.gae(reward, value, constant, never, last, gamma=gamma, lam=lam), rtol=0, atol=1e-12)
    assert not torch.allclose(cut, ops.gae(reward, value, following, never, last, gamma=gamma, lam=lam))


def test_extended_gae_with_lambda_one_is_the_change_of_value_up_to_the_cut():
    length = torch.tensor([5, 2, 6])
    last, value = last_steps(length, 6), draws(3, 6)
    following = torch.cat([value[:, 1:], torch.zeros(3, 1, dtype=torch.float64)], 1)
    advantage = ops.extended_gae(torch.zeros_like(value), value, following, torch.zeros_like(last), last, gamma=1.0, lam=1.0)
    for row, end in enumerate(length.tolist()):
        torch.testing.assert_close(advantage[row, :end], value[row, end - 1] - value[row, :end])


# ----------------------------------------------------------------------------------------------------------------------------------------- segments


def test_segments_begin_before_every_kth_uncertain_token():
    probability = torch.tensor([[0.95, 0.5, 0.99, 0.4, 0.3, 0.9, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4, 1.0, 1.0, 1.0, 1.0]])
    mask = torch.arange(8) < torch.tensor([[8], [4]])
    starts = ops.segment_starts(probability.log(), mask, threshold=0.9, every=2)
    # Row 0: cut points 1, 3, 4, 6, 7 (0.9 is not below 0.9), of which the third and the fifth begin a segment. Row 1: 0, 1, 2, 3; the third.
    assert [row.nonzero().flatten().tolist() for row in starts] == [[0, 4, 7], [0, 2]]
    every = ops.segment_starts(probability.log(), mask, threshold=0.9, every=1)
    assert [row.nonzero().flatten().tolist() for row in every] == [[0, 3, 4, 6, 7], [0, 1, 2, 3]]


def test_segment_advantage_by_hand():
    start = torch.tensor([[True, False, True, False, True, False]])
    mask = torch.tensor([[True, True, True, True, True, False]])
    value = torch.tensor([[0.25, torch.nan, 0.5, torch.nan, 0.125, torch.nan]])
    advantage = ops.segment_advantage(value, start, mask, torch.tensor([1.0]))
    assert advantage.tolist() == [[0.25, 0.25, -0.375, -0.375, 0.875, 0.0]]


def test_segment_advantages_telescope_and_equal_the_loop():
    generator = torch.Generator().manual_seed(0)
    length = torch.randint(1, 13, (2, 20), generator=generator)
    mask = torch.arange(12) < length.unsqueeze(-1)
    start = (torch.rand(2, 20, 12, generator=generator) < 0.3) & mask
    start[..., 0] = True
    value, score = draws(2, 20, 12), draws(2, 20, seed=1)
    found = ops.segment_advantage(value, start, mask, score)
    for seed in range(2):
        for row in range(20):
            places = start[seed, row].nonzero().flatten().tolist()
            ends = [*(value[seed, row, place] for place in places[1:]), score[seed, row]]
            want = torch.zeros(12, dtype=torch.float64)
            bounds = [*places, int(length[seed, row])]
            for place, (begin, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
                want[begin:end] = ends[place] - value[seed, row, begin]
            torch.testing.assert_close(found[seed, row], want)
    torch.testing.assert_close((found * start).sum(-1), score - value[..., 0], rtol=0, atol=1e-12)


# -------------------------------------------------------------------------------------------------------------------------------------------- trees


def test_tree_values_by_hand():
    #      0           1 (leaf)      two roots; 0 has the children 2 and 3, and 3 has 4 and 5
    parent = torch.tensor([-1, -1, 0, 0, 3, 3])
    score = torch.tensor([9.0, 0.5, 1.0, 9.0, 0.0, 1.0])
    value, known = ops.tree_values(score, parent, torch.ones(6, dtype=torch.bool))
    assert value.tolist() == [0.75, 0.5, 1.0, 0.5, 0.0, 1.0] and known.all()
    counts = torch.tensor([True, True, True, True, False, False])  # both leaves under 3 failed: it has no value, and 0 is worth its other child
    value, known = ops.tree_values(score, parent, counts)
    assert known.tolist() == [True, True, True, False, False, False]
    assert value[known].tolist() == [1.0, 0.5, 1.0]


def test_tree_values_equal_the_recursion():
    generator = torch.Generator().manual_seed(3)
    parent = torch.tensor([-1] + [int(torch.randint(-1, row, (), generator=generator)) for row in range(1, 60)])
    score, counts = draws(60), torch.rand(60, generator=generator) < 0.8

    def literal(node: int) -> float | None:
        children = [row for row in range(60) if parent[row] == node]
        if not children:
            return float(score[node]) if counts[node] else None
        values = [value for child in children if (value := literal(child)) is not None]
        return sum(values) / len(values) if values else None

    value, known = ops.tree_values(score, parent, counts)
    for node in range(60):
        want = literal(node)
        assert bool(known[node]) == (want is not None)
        if want is not None:
            assert abs(float(value[node]) - want) < 1e-12
