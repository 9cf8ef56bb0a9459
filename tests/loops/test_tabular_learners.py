"""Methods that learn finite MDPs by playing them: each against what can be worked out, and where it is better than another one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planners import learner

from operant.core.errors import BadInput
from operant.core.registry import configure, get_method
from operant.worlds import make_world
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.world import TabularWorld


def mdp(transition, reward, horizon: int) -> TabularWorld:
    """One that begins in state 0."""
    transition, reward = torch.tensor(transition).double(), torch.tensor(reward).double()
    return TabularWorld(FiniteMDP(transition[None, None], reward[None, None], torch.eye(len(reward)).double()[:1], 1.0, horizon))


def coin(horizon: int) -> TabularWorld:
    """One state; action 1 pays 1, action 0 pays 1/4."""
    return mdp([[[1.0], [1.0]]], [[0.25, 1.0]], horizon)


def test_q_learning_by_hand():
    """From Q = (2, 2), (1, 1): action 0 first, each step's first; then the better one. A first visit takes the whole target: 1/4 + 1, and 1 + 1."""
    first, second = (learner("q-learning", coin(2), episodes, explore="ucb", scale=0.0).state for episodes in (1, 2))
    assert first["q"][0, :, 0].tolist() == [[1.25, 2], [0.25, 1]] and first["visits"][1, :, 0].tolist() == [[1, 0], [1, 0]]
    assert second["q"][0, :, 0].tolist() == [[1.25, 2], [0.25, 1]] and second["visits"][0, :, 0].tolist() == [[1, 1], [1, 1]]
    found = learner("q-learning", coin(2), 400, epsilon=0.5, halved=None)
    torch.testing.assert_close(found.state["q"][:, :, 0], torch.tensor([[1.25, 2], [0.25, 1]]).double().expand(2, 2, 2), rtol=0.02, atol=0)
    assert found.measures()["regret"] == pytest.approx(400 * 2 * 0.25 * 0.75, rel=0.05)  # half of the steps are any action, half of these the worse


def test_sarsa_keeps_from_the_edge_that_q_learning_walks_along():
    """Action 0 leads to an edge where one step pays 1 and the other nothing, action 1 pays 0.8 and ends. Of those who take any action every second time the
    edge is worth 3/4: SARSA knows, and what it plays earns more."""
    edge, end = [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
    world = mdp([[edge, end], [end, end], [end, end]], [[0.0, 0.8], [1.0, 0.0], [0.0, 0.0]], 2)
    cautious, bold = (learner(key, world, 300, epsilon=0.5, halved=None) for key in ("sarsa", "q-learning"))
    assert cautious.state["q"][:, 0, 0].argmax(-1).tolist() == [1, 1] and bold.state["q"][:, 0, 0].argmax(-1).tolist() == [0, 0]
    torch.testing.assert_close(cautious.state["q"][:, 0, 0], torch.tensor([[0.75, 0.8]] * 2).double(), rtol=1e-3, atol=0)
    assert world.evaluate(cautious.policy, 2).values.flatten().tolist() == pytest.approx([0.75 * 0.8 + 0.25 * 0.75] * 2)
    assert (cautious.measures()["regret"] < bold.measures()["regret"]).all()
    fading = learner("sarsa", world, 600)
    assert fading.state["q"][:, 0, 0].argmax(-1).tolist() == [0, 0]  # with an epsilon that fades both learn the same


EXPLORERS = {"psrl": {}, "ucrl2": {"scale": 1e-4}, "rmax": {"known": 1}, "q-learning": {"explore": "ucb"}, "ucbvi": {"scale": 1e-3}}


def late_regret(key: str, **hyper) -> np.ndarray:
    """Of the last 200 of 600 episodes in a sea of eight columns."""
    found = learner(key, make_world("tabular:deep-sea", states=8), 400, **hyper)
    found.total_steps, before = 600, found.measures()["regret"]
    while found.step < 600:
        found.iterate()
    return found.measures()["regret"] - before


@pytest.mark.parametrize(("key", "hyper"), EXPLORERS.items(), ids=EXPLORERS)
def test_who_explores_dives_into_the_deep_sea(key: str, hyper: dict):
    """One sequence of eight actions in 256 pays, and every step of another one is paid for leading away from it."""
    assert late_regret(key, **hyper).max() < 30


def test_who_takes_any_action_now_and_then_does_not():
    assert late_regret("q-learning").min() > 190


def test_a_posterior_narrows():
    """Draws of PSRL come nearer to the optimum; rewards of any size have a normal posterior."""
    world = mdp([[[1.0], [1.0]]], [[-2.0, 3.0]], 3)
    found = learner("psrl", world, 200, rewards="normal")
    assert world.evaluate(found.policy, 2).measures["suboptimality"].max() == 0 and found.measures()["regret"].max() < 150


@pytest.mark.parametrize(
    ("key", "hyper"), [("ucbvi", {}), ("ucrl2", {}), ("rmax", {}), ("psrl", {}), ("q-learning", {"explore": "ucb"})], ids=lambda value: str(value)
)
def test_bounds_are_of_rewards_in_the_unit_interval(key: str, hyper: dict, tmp_path):
    np.savez(tmp_path / "m.npz", transition=np.ones((1, 2, 1)), reward=[[-1.0, 5.0]], horizon=2)
    spine = get_method(key).build(configure(key, hyper))
    with pytest.raises(BadInput, match=rf"{key}.* needs rewards in \[0, 1\]; these are from -1 to 5: scale them"):
        spine.check(make_world(f"tabular:{tmp_path / 'm.npz'}"), [0], 10, None)
