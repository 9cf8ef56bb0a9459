"""Options of a task: stacks, actions that last, the time that is left, clipped rewards; each against Gymnasium's own wrapper or a literal account."""

from __future__ import annotations

from functools import partial

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import FrameStackObservation, TimeLimit
from numpy.testing import assert_array_equal

import operant
from operant.core.checkpoint import first_difference, load_state
from operant.core.errors import BadInput
from operant.evidence.online.beds import Catch
from operant.worlds import make_world
from operant.worlds.gym.adapter import make_environments
from operant.worlds.gym.views import View
from operant.worlds.store import Store


class Parts(gymnasium.Env):
    """A Dict with a part of every kind, an action mask, and rewards far from 1; an episode ends after five steps."""

    observation_space = spaces.Dict(
        {
            "screen": spaces.Box(0, 255, (2, 3), np.uint8),
            "speed": spaces.Box(-1, 1, (2,), np.float32),
            "door": spaces.Discrete(3, start=1),
            "keys": spaces.MultiDiscrete([2, 3]),
            "lamps": spaces.MultiBinary(2),
            "action_mask": spaces.MultiBinary(2),
        }
    )
    action_space = spaces.Discrete(2)

    def _seen(self):
        draws = self.np_random
        return {
            "screen": draws.integers(0, 256, (2, 3)).astype(np.uint8),
            "speed": draws.uniform(-1, 1, 2).astype(np.float32),
            "door": int(draws.integers(1, 4)),
            "keys": draws.integers(0, [2, 3]),
            "lamps": draws.integers(0, 2, 2).astype(np.int8),
            "action_mask": np.array([1, draws.integers(2)], np.int8),
        }

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self._seen(), {}

    def step(self, action):
        self.count += 1
        return self._seen(), 3.0 * (-1) ** self.count, self.count == 5, False, {}


def walk(environments, steps):
    """Transitions of the first row, whatever the automatic reset: (observation, reward, next observation, whether the episode ended)."""
    seen, found = environments.reset(), []
    for number in range(steps):
        step = environments.step(np.full(environments.rows, number % 2))
        if step.valid[0]:
            found.append((seen[0].copy(), float(step.reward[0]), step.next_observation[0].copy(), bool(step.terminated[0] | step.truncated[0])))
        seen = step.observation
    return found


def test_stacks_are_those_of_gymnasium():
    ours = make_environments(partial(gymnasium.make, "CartPole-v1"), [5], view=View(frame_stack=3))
    theirs = FrameStackObservation(gymnasium.make("CartPole-v1"), 3)
    assert ours.observation_space == theirs.observation_space
    seen, _ = theirs.reset(seed=5)
    for number, (observation, _, following, ended) in enumerate(walk(ours, 60)):
        assert_array_equal(observation, seen.reshape(-1))
        seen, *_ = theirs.step(number % 2)
        assert_array_equal(following, seen.reshape(-1))
        if ended:
            seen, _ = theirs.reset()


@pytest.mark.parametrize("mode", [None, *AutoresetMode])
def test_stacks_of_every_kind_of_part(mode):
    """Against a list of what was seen; the mask is the newest alone, and a field says of how many observations it is."""
    make = Parts if mode is None else lambda num_envs=1: SyncVectorEnv([Parts] * num_envs, autoreset_mode=mode)
    plain, stacked = (make_environments(make, [4, 9], view=View(frame_stack=count)) for count in (1, 3))
    past: list[np.ndarray] = []
    for (seen, reward, following, ended), (shown, same, then, over) in zip(walk(plain, 40), walk(stacked, 40), strict=True):
        past = past or [seen] * 3
        for values, row in ((past[-3:], shown), ([*past, following][-3:], then)):
            for field in plain.observation_spec.fields:
                parts = [value[plain.observation_spec.slices[field.name]] for value in values]
                wanted = parts[-1] if field.role == "action_mask" else np.concatenate(parts)
                assert_array_equal(row[stacked.observation_spec.slices[field.name]], wanted)
        assert (reward, ended) == (same, over)
        past = [] if ended else [*past, following]
    assert {field.name: field.stack for field in stacked.observation_spec.fields} == {key: 3 for key in Parts.observation_space} | {"action_mask": 1}


