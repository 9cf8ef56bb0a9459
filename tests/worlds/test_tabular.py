"""The world of finite MDPs: its tables are probabilities, its data are what they say, its files and options are held against what can be."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

from operant import ops
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.worlds import make_world
from operant.worlds.tabular.mdp import FiniteMDP, covering
from operant.worlds.tabular.problems import TABLES
from operant.worlds.tabular.world import TabularWorld


@pytest.mark.parametrize("name", TABLES)
def test_named_mdps(name: str):
    """Rewards in [0, 1], an optimum above uniform choice; tables are shared or each seed's own."""
    world = make_world(f"tabular:{name}")
    mdp = world.mdp(Streams([0, 1]))
    assert mdp.seeds == (2 if TABLES[name].own else 1) and mdp.reward.min() >= 0 and mdp.reward.max() <= 1
    policy = world.policy(None, Streams([0, 1]))
    found = world.evaluate(policy, 2)
    assert found.values.shape == (2, 1) and (found.measures["suboptimality"] > 0.05 * found.measures["optimal value"]).all()
    policy.probabilities.copy_(mdp.optimum[1].expand_as(policy.probabilities))
    best = world.evaluate(policy, 2)
    assert best.measures["suboptimality"] == pytest.approx(0, abs=1e-9)
    assert best.values[:, 0] == pytest.approx(best.measures["optimal value"])
    alone = world.evaluate(world.policy(None, Streams([1])), 1)  # the instance is the seed's, wherever it stands
    assert alone.values[0] == pytest.approx(found.values[1], rel=1e-12)


def test_river_swim_by_hand():
    """Six states: against the current 0.35 up, 0.6 stay, 0.05 down; the banks as Osband et al. have them."""
    mdp = make_world("tabular:river-swim", discount=0.99).mdp(Streams([0]))
    assert mdp.transition[0, 2, 1].tolist() == [0, 0.05, 0.6, 0.35, 0, 0] and mdp.transition[0, 2, 0].tolist() == [0, 1, 0, 0, 0, 0]
    assert mdp.transition[0, 0, 1].tolist() == [0.4, 0.6, 0, 0, 0, 0] and mdp.transition[0, 5, 1].tolist() == [0, 0, 0, 0, 0.4, 0.6]
    assert mdp.optimum[1][0, :, 1].tolist() == [1] * 6  # swim up everywhere


def test_the_goal_of_a_maze_pays_once():
    mdp = make_world("tabular:four-rooms").mdp(Streams([0]))
    assert mdp.states == 104  # as Sutton, Precup and Singh 1999 have it
    value = mdp.optimum[0]
    assert value.max() < 1 and (value.abs() < 1e-12).sum() == 1  # at the goal nothing is left
    ninths = 9 * mdp.transition[0]  # 2/3 for the way that is meant, 1/9 for each other one
    torch.testing.assert_close(ninths, ninths.round(), rtol=0, atol=1e-12)


def test_the_cliff_leads_back():
    world = make_world("tabular:cliff")
    mdp = world.mdp(Streams([0]))
    start = int(mdp.initial[0].argmax())
    above = 2 * 12 + 5  # third row, over the abyss
    assert mdp.transition[0, above, 2, start].item() == pytest.approx(0.9) and mdp.reward[0, above].max() == 0


@pytest.mark.parametrize("concentrability", [1.0, 1.5, 8.0])
@pytest.mark.parametrize("name", ["chain", "bandit", "random-dense"])
def test_data_have_the_concentrability_that_was_asked_for(name: str, concentrability: float):
    mdp = make_world(f"tabular:{name}").mdp(Streams([0, 1]))
    occupancy, data = mdp.occupancy(mdp.optimum[1]), covering(mdp, concentrability)
    assert ops.concentrability(occupancy, data).flatten().tolist() == pytest.approx([concentrability] * occupancy.flatten(0, -3).shape[0])
    torch.testing.assert_close(data.sum((-2, -1)), torch.ones_like(data.sum((-2, -1))))


