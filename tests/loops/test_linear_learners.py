"""Methods that learn with known features, kernels or data beside what they play: each against what can be worked out."""

from __future__ import annotations

import pytest
import torch
from planners import learner

from operant.core.errors import BadInput
from operant.core.registry import configure, get_method
from operant.loops.regret import Regret
from operant.worlds import make_world
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.problems import LowRank
from operant.worlds.tabular.world import TabularWorld


def lost(key: str, task: str, episodes: int, **hyper) -> torch.Tensor:
    """Suboptimality of the last policy, of two seeds."""
    world = make_world(task)
    return torch.from_numpy(world.evaluate(learner(key, world, episodes, **hyper).policy, 2).measures["suboptimality"])


@pytest.mark.parametrize("task", ["tabular:linear-mdp", "tabular:linear-bandit"])
def test_lsvi_ucb_learns_what_is_linear(task: str):
    few, many = (lost("lsvi-ucb", task, episodes) for episodes in (1, 150))
    assert (many < 0.3 * few.clamp(min=0.2)).all()


def test_features_are_needed():
    with pytest.raises(BadInput, match="tabular:river-swim tells no features, and this planner needs them"):
        get_method("lsvi-ucb").build(configure("lsvi-ucb", {})).check(make_world("tabular:river-swim"), [0], 10, None)


@pytest.mark.parametrize("task", ["tabular:linear-mdp", "tabular:random-episodes"])
def test_the_actor_critic_switches_rarely(task: str):
    world = make_world(task)
    found = learner("optimal-actor-critic", world, 200)
    assert (found.state["switches"] >= 1).all() and (found.state["switches"] < 20).all()
    assert world.evaluate(found.policy, 2).measures["suboptimality"].max() < 0.5


def test_a_critic_without_optimism_needs_data_of_what_is_good():
    """Data of swimming down alone: what swimming up leads to is not known, and never tried; data of an optimal policy tell all."""
    blind = lost("optimal-actor-critic", "tabular:river-swim", 100, optimistic=False)
    told = lost("optimal-actor-critic", "tabular:river-swim", 100, optimistic=False, offline=True)
    assert (blind > 2).all() and (told < 0.5).all()


def test_demonstrations_spare_episodes():
    """With an expert's data DRRL stops, within what it promises, and the sooner the more it was shown."""
    stopped = []
    for shown in (50, 1_500):
        world = make_world("tabular:random-episodes", transitions=shown, concentrability=1.0)
        found = learner("drrl", world, 300, epsilon=0.5)
        stopped.append(found.state["stopped"])
        assert (found.state["stopped"] > 0).all() and world.evaluate(found.policy, 2).measures["suboptimality"].max() < 0.5
    assert (stopped[1] < 0.5 * stopped[0]).all()


def test_the_right_model_is_told_from_its_like():
    """Contrastive UCB keeps the model that is right, wherever it stands among the others, or one that is all but right; it then plays what is best."""
    world = make_world("tabular:low-rank")
    found = learner("contrastive-ucb", world, 300)
    features, measures = found.problem.candidates
    seed, chosen = torch.arange(2), found.state["loss"].argmin(-1)
    transition = torch.einsum("skad,sdj->skaj", features[seed, chosen], measures[seed, chosen])
    assert (transition - world.mdp(found.streams).transition[:, 0]).abs().max() < 0.01
    assert world.evaluate(found.policy, 2).measures["suboptimality"].max() < 0.05


def test_models_are_needed():
    with pytest.raises(BadInput, match="tabular:linear-mdp tells no candidate_features, and this planner needs them: take tabular:low-rank"):
        get_method("contrastive-ucb").build(configure("contrastive-ucb", {})).check(make_world("tabular:linear-mdp"), [0], 10, None)


