"""Bandits with known features, with actions that are not always there, and with feedback that comes late."""

from __future__ import annotations

import pytest
import torch
from planners import learner

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.loops.planning import Late, Problem
from operant.worlds import make_world
from operant.worlds.tabular.mdp import FiniteMDP, Played
from operant.worlds.tabular.world import TabularWorld

CPU, F64 = torch.device("cpu"), torch.float64


def bandit(reward: torch.Tensor, **other) -> TabularWorld:
    """Of means `[K, A]`; contexts are equally likely."""
    states, actions = reward.shape
    tables = torch.full((1, 1, states, actions, states), 1 / states, dtype=F64), reward.to(F64)[None, None], torch.full((1, states), 1 / states, dtype=F64)
    return TabularWorld(FiniteMDP(*tables, 1.0, 1, **other))


def shortfall(found) -> torch.Tensor:
    return torch.from_numpy(found.world.evaluate(found.policy, 2).measures["suboptimality"])


def test_linear_methods_learn_of_all_pairs_at_once():
    """Eight contexts of six actions in three dimensions: 150 rounds are three of each pair."""
    world = make_world("tabular:linear-bandit", states=8, actions=6)
    ours, theirs = learner("linucb", world, 150), learner("ucb", world, 150)
    assert (ours.measures()["regret"] < 0.8 * theirs.measures()["regret"]).all()
    linear, table = (learner("squarecb", world, 150, oracle=oracle) for oracle in ("linear", "table"))
    assert (linear.measures()["regret"] < table.measures()["regret"]).all()
    with pytest.raises(BadInput, match="tells no features, and this planner needs them"):
        learner("linucb", make_world("tabular:bandit"), 1)


def test_linucb_by_hand():
    """Two actions with features (1, 0) and (0, 1). The first is played, pays 1/2 and is worth 1/4; the widths are then 0.71 and 1 times one number."""
    features = torch.eye(2, dtype=F64).view(1, 1, 1, 2, 2)
    world = bandit(torch.tensor([[0.5, 0.5]]), features=features)
    assert learner("linucb", world, 1).state["policy"][0, 0, 0].tolist() == [0, 1]
    assert learner("linucb", world, 1, scale=0.0).state["policy"][0, 0, 0].tolist() == [1, 0]


def test_sparse_enumeration_asks_and_keeps_the_best():
    """Three actions along two axes: those that are best for some parameter of one entry are the two ends of each axis, and the rewards say which is kept."""
    features = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [0.5, 0.5]], dtype=F64).view(1, 1, 1, 5, 2)
    world = bandit(torch.tensor([[0.1, 0.2, 0.9, 0.3, 1.0]]), features=features)
    found = learner("sparse-misspecified-bandit", world, 4, sparsity=1, epsilon=0.2)
    assert found.state["asked"][0].tolist() == [1, 1, 1, 1, 0] and found.state["policy"][0].flatten().tolist() == [0, 0, 1, 0, 0]
    assert found.state["found"][0, :4].tolist() == pytest.approx([0.1, 0.2, 0.9, 0.3])
    later = learner("sparse-misspecified-bandit", world, 7, sparsity=1, epsilon=0.2)
    assert torch.equal(later.state["found"], found.state["found"])
    with pytest.raises(BadInput, match="for bandits without contexts"):
        learner("sparse-misspecified-bandit", make_world("tabular:linear-bandit"), 1)
    with pytest.raises(BadInput, match=r"would try [\d,]+ pairs of parameters and actions, 268,435,456 at most: raise --epsilon"):
        learner("sparse-misspecified-bandit", make_world("tabular:misspecified-bandit"), 1, sparsity=3, epsilon=0.01)


def test_an_optimal_design_is_exact_where_rewards_are_linear():
    generator = torch.Generator().manual_seed(100)
    features = torch.randn(1, 1, 1, 40, 4, generator=generator, dtype=F64)
    reward = (features * torch.tensor([0.3, -0.2, 0.1, 0.0], dtype=F64)).sum(-1)[0, 0]
    found = learner("optimal-design", bandit(reward, features=features), 20)
    assert shortfall(found).tolist() == pytest.approx([0, 0], abs=1e-9) and (found.state["asked"] > 0).sum(-1).max() < 20


def test_feedback_comes_in_batches_and_late():
    def episodes(*numbers: int) -> Played:
        table = torch.tensor(numbers).view(1, -1, 1)
        return Played(table.expand(1, -1, 2), table, table.to(F64))

    late = Late(2, 1)
    told = [late.told(episodes(*numbers)).action.flatten().tolist() for numbers in ((0, 1, 2), (3,), (4, 5, 6, 7, 8), ())]
    assert told == [[], [0, 1], [2, 3, 4, 5], []]
    again = Late(2, 1)
    again.load_state_dict(late.state_dict(), CPU)
    for each in (late, again):
        assert each.told(episodes(9)).action.flatten().tolist() == [6, 7]
    assert Late(2, 1).state_dict() == {}