@pytest.mark.parametrize("concentrability", [1.0, 4.0, None])
def test_one_action_or_one_state_leaves_nothing_to_choose(concentrability: float | None):
    """The smallest tables that there can be are planned in and drawn from like any other: the data of one action are those of the only policy."""
    forced = FiniteMDP(torch.eye(2).double().flip(0)[None, :, None], torch.tensor([[[1.0], [0.0]]]).double(), torch.eye(2)[:1].double(), 0.5)
    alone = FiniteMDP(torch.ones(1, 1, 2, 1).double(), torch.tensor([[[0.0, 1.0]]]).double(), torch.ones(1, 1).double(), 0.5)
    for mdp, value in ((forced, 4 / 3), (alone, 2.0)):
        world, streams = TabularWorld(mdp, transitions=50, concentrability=concentrability), Streams([0, 1])
        data = covering(mdp, concentrability)
        assert data.min() >= 0 and data.sum().item() == pytest.approx(1)
        assert world.samples(streams).pair.max() < mdp.states * mdp.actions
        assert mdp.start_value(mdp.optimum[0]).item() == pytest.approx(value)
    for name, table in TABLES.items():
        if "states" in table.sized:
            assert make_world(f"tabular:{name}", states=table.fewest, transitions=50).samples(Streams([0, 1])).size == 50


@pytest.mark.parametrize("options", [{}, {"horizon": 3}])
def test_transitions_are_drawn_as_they_are_distributed(options: dict):
    """Counts of pairs and what followed, within four deviations; another seed draws others, alone or not the same."""
    world = make_world("tabular:random-sparse", states=3, actions=2, transitions=20_000, **options)
    streams = Streams([0, 1])
    mdp, samples = world.mdp(streams), world.samples(streams)
    expected = covering(mdp, 4.0).flatten(1)
    expected = expected / expected.sum(-1, keepdim=True)
    count, reward, transition = samples.model
    assert count.sum((1, 2) if not options else (1, 2, 3)).tolist() == [20_000] * 2
    off = (count.flatten(1) - 20_000 * expected) / (20_000 * expected * (1 - expected)).clamp(min=1e-9).sqrt()
    assert off.abs().max() < 4
    seen = count > 1_000
    assert torch.where(seen, (reward - mdp.reward).abs(), 0).max() < 1e-12  # nothing is drawn of these rewards
    assert torch.where(seen.unsqueeze(-1), (transition - mdp.transition).abs(), 0).max() < 0.06
    assert torch.equal(world.samples(Streams([1])).pair[0], samples.pair[1]) and not torch.equal(samples.pair[0], samples.pair[1])
    parts = [samples.part(number, 3) for number in range(3)]
    assert [part.size for part in parts] == [6666] * 3 and torch.equal(parts[1].pair, samples.pair[:, 6666:13332])


