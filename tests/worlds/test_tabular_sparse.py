"""Finite MDPs that store what each pair leads to: the same numbers as with a table of all states by all."""

from __future__ import annotations

import pytest
import torch

from operant.cli.main import main
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.loops.configuration import configure_run
from operant.worlds import make_world
from operant.worlds.tabular.sparse import LARGEST_DISCOUNT, MOST_SWEEPS, SparseMDP, sweeps

SEEDS = (3, 4, 5)


def garnet(states: int = 12, seeds: tuple[int, ...] = SEEDS, **options) -> SparseMDP:
    return make_world("tabular:garnet", states=states, **options).mdp(Streams(seeds))


def policy(mdp: SparseMDP, seeds: int) -> torch.Tensor:
    weight = torch.rand(seeds, *mdp.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return weight / weight.sum(-1, keepdim=True)


@pytest.mark.parametrize("shared", [False, True])
def test_numbers_are_those_of_the_whole_table(shared: bool):
    mdp = garnet(seeds=SEEDS[:1] if shared else SEEDS, discount=0.97)
    dense, acts = mdp.dense(), policy(mdp, len(SEEDS))
    assert (mdp.branches, dense.branches) == (5, 12) and len(mdp.transition) == (1 if shared else 3)
    value = mdp.value(acts)
    torch.testing.assert_close(value, dense.value(acts), rtol=1e-11, atol=0)
    torch.testing.assert_close(mdp.backup(value), dense.backup(value), rtol=1e-14, atol=0)
    torch.testing.assert_close(mdp.occupancy(acts), dense.occupancy(acts), rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(mdp.optimum[0], dense.optimum[0], rtol=1e-11, atol=0)
    assert torch.equal(mdp.optimum[1].argmax(-1), dense.optimum[1].argmax(-1))
    other = torch.rand_like(mdp.reward)
    torch.testing.assert_close(mdp.value(acts, other), dense.value(acts, other), rtol=1e-11, atol=0)
    torch.testing.assert_close(mdp.to(torch.device("cpu")).backup(value), mdp.backup(value))


def test_pairs_lead_to_distinct_states_all_alike():
    mdp = garnet(states=40, seeds=tuple(range(50)))
    assert (mdp.successor.sort(-1).values.diff(dim=-1) > 0).all()
    share = torch.bincount(mdp.successor.flatten(), minlength=40) / mdp.successor.numel()
    assert (share * 40 - 1).abs().max() < 0.15  # 40,000 draws: five deviations
    assert garnet(states=3).branches == 3


def test_what_is_drawn_follows_the_table():
    mdp = garnet(states=6, seeds=(3,))
    data = torch.full((1, *mdp.shape), 1 / 24, dtype=torch.float64)
    samples = mdp.sample(data, 200_000, Streams([3]))
    torch.testing.assert_close(samples.model[2], mdp.dense().transition, rtol=0, atol=0.02)


def test_what_many_states_cost_is_told_before():
    make_world("tabular:garnet", states=10_000).check_mdp(20)
    with pytest.raises(BadInput, match="take fewer states"):
        make_world("tabular:garnet", states=10_000_000).check_mdp(100)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"successor": None}, "successor is none, must be int64 [3, 12, 4, 5], as transition"),
        ({"successor": torch.zeros(3, 12, 4, 5)}, "successor is [3, 12, 4, 5] torch.float32"),
        ({"successor": torch.full((3, 12, 4, 5), 12)}, "successor[0, 0, 0] of seed 0 is 12, must be a state, 0 to 11"),
        ({"horizon": 3}, "has a discount, and no horizon"),
        ({"transition": torch.full((3, 12, 4, 5), 0.3, dtype=torch.float64)}, "transition[0, 0] of seed 0 sums to 1.5, must be 1"),
    ],
)
def test_what_cannot_be_is_one_line(change: dict, said: str):
    mdp = garnet()
    tables = {"transition": mdp.transition, "reward": mdp.reward, "initial": mdp.initial, "discount": 0.9, "successor": mdp.successor}
    with pytest.raises(BadInput) as error:
        SparseMDP(**tables | change)
    assert said in str(error.value)


def test_a_discount_that_sweeps_do_not_settle_with_is_refused_before_them(capsys):
    assert sweeps(LARGEST_DISCOUNT) < MOST_SWEEPS < sweeps(LARGEST_DISCOUNT + 1e-6)
    told = "sweeps, 9,210,340,600 with discount 0.999999999: the largest discount that can be is 0.99998"
    with pytest.raises(BadInput, match=told):
        make_world("tabular:garnet", states=30, discount=0.999999999)
    with pytest.raises(BadInput, match=told):
        configure_run("value-iteration", "tabular:garnet", steps=1, hyperparameters={"discount": 0.999999999})
    assert main(["solve", "tabular:river-swim", "--discount", "0.999999999"]) == 0
    assert "2 actions, discount 0.999999999" in (told := capsys.readouterr().out) and "1 / (1 - 0.999999999) = 1e+09 steps" in told
