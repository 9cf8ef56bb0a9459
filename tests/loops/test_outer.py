"""The outer loop: it holds other loops and changes nothing of them, its members are seeds, and its two methods do what their papers say."""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

import operant
from operant.core.checkpoint import first_difference
from operant.core.errors import BadInput
from operant.core.flat import rows_of, set_rows
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.loops.outer import Outer, Outside
from operant.loops.playing import Playing
from operant.methods.curriculum.alp_gmm import LevelTeacher
from operant.nets.actors import ActorNet
from operant.nets.elites import ConditionedNet, ElitesNet, told
from operant.worlds import make_world
from operant.worlds.gym.episodes import run_episodes

CPU = torch.device("cpu")
SMALL = {"environments": 2, "rollout_length": 32, "hidden": (8,)}


def built(key: str, **hyper):
    return get_method(key).build(configure(key, hyper))


# ------------------------------------------------------------------------------------------------------------------------------------- the loop


def test_an_outer_loop_that_does_nothing_changes_no_bit():
    world, inner = make_world("gym:CartPole-v1"), built("ppo", **SMALL)
    alone = inner.learner(world, [3, 4], 1_000, CPU)
    held = Outer(inner, lambda world, streams: Outside()).learner(world, [3, 4], 1_000, CPU)
    for _ in range(3):
        expected, found = alone.iterate(), held.iterate()
    assert first_difference(held.state_dict()["inner"], alone.state_dict()) is None
    assert held.step == alone.step == 192 and found["gradient_norm"].tolist() == pytest.approx(expected["gradient_norm"].tolist())


class Copies(Outside):
    """Every member gets the parameters of the seed's best: the smallest of population-based trainings."""

    def __init__(self, streams: Streams, members: int):
        self.seeds, self.members = len(streams.seeds), members

    def after(self, inner):
        rows = rows_of(inner.policy).view(self.seeds, self.members, -1)
        best = torch.from_numpy(inner.played.total.mean(1)).view(self.seeds, -1).argmax(1)
        set_rows(inner.policy, rows[torch.arange(self.seeds), best].repeat_interleave(self.members, 0))
        return {"best": best.double()}


def test_members_ride_on_the_seed_axis():
    world = make_world("gym:CartPole-v1")
    spine = Outer(Playing(ActorNet(hidden=(8,)), episodes=2, length=30), lambda world, streams: Copies(streams, 3), members=3)
    learner = spine.learner(world, [0, 1], 10_000, CPU)
    assert len(learner.inner.seeds) == 6 and learner.stride == 3 * 2 * 30 and len(set(learner.inner.seeds)) == 6
    before = rows_of(learner.inner.policy)
    metrics = learner.iterate()
    after = rows_of(learner.inner.policy)
    assert learner.step == 180 and metrics["episode/return"].shape == (2,)
    for seed, best in enumerate(metrics["best"].int().tolist()):
        assert torch.equal(after[3 * seed : 3 * seed + 3], before[3 * seed + best].expand(3, -1))
    again = spine.learner(world, [1], 10_000, CPU)
    again.iterate()
    torch.testing.assert_close(rows_of(again.inner.policy), after[3:])


def test_members_need_seeds_that_train_together():
    spine = Outer(Playing(ActorNet(hidden=(8,))), lambda world, streams: Outside(), members=3)
    with pytest.raises(BadInput, match="3 members train together, and seeds of this task do not"):
        spine.check(make_world("sequences:target-transformer"), [0], 10, None)
    with pytest.raises(BadInput, match=r"sequences:target has no episodes to play: take an environment \(gym:\)"):
        spine.check(make_world("sequences:target"), [0], 10, None)


# --------------------------------------------------------------------------------------------------------------------------------------- levels


def test_a_levelled_cart_pole_is_cart_pole_where_its_level_is():
    """Half a metre and 10 N are CartPole's: the same motion for the same start and actions."""
    there, plain = make_world("gym:cartpole-levels").at((0.5, 10.0)).make([7]), make_world("gym:CartPole-v0").make([7])
    there.reset(), plain.reset()
    there._motion[:, 0] = plain.state[0]
    for step in range(200):
        found, expected = (one.step(np.array([step % 2])) for one in (there, plain))
        np.testing.assert_allclose(found.next_observation[:, :4], expected.next_observation, rtol=1e-5, atol=1e-6)
        if expected.terminated[0]:
            break
    assert found.terminated[0] and step > 10


