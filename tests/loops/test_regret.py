"""The regret of planners that play: what it adds up to, that it is kept, and UCBVI, which has little of it."""

from __future__ import annotations

import pytest
import torch

from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.loops.planning import Planning, Problem
from operant.loops.regret import Regret
from operant.worlds import make_world
from operant.worlds.tabular.mdp import FiniteMDP, Played
from operant.worlds.tabular.world import TabularWorld

CPU = torch.device("cpu")


def coin(horizon: int = 1) -> FiniteMDP:
    """One state; action 1 pays 1, action 0 pays 1/4."""
    tables = (torch.ones(1, 1, 1, 2, 1), torch.tensor([0.25, 1.0]).view(1, 1, 1, 2), torch.ones(1, 1))
    return FiniteMDP(*(table.double() for table in tables), 1.0, horizon)


def test_regret_by_hand():
    """A policy that takes the better action with probability p loses (1 − p) · 3/4 in each of two steps."""
    regret = Regret(coin(2), 2)
    regret.add(torch.tensor([[0.0, 1.0], [0.5, 0.5]]).double().view(2, 1, 1, 2).expand(2, 2, 1, 2), 3)
    assert regret.episodes == 3 and regret.total.tolist() == pytest.approx([0, 3 * 2 * 0.375])
    assert regret.exponent().isnan().all()  # of one point


@pytest.mark.parametrize(("power", "exponent"), [(1.0, 1.0), (0.5, 0.5)])
def test_the_exponent_is_that_of_the_curve(power: float, exponent: float):
    regret, before = Regret(coin(), 1), 0.0
    for episode in range(1, 3_000):
        lost, before = episode**power / 2 - before, episode**power / 2
        worse = min(1.0, lost / 0.75)
        regret.add(torch.tensor([worse, 1 - worse]).double().view(1, 1, 1, 2), 1)
    assert regret.exponent().item() == pytest.approx(exponent, abs=0.01)


def test_counts_of_what_was_seen_by_hand():
    """Two episodes of two steps; states 0 → 1 → 0 by actions 1, 0, and 0 → 0 → 1 by actions 1, 1."""
    played = Played(torch.tensor([[[0, 1, 0], [0, 0, 1]]]), torch.tensor([[[1, 0], [1, 1]]]), torch.tensor([[[0.5, 1.0], [0.25, 0.0]]]).double())
    following, gained = played.seen((2, 2, 2), stationary=True)
    assert following[0, 0, 1].tolist() == [1, 2] and following[0, 1, 0].tolist() == [1, 0] and following.sum() == 4
    assert gained[0].tolist() == [[0, 0.75], [1, 0]]
    assert played.pair((2, 2, 2), stationary=True).tolist() == [[[1, 2], [1, 1]]] and played.pair((2, 2, 2), stationary=False).tolist() == [[[1, 6], [1, 5]]]
    assert played.next_value(torch.tensor([[[9.0, 9.0], [3.0, 4.0]]])).tolist() == [[[4, 0], [3, 0]]]
    following, gained = played.seen((2, 2, 2), stationary=False)
    assert following[0, 0, 0, 1].tolist() == [1, 1] and following[0, 1, 0, 1].tolist() == [0, 1] and following[0, 1, 1, 0].tolist() == [1, 0]
    assert gained[0, 0].tolist() == [[0, 0.75], [0, 0]] and gained[0, 1].tolist() == [[0, 0], [1, 0]]


