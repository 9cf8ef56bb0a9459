"""Block MDPs: pictures that tell their state, a hidden MDP that is the named one, and noise of three kinds."""

from __future__ import annotations

import json

import numpy as np
import pytest

import operant
from operant.core.checkpoint import join_state, split_state
from operant.core.random import Streams
from operant.worlds import make_world
from operant.worlds.gym.blocks import BLOCKS, BlockEnvironments, BlockGrid, BlockGridExogenous, BlockGridMimic, BlockLock, BlockLockMimic
from operant.worlds.names import BLOCKS as NAMES


def shown(rows: BlockEnvironments, observation: np.ndarray, colour: int) -> np.ndarray:
    """Where a colour is bright, `[R, 8, 8]` bool."""
    return observation.reshape(rows.rows, 8, 8, 3)[..., colour] >= 200


def test_all_of_them_have_names():
    assert tuple(kind.env_id for kind in BLOCKS) == NAMES


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_picture_tells_its_state_and_never_comes_again(kind: type[BlockEnvironments]):
    rows = kind(range(100, 130))
    observation, rng = rows.reset(), np.random.default_rng(0)
    assert len({pattern.tobytes() for pattern in rows.patterns}) == len(rows.initial) and np.allclose(rows.habit.sum(1), 1)
    for _ in range(2 * rows.limit):
        assert (shown(rows, observation, 1) == rows.patterns[rows.hidden]).all() and observation.min() >= 0 and observation.max() <= 255
        assert len({picture.tobytes() for picture in observation}) == 30
        step = rows.step(rng.integers(rows.action_space.n, size=30))
        assert (shown(rows, step.next_observation, 1) == rows.patterns[rows.outcome]).all() and not step.terminated.any()
        observation = step.observation
    assert (rows._tick, rows._start.tolist()) == (2 * rows.limit, [2 * rows.limit] * 30)


@pytest.mark.parametrize("kind", [BlockGrid, BlockLock])
def test_what_is_hidden_is_the_named_mdp(kind: type[BlockEnvironments]):
    rows, mdp = kind(range(100, 300)), make_world(f"tabular:{kind.task}").mdp(Streams([0]))
    assert np.array_equal(rows.transition, mdp.transition[0, 0]) and np.array_equal(rows.reward, mdp.reward[0, 0]) and rows.limit == mdp.horizon
    count, total = np.zeros(rows.transition.shape), np.zeros(rows.rows)
    policy = mdp.optimum[1][0].numpy()
    rows.reset()
    begun = rows.hidden
    for step in range(rows.limit):
        before = rows.hidden
        action = policy[step, before].argmax(-1)
        total += rows.step(action).reward
        np.add.at(count, (before, action, rows.outcome), 1)
    assert not count[rows.transition == 0].any() and (rows.initial[begun] > 0).all()
    assert total.mean() == pytest.approx(mdp.start_value(mdp.optimum[0]).item(), rel=0.05)
    seen = count.sum(-1) > 100
    spread = np.sqrt(rows.transition / count.sum(-1, keepdims=True).clip(1))
    assert (np.abs(count / count.sum(-1, keepdims=True).clip(1) - rows.transition) <= 4.5 * spread)[seen].all() and seen.any()


def test_blobs_wander_or_jump():
    for kind, wanders in ((BlockGrid, False), (BlockGridExogenous, True)):
        rows = kind(range(100, 150))
        before = rows.reset()
        for _ in range(10):
            observation = rows.step(np.zeros(50, np.int64)).observation
            for colour, axis in ((0, 2), (2, 1)):
                was, now = shown(rows, before, colour), shown(rows, observation, colour)
                assert (now.sum((1, 2)) == 4).all()
                stayed, moved = ((now == each).all((1, 2)) for each in (was, np.roll(was, 1, axis)))
                assert (stayed | moved).all() == wanders and moved.mean() == pytest.approx(0.9 if wanders else 1 / 64, abs=0.2)
            before = observation


def test_the_mimic_follows_the_habit_whatever_is_done():
    rows = BlockGridMimic(range(100, 200))
    rows.reset()
    law, count = np.einsum("ka,kaj->kj", rows.habit, rows.transition), np.zeros((16, 16))
    for _ in range(19):
        before = rows._chains[:, [0, 2]].copy()
        observation = rows.step(np.full(100, 3)).observation
        np.add.at(count, (before.ravel(), rows._chains[:, [0, 2]].ravel()), 1)
        assert (shown(rows, observation, 2) == rows.patterns[rows._chains[:, 2]]).all()
    total = count.sum(1, keepdims=True)
    assert not count[law == 0].any() and (np.abs(count / total - law) <= 4.5 * np.sqrt(law / total)).all()
    lock = BlockLockMimic(range(100))
    opens = lock.habit.max(1)
    assert opens[:6] == pytest.approx(0.8 + 0.2 / 3) and opens[6] == pytest.approx(1 / 3)


def test_methods_for_environments_learn_on_them(tmp_path):
    run = operant.train("dqn", task="gym:block-lock-mimic", seed=100, steps=40, learning_starts=20, batch_size=4, episodes=4, out=tmp_path / "run")
    assert 0 <= run.result["score"]["iqm"] <= 1


@pytest.mark.parametrize("kind", [BlockGrid, BlockGridExogenous, BlockLockMimic])
def test_its_state_goes_on_bit_for_bit(kind: type[BlockEnvironments]):
    actions = np.random.default_rng(1).integers(3, size=(30, 3))
    rows = kind([100, 101, 102])
    rows.reset()
    for action in actions[:13]:
        rows.step(action)
    other = kind([100, 101, 102])
    skeleton, arrays = split_state(rows.state_dict())
    other.load_state_dict(join_state(json.loads(json.dumps(skeleton)), arrays))
    for action in actions[13:]:
        mine, theirs = rows.step(action), other.step(action)
        assert np.array_equal(mine.observation, theirs.observation) and np.array_equal(mine.reward, theirs.reward)
        assert np.array_equal(rows.outcome, other.outcome)