def test_payments():
    world = make_world("tabular:payments", batch=40, delay=2)
    problem = Problem("episodes", world, Streams([100, 101]))
    mdp, allowed = world.mdp(Streams([100, 101])), problem.available
    assert allowed.shape == (2, 50, 20) and allowed.sum(-1).min() >= 2 and 0.6 < allowed.double().mean() < 0.8
    assert (mdp.reward[:, 0][~allowed] == 0).all() and (mdp.reward[:, 0][allowed] > 0).all()
    assert [problem.play(problem.uniform(), 40).reward.shape[1] for _ in range(4)] == [0, 0, 40, 40]
    logit = mdp.reward[:, 0].clamp(min=1e-12).logit()[0]  # linear in the features, where available
    rows, phi = allowed[0], problem.model_features[0]
    solution = torch.linalg.lstsq(phi[rows], logit[rows].unsqueeze(-1)).solution
    assert (phi[rows] @ solution - logit[rows].unsqueeze(-1)).abs().max() < 1e-6
    with pytest.raises(BadInput, match="tabular:bandit has no option batch"):
        make_world("tabular:bandit", batch=5)


@pytest.mark.parametrize(
    ("available", "says"),
    [
        (torch.tensor([[[True, False]]]), "actions that are not available earn 0, and no reward is below it"),
        (torch.tensor([[[False, False]]]), r"available\[0\] has no action"),
        (torch.ones(1, 1, 2), r"available is \[1, 1, 2\] torch.float32, must be bool \[S, K, A\] with 1 states, 2 actions"),
    ],
)
def test_availability_that_cannot_be(available: torch.Tensor, says: str):
    with pytest.raises(BadInput, match=says):
        bandit(torch.tensor([[0.5, 0.25]]), available=available)


@pytest.mark.parametrize("hyper", [{}, {"oracle": "linear"}, {"explore": "epsilon-greedy"}, {"weights": "inverse-propensity", "memory": 3}], ids=str)
def test_payments_are_learned_from_the_batches_before_the_newest(hyper: dict):
    """The first two generations are uniform over what is available; the third knows the first."""
    world = make_world("tabular:payments", states=12, actions=5, batch=2_000)
    found = learner("igw-payments", world, 0, **hyper)
    uniform, regrets, before = found.state["policy"], [], torch.zeros(2, dtype=F64)
    for _ in range(4):
        policy = found.state["policy"]
        assert (policy.sum(-1) - 1).abs().max() < 1e-12 and (policy[:, 0][~found.problem.available] == 0).all()
        found.total_steps = found.step + 1
        found.iterate()
        regrets.append(found.problem.regret.total - before)
        before = found.problem.regret.total
        if found.step == 1:
            assert torch.equal(found.state["policy"], uniform)
    assert torch.equal(regrets[0], regrets[1]) and (regrets[2] < 0.6 * regrets[0]).all() and (regrets[3] < 0.6 * regrets[0]).all()
    best = found.state["value"].masked_fill(~found.problem.available, -torch.inf).argmax(-1, keepdim=True)
    assert (policy := found.state["policy"][:, 0]).gather(-1, best).min() >= 0.2 and policy.max() <= 1


def test_payments_with_the_same_mass():
    """Epsilon-greedy explores as much as inverse gaps do, mean over the contexts of the newest batch."""
    world = make_world("tabular:payments", states=12, actions=5, batch=2_000)
    ours, theirs = (learner("igw-payments", world, 2, explore=explore).state["policy"][:, 0] for explore in ("igw", "epsilon-greedy"))
    likelihood = world.mdp(Streams([100, 101])).initial
    mass = [(likelihood * (1 - policy.amax(-1))).sum(-1).tolist() for policy in (ours, theirs)]
    assert mass[0] == pytest.approx(mass[1], rel=0.15)


@pytest.mark.parametrize("key", ["ucb", "thompson", "squarecb"])
def test_who_counts_makes_do_with_late_feedback(key: str):
    """After 40 rounds half are known, batches of ten; what is known is all that is counted."""
    found = learner(key, make_world("tabular:payments", states=3, actions=4, batch=10, delay=2), 40)
    assert found.state["count"].sum((-2, -1)).tolist() == [20, 20]


@pytest.mark.parametrize("key", ["exp3", "q-learning", "sqirl"])
def test_who_needs_to_be_told_at_once_is_refused_what_comes_late(key: str):
    """Exp3 weights what it played by the chance that it gave it then, Q-learning moves an entry once for each play."""
    spine = get_method(key).build(configure(key, {}))
    with pytest.raises(BadInput, match="tabular:payments: this planner needs to be told of each play at once: give --batch 1 --delay 0") as told:
        spine.check(make_world("tabular:payments"), [0], 10, None)
    assert "\n" not in str(told.value)
    spine.check(make_world("tabular:payments", batch=1, delay=0), [0], 10, None)


def test_payments_need_batches():
    with pytest.raises(BadInput, match="igw-payments decides whole batches, and this task tells of each play at once: take tabular:payments"):
        learner("igw-payments", make_world("tabular:linear-bandit"), 1)