@pytest.mark.parametrize("weighted", [True, False])
def test_a_mixture_is_learned_without_its_reward(weighted: bool):
    """The weights of the kernels come near to the right ones, and so does the policy for a reward that exploration never saw."""
    world = make_world("tabular:linear-mixture")
    found = learner("hf-rf-linmix", world, 150, weighted=weighted)
    mdp = world.mdp(found.streams)
    mixed = torch.einsum("sdkaj,sd->skaj", mdp.kernels, found.state["theta"][:, 0])
    before = torch.einsum("sdkaj,d->skaj", mdp.kernels, torch.full((5,), 0.2).double())
    assert (mixed - mdp.transition[:, 0]).abs().mean() < 0.75 * (before - mdp.transition[:, 0]).abs().mean()
    assert world.evaluate(found.policy, 2).measures["suboptimality"].max() < 0.1


@pytest.mark.parametrize("hyper", [{}, {"hybrid": True}])
def test_values_that_ratios_refute_are_dropped(hyper: dict):
    """Of ten models those whose policy was played and did not earn what they promised go; the right one stays, and what is played is best or nearly so."""
    table, sizes = LowRank(5, models=10), (8, 3, [100, 101])
    transition, reward, initial = table.build(*sizes)
    mdp = FiniteMDP(transition.unsqueeze(1), reward.unsqueeze(1), initial, 1.0, 5, **table.told(*sizes))
    world = TabularWorld(mdp, transitions=300)
    found = learner("glow-hyglow", world, 200, **hyper)
    right = (torch.einsum("smkad,smdj->smkaj", mdp.candidate_features, mdp.candidate_measures) - mdp.transition).abs().amax((-3, -2, -1)).argmin(1)
    assert (found.state["kept"][torch.arange(2), right] == 1).all() or hyper
    assert world.evaluate(found.policy, 2).measures["suboptimality"].max() < 0.1


@pytest.mark.parametrize("hyper", [{}, {"regularizer": "entropy"}])
def test_an_adversary_is_followed(hyper: dict):
    """What is played comes nearer to the best in hindsight than any action now and then does."""
    world = make_world("tabular:adversarial-linear-mdp")
    found = learner("logbarrier-linear-q", world, 1_000, **hyper)
    uniform = Regret(world.mdp(found.streams), 2)
    uniform.add(found.problem.uniform(), 1_000)
    assert (found.problem.regret.total < 0.8 * uniform.total).all()


SMALL = {"states": 4, "actions": 2, "horizon": 3}


def settled(task: str, **hyper) -> tuple[dict, torch.Tensor]:
    """The state of FTPedel after 800 episodes, and by how much its policy falls short of the best of its class."""
    world = make_world(task, **SMALL, transitions=hyper.pop("transitions", 5_000), concentrability=None)
    found = learner("ftpedel", world, 40, scale=0.02, batch_episodes=20, **hyper)
    mdp = world.mdp(found.streams)
    choice = torch.cartesian_prod(*[torch.arange(2)] * 4)
    plays = torch.nn.functional.one_hot(choice, 2).double().unsqueeze(1).expand(-1, 3, -1, -1)
    best = torch.stack([mdp.start_value(mdp.value(each.expand(2, -1, -1, -1))) for each in plays]).amax(0)
    return found.state, best - mdp.start_value(mdp.value(found.policy.probabilities))


@pytest.mark.parametrize("task", ["tabular:random-episodes", "tabular:linear-mdp"])
def test_policies_are_dropped_until_one_is_known_to_be_near_the_best(task: str):
    """From data, from play with few data and from play alone, in tables and by features; the more data, the fewer episodes."""
    explored = []
    for hyper in ({}, {"transitions": 200}, {"offline": False}):
        state, short = settled(task, **hyper)
        assert (state["accuracy"] <= 0.1).all() and (short <= 0.1).all()
        explored.append(state["explored"])
    assert (explored[0] == 0).all() and (explored[1] < explored[2]).all()


def test_uniform_play_fills_in_more_slowly():
    """After as many episodes as the design takes, uniform actions have not shown as much."""
    aimed, anyhow = (settled("tabular:random-episodes", offline=False, explore=explore)[0]["explored"] for explore in ("design", "uniform"))
    assert (aimed < anyhow).all()


def test_too_many_policies_are_refused():
    with pytest.raises(BadInput, match="policies of 8 states and 3 actions, here 6,561, and can 512 at most: take fewer --states or --actions"):
        get_method("ftpedel").build(configure("ftpedel", {})).check(make_world("tabular:random-episodes"), [0], 10, None)