def test_rewards_of_a_bandit_are_drawn():
    world = make_world("tabular:bandit", states=1, actions=2, transitions=10_000)
    samples = world.samples(Streams([0]))
    assert set(samples.reward.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(samples.model[1], world.mdp(Streams([0])).reward, rtol=0, atol=0.05)
    assert world.steps_of("planning") == 1 and make_world("tabular:chain").steps_of("planning") == 185  # ⌈log(10,000) / 0.05⌉


def test_values_with_a_horizon_are_sums():
    """Three steps of the chain from its start, always going on: 0.2 of the time back, for 0.2 each."""
    world = make_world("tabular:chain", horizon=3)
    policy = world.policy(None, Streams([0]))
    policy.probabilities.copy_(torch.tensor([1.0, 0.0]).expand(1, 3, 5, 2))
    assert world.evaluate(policy, 1).values.item() == pytest.approx(3 * 0.2 * 0.2)
    assert world.act(policy, 4)[0] == 0 and world.act(policy, np.array([0, 1]))[0].tolist() == [0, 0]
    with pytest.raises(BadInput, match="5 is no state: states are whole numbers from 0 to 4"):
        world.act(policy, 5)


def test_the_wind_carries_steps_upwards():
    """Sutton and Barto, example 6.5: fifteen steps lead to the goal, which lies seven columns to the right."""
    mdp = make_world("tabular:windy").mdp(Streams([0]))
    assert mdp.start_value(mdp.optimum[0]).item() == pytest.approx(0.95**14)  # the last step pays
    at = lambda row, column: 10 * row + column  # noqa: E731
    for begins, action, ends in (((3, 6), 1, (1, 7)), ((6, 3), 2, (6, 3)), ((0, 7), 0, (0, 7)), ((2, 9), 1, (2, 9)), ((5, 5), 3, (4, 4)), ((3, 7), 1, (3, 7))):
        assert mdp.transition[0, at(*begins), action].argmax() == at(*ends)


def test_the_table_of_an_environment_of_gymnasium():
    """Frozen Lake: an action goes where it says or to one of its sides, a third each; what ends is one more state."""
    world = make_world("tabular:gym/FrozenLake-v1")
    mdp = world.mdp(Streams([0]))
    assert world.shape == (100, 17, 4) and world.picture.splitlines()[0] == "SFFF" and mdp.initial[0, 0] == 1
    right = mdp.transition[0, 0, 14, 2]  # or up, or down against the edge
    torch.testing.assert_close(right[[10, 14, 16]], torch.full((3,), 1 / 3).double())
    assert mdp.reward[0, 0, 14, 2].item() == pytest.approx(1 / 3) and mdp.transition[0, 0, 16, :, 16].tolist() == [1] * 4
    endless = make_world("tabular:gym/FrozenLake-v1", discount=0.99)
    assert endless.mdp(Streams([0])).start_value(endless.mdp(Streams([0])).optimum[0]).item() == pytest.approx(0.542, abs=1e-3)
    cliff = make_world("tabular:gym/CliffWalking-v1", discount=0.9).mdp(Streams([0]))
    assert cliff.start_value(cliff.optimum[0]).item() == pytest.approx(-(1 - 0.9**13) / 0.1)  # thirteen steps, a cost of 1 each


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gym/CartPole-v1", "CartPole-v1 has no P: take an environment that keeps its own table, such as CliffWalking-v1, FrozenLake-v1, Taxi-v"),
        ("gym/FrozenLak-v1", "unknown Gymnasium environment 'FrozenLak-v1': did you mean FrozenLake-v1"),
        ("gym/os:FrozenLake-v1", "an id of Gymnasium's stands there, as in tabular:gym/FrozenLake-v1"),
        ("gym/", "an id of Gymnasium's stands there"),
    ],
)
def test_an_environment_without_a_table(name: str, says: str):
    with pytest.raises(BadInput, match=says):
        TabularWorld(name)


@pytest.mark.parametrize(
    ("table", "first", "says"),
    [
        ({0: {0: [(1.0, 1, 0.0, False)]}}, [1.0], "its table is not .*: ValueError: state 0 leads to 1"),
        ({0: {0: [(1.0, 0, 0.0)]}}, [1.0], "its table is not "),
        ({0: {0: [(0.5, 0, 0.0, False)]}}, [1.0], r"transition\[0, 0\] sums to 0.5, must be 1"),
        ({0: {0: [(1.0, 0, 0.0, False)]}}, [0.5, 0.5], r"initial_state_distrib has shape \[2\], and there are 1 states"),
        ([1], [1.0], "its table is not "),
    ],
)
def test_a_table_that_is_none(monkeypatch, table, first, says: str):
    class Own(gymnasium.Env):
        P, initial_state_distrib = table, first

    monkeypatch.setitem(gymnasium.registry, "Own-v0", gymnasium.envs.registration.EnvSpec("Own-v0", entry_point=Own, disable_env_checker=True))
    with pytest.raises(BadInput, match=says):
        TabularWorld("gym/Own-v0")


def file(path: Path, **arrays) -> str:
    given = {"transition": np.eye(2)[:, None].repeat(3, 1), "reward": np.array([[0, 1, 2], [0, 0, 0.5]]), "discount": 0.5} | arrays
    np.savez(path, **{name: array for name, array in given.items() if array is not None})
    return f"tabular:{path}"