def test_levels_are_taken_in_their_order_and_told_with_what_came_of_them():
    environments = make_world("gym:cartpole-levels").make([0, 1])
    levels = np.array([[[0.2, 9.0], [0.3, 8.0]], [[0.4, -7.0], [0.5, -6.0]]])
    environments.assign(levels)
    environments.reset()
    ended = []
    for _ in range(60):
        step = environments.step(np.array([1, 0]))
        ended += [row for row in (step.terminated | step.truncated).nonzero()[0]]
    outcomes = environments.outcomes()
    assert outcomes.row.tolist() == ended and len(environments.outcomes().row) == 0
    for row in (0, 1):
        mine = outcomes.level[outcomes.row == row]
        np.testing.assert_allclose(mine[:2], levels[row])
        assert len(mine) > 2 and environments.levels.holds(mine[2:])  # then the row draws for itself
    assert outcomes.total.min() >= 5 and outcomes.total.sum() <= 120
    for wrong in (levels[:1], levels[..., :1], levels * 100):
        with pytest.raises(BadInput, match=r"are not \[2, Q, 2\] within their bounds"):
            environments.assign(wrong)


def test_where_there_are_no_levels():
    with pytest.raises(BadInput, match=r"gym:CartPole-v1 has no levels to choose from: a curriculum needs an environment that has \(gym:cartpole-levels\)"):
        operant.train("alp-gmm", "gym:CartPole-v1")
    with pytest.raises(BadInput, match=r"gym:cartpole-levels has no level \[2.0, 0.0\]: half_length from 0.1 to 1, push from -10 to 10"):
        make_world("gym:cartpole-levels").at((2.0, 0.0))


def test_the_teacher_draws_where_there_is_progress():
    """Two halves of a line, of which one gets better by 1 with every episode near it: four of five levels that are not uniform land there."""
    teacher = LevelTeacher([0.0], [2.0], np.random.default_rng(0), period=50)
    done = 0
    for _ in range(400):
        level = teacher.propose(1)[0]
        teacher.tell(level, done if level[0] > 1 else 0.0)
        done += level[0] > 1
    assert 0.75 < (teacher.propose(2_000) > 1).mean() <= 1.0  # 0.9 where all of the guided ones do
    assert teacher.progress[:6].tolist() == [0] * 6


def test_the_teacher_is_uniform_without_progress_and_with_the_same_everywhere():
    flat = LevelTeacher([0.0, 0.0], [1.0, 1.0], np.random.default_rng(0), period=20)
    for level in flat.propose(40):
        flat.tell(level, 5.0)
    assert flat.weight.sum() == 0 and abs(flat.propose(4_000).mean() - 0.5) < 0.02
    flat.weight, flat.mean, flat.factor = np.ones(4), np.array([[0.1, 0.1], [0.1, 0.9], [0.9, 0.1], [0.9, 0.9]]), np.tile(1e-3 * np.eye(2), (4, 1, 1))
    flat.uniform = 0.0
    corner = (flat.propose(4_000) > 0.5) @ [1, 2]
    assert (np.abs(np.bincount(corner, minlength=4) - 1_000) < 110).all()  # four deviations


# -------------------------------------------------------------------------------------------------------------------------------------- archives


