"""Shallow planning in finite MDPs: the depth that it takes, by hand; what is played; and the methods that look so deep."""

from __future__ import annotations

import pytest
import torch

from operant import ops
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.worlds.tabular.horizon import shallow
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.world import TabularWorld

F64 = torch.float64


def lure(reward: float) -> FiniteMDP:
    """Two steps. In state 0 action 0 pays and ends in state 2, which pays nothing; action 1 leads to state 1, where action 0 pays 1 and action 1 nothing: 0.5
    at random."""
    transition = torch.zeros(1, 1, 3, 2, 3, dtype=F64)
    transition[..., 0, 0, 2] = transition[..., 0, 1, 1] = 1
    transition[..., 1, :, 2] = transition[..., 2, :, 2] = 1
    rewards = torch.tensor([[[[reward, 0.0], [1.0, 0.0], [0.0, 0.0]]]], dtype=F64)
    return FiniteMDP(transition, rewards, torch.tensor([[1.0, 0, 0]], dtype=F64), 1.0, 2)


def deep(length: int) -> FiniteMDP:
    """Each step action 0 pays 0.1 and loses the way; only action 1 at all steps pays, 1 at the end."""
    transition = torch.zeros(1, 1, length + 1, 2, length + 1, dtype=F64)
    reward = torch.zeros(1, 1, length + 1, 2, dtype=F64)
    lost = length
    for place in range(length):
        transition[..., place, 0, lost] = transition[..., place, 1, min(place + 1, length - 1)] = 1
        reward[..., place, 0] = 0.3
    transition[..., lost, :, lost] = 1
    reward[..., length - 1, 1] = 1
    return FiniteMDP(transition, reward, torch.nn.functional.one_hot(torch.tensor([0]), length + 1).to(F64), 1.0, length)


def test_the_depth_that_it_takes_by_hand():
    easy, hard = shallow(lure(0.4)), shallow(lure(0.6))
    assert (easy.k.item(), hard.k.item()) == (1, 2)
    assert easy.gap.item() == pytest.approx(0.1)  # 0.5 at random against 0.4
    assert hard.gap.item() == pytest.approx(0.4)  # 1 against 0.6
    assert shallow(lure(1.0)).k.item() == 1  # both ways are worth 1, and random play says 1 against 0.5: greedy in Q^1 is optimal
    # at random the last step of three is worth 0.65, the one before 0.5 (0.3 + 0.65) = 0.475, more than 0.3 each
    assert shallow(deep(3)).k.item() == 1
    with pytest.raises(BadInput, match="with a horizon"):
        shallow(FiniteMDP(torch.ones(1, 1, 1, 1, dtype=F64), torch.zeros(1, 1, 1, dtype=F64), torch.ones(1, 1, dtype=F64), 0.9))


def test_where_greedy_actions_do_not_lead_nothing_is_asked():
    """In state 1 random play's values are wrong about what is best, and state 1 is not on the way."""
    q, best = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, 2)
    q[..., 1, 0], best[..., 1, 1] = 1, 1
    q[:, 0, 0, 0] = best[:, 0, 0, 0] = 1
    transition = torch.zeros(1, 1, 2, 2, 2)
    transition[..., 0, 0, 0] = transition[..., 0, 1, 1] = transition[..., 1, :, 1] = 1
    start = torch.tensor([[1.0, 0.0]])
    assert ops.greedy_mistake(q, best, transition, start).item() == 0
    q[:, 0, 0, 1] = 1  # now both actions of the start are greedy, and the second is no best one
    assert ops.greedy_mistake(q, best, transition, start).item() == 1


def test_means_by_pair():
    count, mean = ops.mean_by_pair(torch.tensor([[0, 3, 3, 0]]), torch.tensor([[1.0, 2.0, 4.0, 1.0]], dtype=F64), shape=(2, 2))
    assert count.tolist() == [[[2, 0], [0, 2]]] and mean.tolist() == [[[1, 0], [0, 3]]]


def test_episodes_are_those_of_the_mdp():
    world = TabularWorld("random-sparse", horizon=4, states=5, actions=3)
    streams = Streams([0, 1])
    mdp = world.mdp(streams)
    policy = torch.rand(2, 4, 5, 3, dtype=F64, generator=torch.Generator().manual_seed(0)).softmax(-1)
    played = mdp.play(policy, 20_000, streams)
    assert played.state.shape == (2, 20_000, 5) and played.action.shape == (2, 20_000, 4)
    torch.testing.assert_close(played.to_go[..., 0].mean(1), mdp.start_value(mdp.value(policy)), rtol=0.02, atol=0.02)
    occupancy = mdp.occupancy(policy)
    for step in (0, 3):
        pair = played.state[..., step] * 3 + played.action[..., step]
        found = torch.stack([torch.bincount(x, minlength=15) for x in pair]).reshape(2, 5, 3) / 20_000
        torch.testing.assert_close(found.to(F64), occupancy[:, step], rtol=0, atol=0.015)
    alone = TabularWorld("random-sparse", horizon=4, states=5, actions=3).mdp(Streams([1]))
    assert torch.equal(alone.play(policy[1:], 20_000, Streams([1])).state[0], played.state[1])


def planned(key: str, mdp: FiniteMDP, **values) -> list[float]:
    """The values of the policies that a method finds for five seeds, as shares of the optimum."""
    world = TabularWorld(mdp)
    learner = get_method(key).build(configure(key, values)).learner(world, [0, 1, 2, 3, 4], mdp.horizon, torch.device("cpu"))
    while learner.step < mdp.horizon:
        learner.iterate()
    found = world.evaluate(learner.policy, 5)
    return (found.values[:, 0] / found.measures["optimal value"]).tolist()


def test_sqirl_finds_what_is_k_deep_and_no_deeper():
    assert planned("sqirl", lure(0.6), k=2, episodes=200) == pytest.approx([1] * 5)
    assert planned("sqirl", lure(0.6), k=1, episodes=200) == pytest.approx([0.6] * 5)
    assert planned("sqirl", lure(0.4), k=1, episodes=2_000) == pytest.approx([1] * 5)
    assert planned("gorp", lure(0.6), k=2, episodes=50) == pytest.approx([1] * 5)
    assert planned("gorp", lure(0.6), k=1, episodes=200) == pytest.approx([0.6] * 5)
    with pytest.raises(BadInput, match="give a --horizon"):
        get_method("sqirl").build(configure("sqirl", {})).check(TabularWorld("chain"), [0], 3, None)