def test_a_file(tmp_path: Path):
    world = make_world(file(tmp_path / "own.npz"))
    assert world.shape == (2, 3) and world.mdp(Streams([0])).optimum[0].tolist() == [[4.0, 1.0]]
    assert world.evaluate(world.policy(None, Streams([0])), 1).measures["optimal value"].tolist() == [2.5]  # starts are equally likely
    over = make_world(file(tmp_path / "own.npz", initial=[1.0, 0.0]), horizon=2)
    assert over.shape == (2, 2, 3) and over.evaluate(over.policy(None, Streams([0])), 1).measures["optimal value"].tolist() == [4.0]
    steps = make_world(file(tmp_path / "steps.npz", discount=None, horizon=2, reward=np.stack([np.zeros((2, 3)), np.ones((2, 3))])))
    assert steps.mdp(Streams([0])).optimum[0].tolist() == [[[1.0, 1.0], [1.0, 1.0]]]


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"transition": None}, r"has no transition \(it holds reward, discount\)"),
        ({"transition": np.eye(2)[:, None].repeat(3, 1) * 0.9}, r"transition\[0, 0\] sums to 0.9, must be 1"),
        ({"transition": np.array([[[2.0, -1.0]] * 3] * 2)}, r"transition\[0, 0, 1\] is -1: a probability is at least 0"),
        ({"reward": np.zeros((2, 2))}, r"the numbers of states and actions do not agree: transition \[1, 2, 3, 2\], reward \[1, 2, 2\]"),
        ({"reward": np.array([[0, 1, np.nan], [0, 0, 0]])}, r"reward\[0, 2\] is nan, must be a finite number"),
        ({"discount": 1.0}, "discount 1 without a horizon, must be in"),
        ({"discount": None}, "says neither discount nor horizon: give --discount"),
        ({"horizon": 1.5}, "horizon is 1.5, must be a whole number"),
        ({"discount": np.zeros(2)}, r"discount has shape \[2\], must be one number"),
        ({"horizon": np.nan}, "horizon is nan, must be a finite number"),
        ({"horizon": np.inf}, "horizon is inf, must be a finite number"),
        ({"transition": np.float64(1), "horizon": 3}, r"transition has shape \[\], must be \[K, A, K\], or with a step axis"),
        ({"transition": np.zeros((0, 3, 0))}, r"transition has shape \[0, 3, 0\]"),
        ({"reward": np.float64(1)}, r"reward has shape \[\], must be \[K, A\], or with a step axis"),
        ({"initial": np.eye(2)}, r"initial has shape \[2, 2\], must be \[K\]$"),
        ({"rounds": np.zeros(5), "reward": None}, r"rounds has shape \[5\], must be \[R, K, A\], or with a step axis"),
        ({"rounds": np.float64(3), "reward": None}, r"rounds has shape \[\], must be"),
        ({"start": np.ones(2) / 2}, "unknown array 'start': known: bernoulli, "),
        ({"features_": np.ones((2, 3, 1))}, "unknown array 'features_': did you mean features?"),
        ({"horizon": 3}, "says both discount and horizon: leave one out, or give --discount or --horizon"),
        ({"emission": np.eye(2), "horizon": 3, "discount": None, "features": np.ones((2, 3, 1)), "bernoulli": 0}, "features and bernoulli cannot be given"),
        ({"bernoulli": 2}, "bernoulli is 2, must be 0 or 1"),
        ({"bernoulli": 1}, r"rewards that are drawn as 0 or 1 have means in \[0, 1\], these are from 0 to 2"),
        ({"reward": np.full((2, 3), -1e308)}, r"a reward of size 1e\+308 makes values that cannot be computed with over 2 steps: scale rewards"),
        ({"transition": np.full((2, 3, 2), [0.1, 0.9], np.float32)}, "transition is float32, whose rounding leaves sums off 1 by 2.2e-08: store it as float64"),
        ({"initial": np.array(["a", "b"])}, r"initial is \[2\] <U1, must be an array of numbers"),
        ({"reward": np.array([object()])}, "reward is a pickled object array"),
        ({"horizon": 3, "discount": None, "reward": np.zeros((2, 2, 3))}, "transition has 1 steps and reward 2, must be 1 or 3"),
    ],
)
def test_a_file_that_is_no_mdp(tmp_path: Path, arrays: dict, says: str):
    with pytest.raises(BadInput, match=says) as told:
        make_world(file(tmp_path / "own.npz", **arrays))
    assert "\n" not in str(told.value) and "own.npz" in str(told.value)