def test_the_arm_by_hand():
    """Joints straight: the hand is at (1, 0), and nothing varies. The first joint at a right angle: (0, 1), with variance (π/2)² · (1/8) · (7/8)."""
    arm = make_world("gym:planar-arm").make([0, 1])
    arm.reset()
    action = np.zeros((2, 8), np.float32)
    action[1, 0] = 0.5
    step = arm.step(action)
    np.testing.assert_allclose(step.next_observation, [[1, 0], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(step.reward, [0, -((np.pi / 2) ** 2) * 7 / 64], rtol=1e-5)
    assert step.terminated.all() and (step.observation == 0).all()


def test_the_maze_is_deceptive():
    """Straight on ends in the pocket, below the wall; around it is the goal."""
    maze = make_world("gym:point-maze").make([0, 1])
    maze.reset()
    for step in range(50):
        around = (1.0, 0.4) if step < 7 else (0.0, 1.0) if step < 19 else (-1.0, 0.35) if step < 25 else (0.0, 0.0)
        done = maze.step(np.array([(0.0, 1.0), around], np.float32))
    assert done.truncated.all() and done.next_observation[0, 1] < 0.1 and done.reward[0] < 0.57
    assert np.linalg.norm(done.next_observation[1] - [0, 0.75]) < 0.25 and done.reward[1] > 0.83


def test_the_dense_maze_by_hand():
    """From (0, -0.75) a step up: the goal at (0, 0.75) is 1.4 away, and the farthest corner, (1, -1), is the root of 1 + 1.75 squared."""
    maze = make_world("gym:point-maze-dense").make([0])
    maze.reset()
    step = maze.step(np.array([(0.0, 1.0)], np.float32))
    assert step.reward[0] == pytest.approx((1 - 1.4 / (1 + 1.75**2) ** 0.5) / 50) and step.next_observation[0].tolist() == pytest.approx([0, -0.65])


def test_an_archive_keeps_the_fittest_of_each_cell():
    world = make_world("gym:planar-arm")
    elites = world.policy(ElitesNet(ActorNet(hidden=(4,)), (-1.0, -1.0), (1.0, 1.0), cells=4), Streams([0, 1]))
    size = rows_of(elites.actor).shape[1]
    solution = torch.arange(2 * 3, dtype=torch.float32).view(2, 3, 1).expand(2, 3, size).contiguous()
    place = elites.centroid[:, [0, 0, 1]]
    assert elites.insert(solution, torch.tensor([[1.0, 2.0, 0.5], [3.0, 2.0, 9.0]]), place).tolist() == [2, 2]
    assert elites.fitness[:, :2].tolist() == [[2.0, 0.5], [3.0, 9.0]] and torch.isinf(elites.fitness[:, 2:]).all()
    assert elites.solution[:, :2, 0].tolist() == [[1, 2], [3, 5]] and rows_of(elites.actor)[:, 0].tolist() == [1, 5]  # the fittest act
    assert elites.insert(10 + solution, torch.tensor([[1.0, 1.5, 0.6], [0.0, 0.0, 0.0]]), place).tolist() == [1, 0]
    drawn, descriptor = elites.draw(Streams([0, 1]), "parent", 50)
    drawn = drawn[..., 0]
    assert set(drawn[0].tolist()) == {1.0, 12.0} and set(drawn[1].tolist()) == {3.0, 5.0}
    assert torch.equal(descriptor[0], elites.centroid[0, (drawn[0] == 12.0).long()])


def test_rows_are_parameters_of_seeds():
    policy = make_world("gym:CartPole-v1").policy(ActorNet(hidden=(8,)), Streams([0, 1, 2]))
    rows = rows_of(policy)
    alone = rows_of(make_world("gym:CartPole-v1").policy(ActorNet(hidden=(8,)), Streams([1])))
    assert torch.equal(rows[1:2], alone)
    set_rows(policy, rows.flip(0))
    assert torch.equal(rows_of(policy), rows.flip(0))


def test_map_elites_finds_its_way_around_and_keeps_the_archive(tmp_path):
    given = {"episode_steps": 50, "members": 32, "hidden": (8,), "progress": False}
    run = operant.train("map-elites", "gym:point-maze", seeds=2, steps=32 * 50 * 40, every=10**6, out=tmp_path / "run", **given)
    assert min(run.result["measures"]["coverage"]["per_seed"]) > 0.5
    assert min(run.result["score"]["per_seed"]) > 0.7  # in the pocket it is 0.57 at most
    archive = run.load_policy(1)
    filled = archive.fitness > -torch.inf
    assert filled.float().mean().item() == pytest.approx(run.result["measures"]["coverage"]["per_seed"][1])
    assert archive.fitness.max().item() == pytest.approx(run.evaluate(episodes=1)["score"]["per_seed"][1], abs=1e-5)


@pytest.mark.parametrize(
    ("hyper", "says"),
    [
        ({"descriptor": (0, 2)}, "--descriptor 2: observations of gym:point-maze have 2 numbers, counted from 0"),
        ({"descriptor": (0,)}, "descriptor, low and high have 1, 2 and 2 numbers, must have as many"),
        ({"low": (1.0, 1.0)}, "must be below high"),
        ({"policy": torch.nn.Linear(2, 2)}, "map-elites takes no module as policy"),
    ],
)
def test_what_map_elites_refuses(hyper: dict, says: str):
    with pytest.raises(BadInput, match=says):
        operant.train("map-elites", "gym:point-maze", **hyper)


# ------------------------------------------------------------------------------------------------------------------- archives with policy gradients

CLIMBERS = {"members": 4, "actors": 1, "cells": 16, "hidden": (8, 8), "critic_hidden": (8,), "episode_steps": 6, "capacity": 100, "batch_size": 16}


def climbers(**hyper):
    """A small DCG-MAP-Elites of two seeds on the maze."""
    given = CLIMBERS | {"critic_updates": 2, "gradient_steps": 2} | hyper
    return built("dcg-me", **given).learner(make_world("gym:point-maze"), [0, 1], 10**6, CPU)


class Fading(gymnasium.Env):
    """Three steps, or one for an action above 0; the observation counts the steps, the reward is what it was before."""

    observation_space, action_space = gymnasium.spaces.Box(0, 9, (1,), np.float32), gymnasium.spaces.Box(-2, 2, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        return np.full(1, self.count, np.float32), self.count - 1.0, action[0] > 0 or self.count == 3, False, {}


def test_recorded_steps_are_those_of_the_episodes_and_come_again_where_they_end_early():
    def act(observation, carry):
        return np.array([[[1.5], [-1.5]]]), carry

    played = run_episodes(make_world(Fading).make, act, 1, 2, 0, 5, record=True)
    assert played.length.tolist() == [[1, 3]] and played.total.tolist() == [[0, 3]]
    found = played.transitions(1, 6)
    assert found["episode"].tolist() == [[0, 1, 1, 1, 0, 1]] and found["ends"].tolist() == [[True, False, False, True, True, False]]
    assert found["observation"].flatten().tolist() == [0, 0, 1, 2, 0, 0] and found["next_observation"].flatten().tolist() == [1, 1, 2, 3, 1, 1]
    assert found["reward"].tolist() == [[0, 0, 1, 2, 0, 0]] and found["terminated"].tolist() == [[True, False, False, True, True, False]]
    assert found["action"].flatten().tolist() == [1.5, -1.5, -1.5, -1.5, 1.5, -1.5] and not found["truncated"].any()
    cut = run_episodes(make_world(Fading).make, act, 1, 2, 0, 2, record=True).transitions(1, 3)
    assert cut["truncated"].tolist() == [[False, False, True]] and cut["ends"].tolist() == [[True, False, True]]


def test_an_actor_that_is_told_is_one_that_knows():
    world, streams = make_world("gym:point-maze"), Streams([0, 1])
    net = ActorNet(hidden=(8, 8), deterministic=True)
    actor, members = world.policy(ConditionedNet(net, 2), streams), world.policy(replace(net, members=3), streams)
    behaviour, seen = torch.rand(2, 3, 2), torch.rand(2, 5, 2)
    set_rows(members, told(actor, behaviour))
    assert torch.equal(rows_of(members, 2), told(actor, behaviour))
    for place in range(3):
        expected = actor(torch.cat([seen, behaviour[:, place : place + 1].expand(-1, 5, -1)], -1))
        torch.testing.assert_close(members(seen)[:, place], expected)


def test_replay_knows_what_was_reached_and_what_was_wanted():
    learner = climbers()
    for _ in range(2):
        learner.iterate()
    store, inner = learner.outside.learner.stores["replay"], learner.inner
    batch = store.gather(torch.arange(24, 48).expand(2, -1))  # of the second iteration: 4 members of 6 steps
    last = torch.from_numpy(inner.played.last).view(2, 4, 1, 2).expand(-1, -1, 6, -1).flatten(1, 2)
    torch.testing.assert_close(batch.extras["reached"], last)  # the bounds are -1 and 1
    assert torch.equal(batch.extras["wanted"][:, :18], batch.extras["reached"][:, :18])
    assert not torch.allclose(batch.extras["wanted"][:, 18:], last[:, 18:], atol=1e-2)
    assert torch.equal(batch.extras["wanted"][:, 18], learner.outside.wanted[:, 0])
    following = batch.observation[:, 1:].where(~store.ends[:, 24:47, None], batch.next_observation[:, :-1])
    torch.testing.assert_close(batch.next_observation[:, :-1], following)
    moved = (batch.observation + 0.1 * batch.action).clamp(-1, 1)  # in so few steps far from the walls inside
    torch.testing.assert_close(batch.next_observation, moved, rtol=0, atol=1e-5)
    paid = learner.outside.paid(batch, store, learner.streams)
    share = torch.exp(-(batch.extras["reached"] - batch.extras["wanted"]).norm(dim=-1) / 0.1)
    torch.testing.assert_close(paid.reward, share * batch.reward)
    assert torch.equal(paid.next_observation[..., 2:], batch.extras["wanted"])


def test_elites_climb_the_critic_at_their_own_descriptors():
    """One step, by hand: Adam's first is the learning rate against the sign of the gradient of the mean of -Q(s, π(s)|d)."""
    learner = climbers(gradient_steps=1, critic_updates=1, actors=1, members=6, policy_delay=2)
    learner.iterate()
    outside = learner.outside
    batches, climb = [], outside.climb
    outside.learner._phases[-1].phase = replace(outside.learner._phases[-1].phase, losses=lambda u: batches.append(u.batch) or climb(u))
    parent, niche = outside.elites.draw(Streams([0, 1]), "any", 2)
    set_rows(outside.learner.nets["climbing"], parent)
    outside.niche = outside.elites.bounded(niche)
    outside.learner.update()
    found, seen = rows_of(outside.learner.nets["climbing"], 2), batches[0].observation[..., :2]
    for place in range(2):
        alone = make_world("gym:point-maze").policy(ActorNet(hidden=(8, 8), deterministic=True), Streams([0, 1]))
        set_rows(alone, parent[:, place])
        at = torch.cat([seen, outside.niche[:, place : place + 1].expand(-1, 16, -1)], -1)
        loss = -outside.learner.nets["q"](at, torch.tanh(alone(seen)))[:, 0].mean(1).sum()
        gradient = torch.cat([g.flatten(1) for g in torch.autograd.grad(loss, list(alone.parameters()))], 1)
        expected = parent[:, place] - 5e-3 * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(found[:, place], expected, rtol=1e-4, atol=1e-5)


def test_negative_rewards_are_lifted_and_actors_enter_where_nothing_is_told():
    learner = climbers(episode_steps=50, capacity=1_000)
    learner.outside.least.fill_(-3.0)
    learner.iterate()
    batch = learner.outside.learner.stores["replay"].gather(torch.arange(10).expand(2, -1))
    assert torch.equal(learner.outside.paid(batch, None, None).reward, batch.reward + 3)  # nothing was wanted but what was reached
    plain = climbers(conditioned=False)
    for one, entering in ((learner, 3), (plain, 4)):
        one.iterate()
        one.iterate()
        assert one.outside.entering == entering
    assert torch.equal(rows_of(learner.policy.distilled), rows_of(learner.outside.learner.nets["actor"])) and plain.policy.distilled is None
    assert plain.measures().keys() == {"QD score", "coverage"} and learner.measures()["distance to target"].shape == (2,)


@pytest.mark.parametrize(
    ("hyper", "says"),
    [
        ({"members": 8, "actors": 4}, "of 8 members half vary along lines, and 4 are actors: none is left to climb"),
        ({"members": 8, "actors": 2, "capacity": 799}, "capacity 799 is less than an iteration's 800 steps"),
    ],
)
def test_what_dcg_map_elites_refuses(hyper: dict, says: str):
    with pytest.raises(BadInput, match=says):
        operant.train("dcg-me", "gym:point-maze", **hyper)
