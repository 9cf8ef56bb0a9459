"""Goals in hindsight: relabels against hand-worked places, and a policy of two levels that learns to reach what it is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.core.spec import Field, Spec
from operant.loops.goals import HindsightGoals, Subgoals
from operant.nets.goals import GoalValueNet, HierarchyNet
from operant.worlds import make_world
from operant.worlds.store import Store, Transitions, transition_columns

SPEC = Spec((Field("desired_goal", (1,), role="goal"), Field("observation", (1,))))
ACTION = Spec((Field("action", (1,), low=(-1.0,), high=(1.0,)),))


def two_episodes() -> Store:
    """States 0 to 5, then 10 to 13: five transitions and three, with a goal of -1 that nobody set."""
    store = Store(1, 8, transition_columns(SPEC, (1,)))
    states = torch.tensor([0.0, 1, 2, 3, 4, 10, 11, 12])
    rows = torch.stack([torch.full_like(states, -1), states], -1).unsqueeze(0)
    flags = {"terminated": torch.zeros(1, 8, dtype=torch.bool), "truncated": torch.zeros(1, 8, dtype=torch.bool)}
    columns = {"observation": rows, "next_observation": rows + torch.tensor([0.0, 1.0]), "action": torch.zeros(1, 8, 1), "reward": torch.zeros(1, 8)}
    store.append(columns | flags, ends=torch.tensor([[False, False, False, False, True, False, False, True]]))
    return store


def many(store: Store, count: int) -> Transitions:
    """Each transition `count` times, for two seeds."""
    return store.gather(torch.arange(8).repeat_interleave(count).expand(2, -1))


def test_subgoals_by_hand():
    store = two_episodes()
    batch = Subgoals(2)(many(store, 200), store, Streams([0, 1]))
    subgoal, goal, way = (batch.extras[name][..., 0].view(2, 8, 200) for name in ("subgoal", "goal", "way"))
    assert subgoal[0, :, 0].tolist() == [2, 3, 4, 5, 5, 12, 13, 13] and (subgoal == subgoal[:1, :, :1]).all()
    for place, last in enumerate([5, 5, 5, 5, 5, 13, 13, 13]):
        state = [0, 1, 2, 3, 4, 10, 11, 12][place]
        assert set(goal[0, place].tolist()) == set(range(state + 1, last + 1))
    assert torch.equal(way, torch.minimum(subgoal, goal))
    assert torch.equal(batch.observation, many(store, 200).observation)


def test_random_goals_of_the_high_level_by_hand():
    """Half of the goals are any state behind a transition, and their way is the subgoal; the others lie in the episode as ever."""
    store = two_episodes()
    batch = Subgoals(2, random=0.5)(many(store, 2_000), store, Streams([0, 1]))
    subgoal, goal, way = (batch.extras[name][..., 0].view(2, 8, 2_000) for name in ("subgoal", "goal", "way"))
    elsewhere = (goal[0, 0] > 5).float()  # of the first transition three of eight states lie in the other episode
    assert elsewhere.mean().item() == pytest.approx(0.5 * 3 / 8, abs=0.03) and set(goal.unique().tolist()) == {1, 2, 3, 4, 5, 11, 12, 13}
    assert (way[0, 0][elsewhere.bool()] == subgoal[0, 0, 0]).all() and (way <= subgoal).all()
    assert (way[0, 0] == 1).float().mean().item() == pytest.approx(0.5 / 5, abs=0.02)  # a goal one step ahead that its own episode set
    assert (Subgoals(2, random=1.0)(many(store, 500), store, Streams([0])).extras["way"] == subgoal[:1, :, :500].reshape(1, -1, 1)).all()


def test_hindsight_goals_by_hand():
    """Gamma 0.5: of future goals a half lies one step ahead, a quarter two, and what would lie beyond the end is the end."""
    store, count = two_episodes(), 4_000
    batch = HindsightGoals(current=0.0, future=1.0, gamma=0.5)(many(store, count), store, Streams([0, 1]))
    ahead = (batch.observation[..., 0] - batch.observation[..., 1]).view(2, 8, count)
    for place, shares in {0: [0.5, 0.25, 0.125, 0.0625, 0.0625], 5: [0.5, 0.25, 0.25], 7: [1.0]}.items():
        found = [(ahead[:, place] == step + 1).float().mean().item() for step in range(len(shares))]
        assert found == pytest.approx(shares, abs=0.03)
    assert (batch.reward == -1).all() and not batch.terminated.any()
    assert torch.equal(batch.next_observation[..., 0], batch.observation[..., 0]) and torch.equal(
        batch.next_observation[..., 1], many(store, count).next_observation[..., 1]
    )


def test_a_goal_that_is_there_pays_nothing_and_ends_it():
    store, count = two_episodes(), 1_000
    batch = HindsightGoals(current=0.25, future=0.25)(many(store, count), store, Streams([0, 1]))
    there = batch.observation[..., 0] == batch.observation[..., 1]
    assert torch.equal(batch.terminated, there) and torch.equal(batch.reward, there.float() - 1)
    assert there.float().mean().item() == pytest.approx(0.25 + 0.5 / 8, abs=0.02)  # a random goal is the state itself once in eight
    assert len(batch.observation[..., 0].unique()) == 10


def test_networks_see_states_and_goals_where_they_lie():
    value = GoalValueNet(hidden=(8,), representation=3).build(SPEC, ACTION, Streams([0, 1]), "value")
    actor = HierarchyNet(hidden=(8,), representation=3).build(SPEC, ACTION, Streams([0, 1]))
    rows = torch.randn(2, 5, 2)
    assert value(rows).shape == (2, 2, 5) and actor(rows).shape == (2, 5, 2)
    assert torch.allclose(value.represent(rows).norm(dim=-1), torch.tensor(3.0).sqrt())
    parts = value.parts
    assert torch.equal(parts.row(rows[..., parts.state], rows[..., parts.goal]), rows) and parts.state == slice(1, 2)
    with pytest.raises(BadInput, match="observations consist of observation: this method needs a state and a desired_goal"):
        GoalValueNet().build(Spec((Field("observation", (1,)),)), ACTION, Streams([0]), "value")


def test_data_without_goals_hold_what_was_reached_in_the_end(strolls: str):
    world = make_world(strolls)
    slices, goals = world.observation.slices, world._observation
    for episode in (0, 57):
        rows = slice(40 * episode, 40 * episode + 40)
        assert (goals[rows, slices["desired_goal"]] == world.dataset.next_observation[40 * episode + 39]).all()
        assert np.array_equal(goals[rows, slices["observation"]], world.dataset.observation[rows])
    with pytest.raises(BadInput, match="has no rewards"):
        world.check_data()
    world.check_data(rewards=False)


@pytest.mark.trains
def test_a_policy_of_two_levels_reaches_what_it_is_told(strolls: str):
    """At random an episode lasts about 35 steps; straight ways are 6 long on average."""
    world = make_world(strolls)
    spine = get_method("hiql").build(
        configure("hiql", {"hidden": (32, 32), "batch_size": 128, "learning_rate": 3e-3, "subgoal_steps": 5, "gamma": 0.9, "low_beta": 10, "high_beta": 10})
    )
    learner = spine.learner(world, [0, 1, 2], 2_000, torch.device("cpu"))
    while learner.step < 2_000:
        learner.iterate()
        if learner.step % 200 == 0 and np.median(world.evaluate(learner.policy, 3, episodes=20).values.mean(1)) > -12:
            return
    raise AssertionError(f"{world.evaluate(learner.policy, 3, episodes=20).values.mean(1)} after 2,000 updates")
