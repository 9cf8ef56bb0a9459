"""Bandit methods: what they do in the first rounds, by hand; that they find what pays; what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from planners import learner

from operant.core.errors import BadInput
from operant.core.registry import configure, get_method
from operant.worlds import make_world
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.world import TabularWorld

F64 = torch.float64


def arms(*means: float, rounds: list[list[float]] | None = None) -> TabularWorld:
    """A bandit without contexts, whose rewards are their means."""
    table = None if rounds is None else torch.tensor(rounds, dtype=F64).view(1, len(rounds), 1, 1, -1)
    reward = torch.tensor(means, dtype=F64).view(1, 1, 1, -1) if table is None else table.mean(1)
    count = reward.shape[-1]
    return TabularWorld(FiniteMDP(torch.ones(1, 1, 1, count, 1, dtype=F64), reward, torch.ones(1, 1, dtype=F64), 1.0, 1, rounds=table))


def test_ucb_plays_every_action_once_and_then_by_its_index():
    """Means 0.5 and 0.25: after one play each the first is ahead by 0.25; after two of it its bonus is smaller by √(2 ln 3) (1 - 1 / √2) = 0.43."""
    played = [learner("ucb", arms(0.5, 0.25), rounds).state["count"][0, 0].tolist() for rounds in (1, 2, 3, 4)]
    assert played == [[1, 0], [1, 1], [2, 1], [2, 2]]
    assert learner("ucb", arms(0.5, 0.25), 50, scale=0.0).state["count"][0, 0].tolist() == [49, 1]


def test_exp3_by_hand():
    """Two actions, γ = 1/2, of which one pays 1: a play of it, of probability 1/2, is an estimate of 2 and a weight of e^(1/2)."""
    world = arms(1.0, 1.0)
    found = learner("exp3", world, 1, seeds=(100,), gamma=0.5).state
    action = found["gain"].flatten().argmax()
    assert found["gain"].flatten().sum() == 2 and found["rounds"].item() == 1
    weight = math.exp(0.5)
    assert found["policy"].flatten()[action].item() == pytest.approx(0.5 * weight / (1 + weight) + 0.25)


def test_hedge_by_hand():
    """Two rounds: (1, 0) and (0, 1/2). At rate 2 the weights are e² and e."""
    found = learner("hedge", arms(rounds=[[1.0, 0.0], [0.0, 0.5]]), 2, seeds=(100,), rate=2.0)
    assert found.state["policy"].flatten().tolist() == pytest.approx([math.e / (1 + math.e), 1 / (1 + math.e)])
    gained = 0.5 + 0.5 / (1 + math.exp(2))  # the first round was uniform, the second of weights e² and 1
    assert found.measures()["regret"].item() == pytest.approx(1 - gained)
    free = learner("hedge", arms(rounds=[[1.0, 0.0], [0.0, 0.5]]), 1, seeds=(100,))
    assert free.state["policy"].flatten()[0].item() == pytest.approx(1 / (1 + math.exp(-math.sqrt(4 * math.log(2)))))


@pytest.mark.parametrize("key", ["ucb", "thompson", "exp3"])
def test_what_pays_is_played_in_each_context(key: str):
    """Three contexts of two actions, a far better one each: nine in ten of the last 200 rounds play it."""
    best = torch.tensor([0, 1, 0])
    reward = torch.where(torch.arange(2) == best.unsqueeze(-1), 0.9, 0.1).to(F64)
    tables = torch.full((1, 1, 3, 2, 3), 1 / 3, dtype=F64), reward[None, None], torch.full((1, 3), 1 / 3, dtype=F64)
    world = TabularWorld(FiniteMDP(*tables, 1.0, 1, True))
    hyper = {"gamma": 0.1} if key == "exp3" else {}
    found = learner(key, world, 1_500, **hyper)
    before, found.total_steps = found.measures()["regret"], 1_700
    while found.step < 1_700:
        found.iterate()
    assert (found.measures()["regret"] - before < 0.8 * 0.1 * 200).all()


def test_thompson_counts_parts_of_successes():
    found = learner("thompson", arms(0.25, 0.25), 8).state
    assert (found["gained"].sum(-1) == 2).all() and (found["count"].sum(-1) == 8).all()


@pytest.mark.parametrize("key", ["ucb", "thompson", "exp3", "hedge"])
def test_bandits_have_one_step(key: str):
    spine = get_method(key).build(configure(key, {}))
    with pytest.raises(BadInput, match=f"{key} is for bandits, episodes of one step; these have 20: give --horizon 1, or take tabular:bandit") as told:
        spine.check(make_world("tabular:river-swim"), [0], 10, None)
    assert "\n" not in str(told.value)
    with pytest.raises(BadInput, match=rf"{key} needs rewards in \[0, 1\]; these are from -1 to 2"):
        spine.check(arms(-1.0, 2.0), [0], 10, None)


def test_hedge_is_shown_rounds():
    with pytest.raises(BadInput, match="hedge needs rewards that differ between rounds and are shown afterwards: take tabular:adversarial-bandit"):
        get_method("hedge").build(configure("hedge", {})).check(make_world("tabular:bandit"), [0], 10, None)
