"""The native environments are Gymnasium's own, number for number."""

import json

import gymnasium
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from operant.core.checkpoint import join_state, split_state
from operant.core.errors import BadInput
from operant.worlds.gym.adapter import make_environments, make_objects
from operant.worlds.gym.beds import BEDS
from operant.worlds.gym.environments import Environments
from operant.worlds.gym.native import NATIVE
from operant.worlds.gym.world import GymWorld

SEEDS = [3, 1, 4, 1592]


@pytest.mark.parametrize("bed", BEDS)
def test_a_row_by_itself_is_the_bed_to_the_last_bit(bed):
    """Through the ends of episodes, and from a state that was kept."""
    together, objects = make_environments(bed, SEEDS), make_objects(bed, SEEDS)
    policy = GymWorld(bed).random_policy()
    assert_array_equal(together.reset(), objects.reset())
    assert objects.limit == together.limit and objects.resume == "bitwise"
    ended = 0
    for tick in range(120):
        action = policy.act(torch.from_numpy(together.observation).unsqueeze(0))[0][0]
        step, other = together.step(action), objects.step(action)
        for name in ("observation", "next_observation", "reward", "terminated", "truncated"):
            assert_array_equal(getattr(step, name), getattr(other, name), err_msg=f"{name} at {tick}")
        assert (step.success is None) == (other.success is None)
        assert step.success is None or np.array_equal(step.success, other.success, equal_nan=True)
        ended += int((step.terminated | step.truncated).sum())
        if tick == 70:
            kept, objects = stored(objects.state_dict()), make_objects(bed, SEEDS)
            objects.load_state_dict(kept)
    assert ended
    env = objects.envs[0]
    assert all(env.observation_space.contains(env.reset(seed=seed)[0]) for seed in (None, 5))


def stored(state):
    """The state as it comes back from a checkpoint."""
    skeleton, arrays = split_state(state)
    return join_state(json.loads(json.dumps(skeleton)), arrays)


def act(environments, rng):
    """Random actions that reach past the bounds; the continuous car rocks itself out of the valley, so that episodes end by themselves too."""
    space = environments.action_space
    if isinstance(space, gymnasium.spaces.Discrete):
        return rng.integers(space.n, size=environments.rows)
    action = rng.uniform(-2.5, 2.5, (environments.rows, 1))
    if environments.env_id == "MountainCarContinuous-v0":
        action = np.sign(environments.state[:, 1:]) + 0.2 * action
    return action.astype(np.float32)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("env_id", "limit"), [(env_id, None) for env_id in NATIVE] + [("CartPole-v1", 13), ("Acrobot-v1", 40)])
def test_equal_to_gymnasium_step_by_step(env_id, limit):
    native = NATIVE[env_id](SEEDS, limit) if limit else NATIVE[env_id](SEEDS)
    originals = [gymnasium.make(env_id, disable_env_checker=True, max_episode_steps=limit) for _ in SEEDS]
    assert isinstance(native, Environments)
    assert native.observation_space == originals[0].observation_space
    assert native.action_space == originals[0].action_space
    assert_array_equal(native.reset(), np.stack([env.reset(seed=seed)[0] for env, seed in zip(originals, SEEDS, strict=True)]))
    rng = np.random.default_rng(0)
    ends = {"terminated": 0, "truncated": 0}
    found, wanted = ({name: [] for name in ("next_observation", "observation", "reward", "state")} for _ in range(2))
    for _ in range(1100):  # the longest limit is 999
        action = act(native, rng)
        step = native.step(action)
        found["next_observation"] += [*step.next_observation]
        found["observation"] += [*step.observation]
        found["reward"] += [*step.reward]
        found["state"].append(native.state.copy())
        for row, env in enumerate(originals):
            chosen = action[row] if action.ndim == 1 else np.clip(action[row], env.action_space.low, env.action_space.high)
            seen, reward, terminated, truncated, _ = env.step(chosen)
            wanted["next_observation"].append(seen)
            wanted["reward"].append(reward)
            assert (step.terminated[row], step.truncated[row]) == (terminated, truncated)
            if terminated or truncated:
                ends["terminated"] += terminated
                ends["truncated"] += truncated
                seen, _ = env.reset()
            wanted["observation"].append(seen)
        wanted["state"].append([env.unwrapped.state for env in originals])
        assert step.valid.all()
    for name, least in {"next_observation": {"atol": 1e-7}, "observation": {"atol": 1e-7}, "reward": {"rtol": 3e-7}, "state": {"atol": 1e-12}}.items():
        assert_allclose(np.array(found[name]), np.array(wanted[name], float), **{"rtol": 0, "atol": 0} | least, err_msg=name)
    assert sum(ends.values()) >= len(SEEDS)
    if limit == 13:
        assert min(ends.values()) > 0