def test_a_model_of_what_was_seen_and_planning_with_it_by_hand():
    """Beside the two episodes above one step more of each kind; a plan of two steps, from the last one on."""
    world = make_world("tabular:river-swim", states=2, horizon=2)
    problem = Problem("episodes", world, Streams([0]))
    empty = problem.model()
    assert empty.following.shape == (1, 2, 2, 2) and not empty.count.any() and not empty.transition.any()
    played = Played(torch.tensor([[[0, 1, 0], [0, 0, 1]]]), torch.tensor([[[1, 0], [1, 1]]]), torch.tensor([[[0.5, 1.0], [0.25, 0.0]]]).double())
    seen = problem.model(empty.tables, played)
    seen = problem.model(seen.tables, played)
    assert seen.count[0].tolist() == [[0, 6], [2, 0]] and seen.reward[0].tolist() == [[0, 0.25], [1, 0]]
    assert seen.transition[0, 0, 1].tolist() == pytest.approx([1 / 3, 2 / 3])
    q = problem.backwards(lambda step, here, value: seen.reward[here] + (seen.transition[here] * value[:, None, None]).sum(-1))
    assert q[0, 1].tolist() == [[0, 0.25], [1, 0]]
    assert q[0, 0, 0].tolist() == pytest.approx([0, 0.25 + 0.25 / 3 + 2 / 3]) and q[0, 0, 1].tolist() == pytest.approx([1.25, 0])


def test_what_is_played_has_the_frequencies_of_the_mdp():
    world, streams = make_world("tabular:random-episodes"), Streams([0, 1])
    mdp, policy = world.mdp(streams), torch.full((2, *world.shape), 1 / world.shape[-1]).double()
    played = mdp.play(policy, 20_000, streams)
    following, gained = played.seen(world.shape, stationary=False)
    torch.testing.assert_close(following.sum(-1) / 20_000, mdp.occupancy(policy), rtol=0, atol=0.015)
    torch.testing.assert_close(gained, following.sum(-1) * mdp.reward, rtol=1e-9, atol=1e-6)  # rewards are their means here
    assert (following[mdp.transition.expand_as(following) == 0] == 0).all()  # nothing is drawn that cannot be


def test_iterations_between_two_looks_change_nothing():
    def trained(each: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        world = make_world("tabular:river-swim")
        spine = get_method("ucbvi").build(configure("ucbvi", {}))
        learner = Planning(spine.start, spine.improve, spine.reads, each).learner(world, [0, 1], 25, CPU)
        looks = 0
        while learner.step < 25:
            metrics, looks = learner.iterate(), looks + 1
        return learner.state["q"], metrics["regret"], looks

    (q, regret, looks), (other, same, fewer) = trained(1), trained(10)
    assert looks == 25 and fewer == 3 and torch.equal(q, other) and torch.equal(regret, same)


@pytest.mark.parametrize("bonus", ["hoeffding", "bernstein"])
def test_ucbvi_finds_the_optimum_of_a_bandit_and_its_regret_stops_growing(bonus: str):
    world = TabularWorld(coin())
    learner = get_method("ucbvi").build(configure("ucbvi", {"bonus": bonus})).learner(world, [0, 1, 2], 600, CPU)
    halfway = None
    while learner.step < 600:
        learner.iterate()
        halfway = learner.measures()["regret"] if learner.step == 300 else halfway
    found = learner.measures()
    assert (found["episodes played"] == 600).all() and (found["regret"] < 20).all() and (found["regret"] < 1.5 * halfway).all()
    assert (found["regret exponent"] < 0.5).all() and world.evaluate(learner.policy, 3).measures["suboptimality"].max() < 1e-9


def test_the_deep_sea_pays_those_who_dive_and_the_lock_those_who_know():
    sea = make_world("tabular:deep-sea", states=4)
    mdp = sea.mdp(Streams([0]))
    assert sea.horizon == 4 and mdp.start_value(mdp.optimum[0]).item() == 1
    left, uniform = torch.zeros(1, *sea.shape).double(), torch.full((1, *sea.shape), 0.5).double()
    left[..., 0] = 1
    assert mdp.start_value(mdp.value(left)).item() == pytest.approx(0.01)
    assert mdp.start_value(mdp.value(uniform)).item() == pytest.approx(1 / 2**4 + 0.005)
    lock = make_world("tabular:combination-lock", states=5, actions=3)
    mdp, policy = lock.mdp(Streams([0, 1])), torch.full((2, *lock.shape), 1 / 3).double()
    assert lock.horizon == 4 and mdp.start_value(mdp.optimum[0]).tolist() == [1, 1]
    assert mdp.start_value(mdp.value(policy)).tolist() == pytest.approx([3.0**-4 + 0.1 * (1 - 3.0**-4)] * 2)