def test_an_option_decides_between_a_discount_and_a_horizon(tmp_path: Path):
    own = file(tmp_path / "own.npz", horizon=3)
    assert make_world(own, discount=0.9).shape == (2, 3) and make_world(own, horizon=4).shape == (4, 2, 3)


def test_rewards_of_a_file_may_be_drawn(tmp_path: Path):
    tables = {"reward": np.array([[0.5, 0, 1], [0.5, 0, 1]]), "discount": None, "horizon": 2}
    play = lambda **more: make_world(file(tmp_path / "own.npz", **tables | more))  # noqa: E731
    uniform = torch.full((1, 2, 2, 3), 1 / 3).double()
    drawn, means = play(bernoulli=True), play(bernoulli=0)
    assert means.mdp(Streams([0])).play(uniform, 50, Streams([0])).reward.unique().tolist() == [0, 0.5, 1]
    assert drawn.mdp(Streams([0])).play(uniform, 50, Streams([0])).reward.unique().tolist() == [0, 1]
    assert drawn.fingerprint() != means.fingerprint()


def test_rounding_is_no_suboptimality():
    """Two actions that are alike but for rounding: a policy of both misses the optimum by nothing; what is more than rounding is told."""
    for less, told in ((1e-10, 0.0), (1e-8, 5e-9)):
        reward = torch.tensor([[[[1, 1 - less]]]], dtype=torch.float64)
        world = TabularWorld(FiniteMDP(torch.ones(1, 1, 1, 2, 1).double(), reward, torch.ones(1, 1).double(), 1.0, 1))
        assert world.evaluate(world.policy(None, Streams([0])), 1).measures["suboptimality"].item() == pytest.approx(told, rel=1e-6, abs=0)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("chian", {}, "unknown finite MDP 'chian': did you mean chain?"),
        ("cliff", {"states": 9}, "has no option states: its size is fixed"),
        ("bandit", {"discount": 0.5}, "tabular:bandit --discount: its horizon is its own"),
        ("chain", {"discount": 0.5, "horizon": 3}, "give a discount or a horizon, not both"),
        ("chain", {"discount": 1.0}, r"discount = 1.0: it must be in \[0, 1\)"),
        ("chain", {"concentrability": 0.5}, "it must be at least 1"),
        ("river-swim", {"states": 1}, "states = 1: it must be at least 2"),
        ("random-dense", {"states": 10**6}, "take fewer states"),
        ("gone.npz", {}, "no such file"),
    ],
)
def test_options_that_cannot_be(name: str, options: dict, says: str):
    with pytest.raises(BadInput, match=says):
        TabularWorld(name, **options)


def test_more_than_can_be_drawn_from_is_refused():
    world = make_world("tabular:chain", states=500, horizon=40)
    with pytest.raises(BadInput, match="here are 20,000,000: take fewer states"):
        world.check_samples(1)


def test_other_worlds_are_no_mdps():
    world = make_world("sequences:target")
    for channel in (world.mdp, world.samples):
        with pytest.raises(BadInput, match=r"sequences:target is no finite MDP: a planner needs one \(tabular:\)"):
            channel(Streams([0]))


def test_an_mdp_is_checked_where_it_is_made():
    with pytest.raises(BadInput, match=r"rewards that are drawn as 0 or 1 have means in \[0, 1\]"):
        FiniteMDP(torch.ones(1, 1, 1, 1), torch.full((1, 1, 1), 2.0), torch.ones(1, 1), 0.5, bernoulli=True)
    with pytest.raises(BadInput, match=r"reward has shape \[1, 1\], must be \[S, K, A\]"):
        FiniteMDP(torch.ones(1, 1, 1, 1), torch.ones(1, 1), torch.ones(1, 1), 0.5)