def test_cart_pole_by_hand():
    """From rest and upright, pushed right: push = 10/1.1, angle'' = -push / (0.5 (4/3 - 0.1/1.1)), x'' = push - 0.05 angle''/1.1; speeds move first."""
    environments = NATIVE["CartPole-v1"]([0])
    environments.reset()
    state = environments.state_dict()
    state["motion"]["_coordinates"][:] = 0.0
    environments.load_state_dict(state)
    step = environments.step(np.array([1]))
    assert_allclose(environments.state[0], [0.0, 0.02 * 9.75609756, 0.0, 0.02 * -14.63414634], atol=1e-9)
    assert step.reward[0] == 1.0


def test_pendulum_by_hand():
    """Hanging level (angle pi/2) at speed 1 with torque 2: cost = (pi/2)² + 0.1 + 0.004, speed = 1 + (15 + 6) 0.05 = 2.05, angle = pi/2 + 2.05 * 0.05."""
    environments = NATIVE["Pendulum-v1"]([0])
    environments.reset()
    state = environments.state_dict()
    state["motion"]["_motion"][:] = [[np.pi / 2], [1.0]]
    environments.load_state_dict(state)
    step = environments.step(np.array([[5.0]], np.float32))
    assert_allclose(step.reward[0], -(2.4674011 + 0.1 + 0.004), rtol=1e-6)
    assert_allclose(environments.state[0], [np.pi / 2 + 0.1025, 2.05], rtol=1e-12)


@pytest.mark.parametrize("env_id", NATIVE)
def test_resume_is_bitwise(env_id):
    environments = NATIVE[env_id](SEEDS, 30)
    environments.reset()
    rng = np.random.default_rng(1)
    for _ in range(37):
        environments.step(act(environments, rng))
    state = stored(environments.state_dict())
    fresh = NATIVE[env_id](SEEDS, 30)
    fresh.load_state_dict(state)
    assert_array_equal(fresh.observation, environments.observation)
    for _ in range(100):
        action = act(environments, rng)
        expected, got = environments.step(action), fresh.step(action)
        for name in ("observation", "next_observation", "reward", "terminated", "truncated"):
            assert_array_equal(getattr(got, name), getattr(expected, name))


def test_rows_do_not_depend_on_each_other():
    rng = np.random.default_rng(2)
    together, alone = NATIVE["CartPole-v1"](SEEDS), NATIVE["CartPole-v1"](SEEDS[2:3])
    together.reset()
    alone.reset()
    for _ in range(200):
        action = rng.integers(2, size=4)
        assert_array_equal(together.step(action).observation[2:3], alone.step(action[2:3]).observation)


def test_records_are_the_callers_own():
    environments = NATIVE["CartPole-v1"](SEEDS)
    environments.reset()
    first = environments.step(np.zeros(4, np.int64))
    assert first.next_observation is first.observation
    kept = {name: getattr(first, name).copy() for name in first.__slots__ if getattr(first, name) is not None}
    for _ in range(30):
        step = environments.step(np.zeros(4, np.int64))
        if step.terminated.any():
            assert step.next_observation is not step.observation
    for name, value in kept.items():
        assert_array_equal(getattr(first, name), value)


def test_second_reset_goes_on_with_the_rows_streams():
    environments, env = NATIVE["Pendulum-v1"]([5]), gymnasium.make("Pendulum-v1")
    environments.reset()
    env.reset(seed=5)
    assert_array_equal(environments.reset()[0], env.reset()[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(([],), "no row seeds"), (([1, -2],), "nearest valid seed is 0"), (([1], 0), "nearest valid value is 1")],
)
def test_bad_construction(arguments, message):
    with pytest.raises(BadInput, match=message):
        NATIVE["CartPole-v1"](*arguments)


def test_bad_action_and_state():
    environments = NATIVE["CartPole-v1"]([1, 2])
    environments.reset()
    with pytest.raises(BadInput, match="from 0 to 1"):
        environments.step(np.array([0, 2]))
    with pytest.raises(BadInput, match="2 rows of CartPole-v1 does not fit"):
        NATIVE["CartPole-v1"]([1]).load_state_dict(environments.state_dict())
    with pytest.raises(BadInput, match="does not fit"):
        NATIVE["Pendulum-v1"]([1, 2]).load_state_dict(environments.state_dict())