def test_time_that_is_left():
    found = walk(make_environments(lambda: TimeLimit(gymnasium.make("MountainCar-v0").unwrapped, 10), [0], view=View(time_feature=True)), 25)
    for number, (seen, _, following, ended) in enumerate(found):
        count = number % 10
        assert seen[-1] == np.float32(1 - count / 10) and following[-1] == np.float32(1 - (count + 1) / 10) and ended == (count == 9)
    world = make_world("gym:Pendulum-v1", time_feature=True)
    assert [field.name for field in world.observation.fields] == ["observation", "time"] and world.make([0]).reset()[0, -1] == 1
    with pytest.raises(BadInput, match="has no time limit whose rest could be seen"):
        make_world(Parts, time_feature=True)


def test_an_action_that_lasts():
    """Three steps of the environment in one, fewer where the episode ends; also of an id that has a native version."""
    plain = gymnasium.make("CartPole-v1")
    repeated = make_environments("CartPole-v1", [3], view=View(action_repeat=3))
    seen, _ = plain.reset(seed=3)
    assert repeated.limit == 167
    for number, (observation, reward, following, ended) in enumerate(walk(repeated, 30)):
        assert_array_equal(observation, seen)
        total = 0.0
        for _ in range(3):
            seen, gain, terminated, truncated, _ = plain.step(number % 2)
            total += gain
            if terminated or truncated:
                break
        assert (reward, ended) == (total, terminated or truncated)
        assert_array_equal(following, seen)
        if ended:
            seen, _ = plain.reset()


def test_rewards_are_clipped_in_training_alone():
    world = make_world(Parts, clip_rewards=True)
    rewards = [{reward for _, reward, _, _ in walk(make([0]), 10)} for make in (world.make_training, world.make)]
    assert rewards == [{-1.0, 1.0}, {-3.0, 3.0}]


def test_a_vector_environment_cannot_repeat():
    with pytest.raises(BadInput, match="no action lasts several steps: wrap its environments"):
        make_world(lambda num_envs=1: SyncVectorEnv([Parts] * num_envs), action_repeat=2)


@pytest.mark.parametrize("task", ["gym:CartPole-v1", partial(gymnasium.make, "CartPole-v1")], ids=["native", "gymnasium"])
def test_a_run_goes_on_to_the_same_bits(task, tmp_path):
    train = partial(operant.train, "ppo", task, every=1_000, episodes=2, progress=False, environments=2, rollout_length=32, hidden=(8,), threads=1)
    options = {"frame_stack": 2, "action_repeat": 2, "time_feature": True}
    whole = train(steps=256, out=tmp_path / "whole", **options)
    train(steps=128, out=tmp_path / "part", **options)
    resumed = operant.resume(tmp_path / "part", steps=256, progress=False, **({} if isinstance(task, str) else {"task": task}))
    ends = [load_state(run.path / "checkpoints" / "last")[0]["learner"] for run in (whole, resumed)]
    assert first_difference(*ends) is None
    seen = {"observation": np.zeros((2, 4), np.float32), "time": np.ones(1, np.float32)}
    assert whole.policy(seen) in (0, 1)


@pytest.mark.parametrize("method", ["dqn", "rainbow"])
def test_replay_of_frames_trains_to_the_same_bits(method, tmp_path, monkeypatch):
    """As a store that keeps both stacks of every transition, round its ring, with several seeds and environments, and steps that reach ahead."""
    options = {"frame_stack": 3, "steps": 240, "capacity": 60, "environments": 2, "seeds": 2, "learning_starts": 40, "batch_size": 8, "hidden": (8,)}
    train = partial(operant.train, method, Catch, **options, updates_per_step=0.25, n_step=3, episodes=1, progress=False, threads=1)
    ends = []
    for name, kind in {"frames": Store, "stacks": lambda *arguments, frames, **others: Store(*arguments, **others)}.items():
        monkeypatch.setattr("operant.worlds.gym.experience.Store", kind)
        ends.append(load_state(train(out=tmp_path / name).path / "checkpoints" / "last")[0]["learner"])
    assert first_difference(*(state["nets"] for state in ends)) is None
    assert "frames" in ends[0]["experience"]["store"] and "frames" not in ends[1]["experience"]["store"]
