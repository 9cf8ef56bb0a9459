"""Planning from data against a nature that may change what was seen: by hand where it can be, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from operant.core.errors import BadInput
from operant.core.registry import configure, get_method
from operant.worlds import make_world
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.world import TabularWorld

CPU = torch.device("cpu")


def planned(world, seeds=(100, 101), **hyper):
    found = get_method("r2pvi").build(configure("r2pvi", hyper)).learner(world, list(seeds), 1, CPU)
    found.iterate()
    return found.policy.probabilities


def gamble() -> FiniteMDP:
    """From state 0 action 0 leads to state 1, which pays 0.6 at the second step; action 1 to state 2, which pays 1, or state 3, which pays nothing, with
    probabilities 0.7 and 0.3. Each action of state 0, and each other state, is a factor."""
    transition = torch.zeros(1, 1, 4, 2, 4, dtype=torch.float64)
    transition[..., 0, 0, 1], transition[..., 0, 1, 2], transition[..., 0, 1, 3] = 1, 0.7, 0.3
    for state in (1, 2, 3):
        transition[..., state, :, state] = 1
    reward = torch.zeros(1, 1, 4, 2, dtype=torch.float64)
    reward[..., 1, :], reward[..., 2, :] = 0.6, 1.0
    features = torch.zeros(1, 1, 4, 2, 5, dtype=torch.float64)
    for pair, factor in (((0, 0), 0), ((0, 1), 1), ((1, 0), 2), ((1, 1), 2), ((2, 0), 3), ((2, 1), 3), ((3, 0), 4), ((3, 1), 4)):
        features[(0, 0, *pair, factor)] = 1
    return FiniteMDP(transition, reward, torch.eye(4, dtype=torch.float64)[:1], 1.0, 2, features=features)


@pytest.mark.parametrize(
    ("divergence", "price", "action"),
    [("total-variation", 0.1, 0), ("total-variation", 2.0, 1), ("kl", 0.1, 0), ("kl", 50.0, 1), ("chi-square", 0.2, 0), ("chi-square", 50.0, 1)],
)
def test_a_cheap_nature_is_feared_and_a_dear_one_is_not(divergence: str, price: float, action: int):
    """0.7 is more than 0.6 where nothing changes. For 0.1 a unit of total variation every value above 0.1 is brought there, and 0.07 is less than 0.1."""
    mdp = gamble()
    world = TabularWorld(mdp, data=torch.full((1, 2, 4, 2), 1 / 8, dtype=torch.float64), transitions=40_000)
    policy = planned(world, divergence=divergence, price=price, beta=0.0, ridge=1e-6)
    assert policy[:, 0, 0].argmax(-1).tolist() == [action, action]


def test_what_was_seen_rarely_is_not_chosen():
    """The gamble is in the data about once, and where it was won it seems to pay more."""
    data = torch.full((1, 2, 4, 2), 1 / 8, dtype=torch.float64)
    data[:, 0] = 0
    data[:, 0, 0, 0], data[:, 0, 0, 1] = 0.999, 0.001
    world = TabularWorld(gamble(), data=data, transitions=2_000)
    bold, shy = (planned(world, range(100, 120), price=10.0, beta=beta)[:, 0, 0].argmax(-1) for beta in (0.0, 1.0))
    assert shy.sum() == 0 and bold.sum() > 2


def test_it_says_what_it_is_for(tmp_path):
    for task, options, says in (
        ("random-episodes", {}, "tells no features, and this planner needs them"),
        ("linear-mdp", {"discount": 0.9}, "r2pvi plans for episodes, and they have no end: give a --horizon"),
        ("linear-bandit", {}, "r2pvi needs features that are shares of factors"),
    ):
        with pytest.raises(BadInput, match=says):
            planned(make_world(f"tabular:{task}", **options))
    np.savez(tmp_path / "m.npz", transition=np.ones((1, 2, 1)), reward=[[-1.0, 5.0]], features=np.ones((1, 2, 1)), horizon=2)
    with pytest.raises(BadInput, match=r"r2pvi needs rewards in \[0, 1\]"):
        planned(make_world(f"tabular:{tmp_path / 'm.npz'}"))
