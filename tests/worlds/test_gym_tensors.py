"""Environments on tensors give the transitions of the same environment as an object, and what breaks their protocol is named."""

from __future__ import annotations

from functools import partial
from itertools import islice

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from other_device import other_device

import operant
from operant.core.checkpoint import first_difference, load_state
from operant.core.errors import RunFailed
from operant.worlds import make_world
from operant.worlds.base import NothingToDraw
from operant.worlds.gym.adapter import make_environments
from operant.worlds.gym.check import WATCH
from operant.worlds.gym.environments import Environments
from operant.worlds.gym.tensors import TensorEnvironment, TensorRows

SPACE = spaces.Dict({"place": spaces.Box(0, 20, (1,), np.float32), "door": spaces.Discrete(3, start=1), "lamps": spaces.MultiBinary(2)})


class Line(gymnasium.Env):
    """A walk along a line, to 9 within 12 steps, at whose end it succeeded behind 1; forward is forbidden at every third place."""

    observation_space, action_space = SPACE, spaces.Discrete(2, start=5)

    def reset(self, *, seed=None, options=None):
        self.at = self.count = 0
        return self._seen()

    def step(self, action):
        self.at, self.count = max(0, self.at + (1 if action == 6 else -1)), self.count + 1
        seen, info = self._seen()
        return seen, float(self.at), self.at == 9, self.count == 12, info | {"is_success": self.at > 1}

    def _seen(self):
        seen = {"place": np.array([self.at], np.float32), "door": self.at % 3 + 1, "lamps": np.array([self.at % 2, 1], np.int8)}
        return seen, {"action_mask": np.array([1, self.at % 3 < 2], np.int8)}


class Lines(TensorEnvironment):
    """The same, all at once."""

    observation_space, action_space = SPACE, spaces.Discrete(2, start=5)
    limit, resume = 12, "bitwise"

    def __init__(self, num_envs=1, device="cpu"):
        super().__init__(num_envs)
        self.device = device
        self.at = self.count = torch.zeros(num_envs, dtype=torch.int64, device=device)

    def reset(self, which, seed=None):
        self.at, self.count = self.at * ~which, self.count * ~which
        return self._seen()

    def step(self, action):
        self.at, self.count = (self.at + 2 * (action == 6).long() - 1).clamp(min=0), self.count + 1
        return self._seen(), self.at.float(), self.at == 9, self.count == 12

    def _seen(self):
        return {"place": self.at.float().unsqueeze(1), "door": self.at % 3 + 1, "lamps": torch.stack([self.at % 2, torch.ones_like(self.at)], 1)}

    def success(self):
        return self.at > 1

    def action_mask(self):
        return torch.stack([torch.ones_like(self.at), self.at % 3 < 2], 1)

    def state_dict(self):
        return {"at": self.at, "count": self.count}

    def load_state_dict(self, state):
        self.at, self.count = state["at"], state["count"]


def test_the_same_transitions_as_objects():
    ours, theirs = make_environments(Lines, [1, 2, 3]), make_environments(Line, [1, 2, 3])
    assert isinstance(ours, Environments)
    seen, same = ours.reset(), theirs.reset()
    assert ours.observation_spec == theirs.observation_spec
    draws, ends, told = np.random.default_rng(0), 0, 0
    for _ in range(80):
        assert np.array_equal(seen, same)
        action = draws.integers(2, size=3) | (draws.random(3) < 0.6)
        action = np.where(seen[:, ours.observation_spec.mask][:, 1] > 0, action, 0)
        step, other = ours.step(action), theirs.step(action)
        for name in ("reward", "terminated", "truncated", "valid"):
            assert np.array_equal(getattr(step, name), getattr(other, name))
        assert np.array_equal(step.next_observation, other.next_observation)
        assert (step.success is None) == (other.success is None)
        assert step.success is None or np.array_equal(step.success, other.success, equal_nan=True)
        told += int(np.nansum(step.success)) if step.success is not None else 0
        ends += int((step.terminated | step.truncated).sum())
        seen, same = step.observation, other.observation
    assert ends > 10 and 0 < told < ends


@pytest.mark.parametrize("what", ["reset", "step", "success", "close"])
def test_what_hangs_is_stopped(what):
    def hangs(*_):
        while True:
            pass

    rows = TensorRows(Lines(2), [1, 2], "Lines", start_seconds=0.1)
    setattr(rows.env, what, hangs)
    told = f"{what} took longer than 0.1 s$"
    with pytest.warns(RuntimeWarning, match=told) if what == "close" else pytest.raises(RunFailed, match=told):
        rows.reset()
        rows.step(np.zeros(2, np.int64))
        rows.close()
    rows.env.close = lambda: None
    rows.close()
    assert WATCH.step is None


@pytest.mark.parametrize("method", ["ppo", "dqn"])
def test_a_run_goes_on_to_the_same_bits(method, tmp_path):
    options = {"ppo": {"rollout_length": 16}, "dqn": {"learning_starts": 30, "batch_size": 8}}[method]
    train = partial(operant.train, method, Lines, every=1_000, episodes=1, environments=2, hidden=(8,), threads=1, progress=False, seeds=2, **options)
    whole = train(steps=128, out=tmp_path / "whole")
    train(steps=64, out=tmp_path / "part")
    resumed = operant.resume(tmp_path / "part", steps=128, task=Lines, progress=False)
    ends = [load_state(run.path / "checkpoints" / "last")[0]["learner"] for run in (whole, resumed)]
    assert first_difference(*ends) is None
    seen = {"place": np.zeros(1, np.float32), "door": 1, "lamps": np.array([0, 1])}
    assert whole.policy(seen, action_mask=[1, 0]) == 5


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"step": lambda self, action: (self._seen(), self.at.float(), self.at == 9)}, r"step returns \(observations, rewards, terminated, truncated\)"),
        ({"step": lambda self, action: (self._seen(), self.at.float()[:1], self.at == 9, self.at == 9)}, r"rewards are \[1\] of torch.float32; expected \[2\]"),
        ({"step": lambda self, action: (self._seen(), self.at.float(), self.at, self.at == 9)}, r"terminated are \[2\] of torch.int64; expected \[2\] of bool"),
        ({"step": lambda self, action: (self._seen(), self.at / 0, self.at == 9, self.at == 9)}, "row 0, after 0 steps: .* reward is nan"),
        ({"_seen": lambda self: Lines._seen(self) | {"place": self.at.float()}}, r"observation 'place' is \[2\]; its observation space says \[2, 1\]"),
        ({"_seen": lambda self: {"place": self.at.float().unsqueeze(1), "door": self.at}}, "observations have no part 'lamps'"),
        ({"_seen": lambda self: Lines._seen(self) | {"door": self.at.float()}}, "'door' is of torch.float32; its observation space has integers"),
        ({"_seen": lambda self: Lines._seen(self) | {"place": torch.full((2, 1), torch.nan)}}, "observation element 5 is nan"),
        ({"action_mask": lambda self: torch.zeros(2, 2)}, r"row 0, after 0 steps: .* forbids every action"),
        ({"action_mask": lambda self: torch.ones(2, 3)}, r"action_mask is no tensor \[2, 2\]"),
        ({"success": lambda self: 1, "step": lambda self, action: (self._seen(), self.at.float(), *[self.at < 9] * 2)}, r"success is no tensor \[2\] of bool"),
        ({"step": lambda self, action: 1 / 0}, "step raised ZeroDivisionError"),
    ],
)
def test_what_breaks_the_protocol(fault, message):
    environments = make_environments(type("Broken", (Lines,), fault), [1, 2])
    with pytest.raises(RunFailed, match=message):
        environments.reset()
        environments.step(np.zeros(2, np.int64))


class DrawnLines(Lines):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 7}

    def __init__(self, num_envs=1, device="cpu", render_mode=None):
        super().__init__(num_envs, device)
        self.render_mode = render_mode

    def render(self):
        return np.full((2, 3, 3), int(self.at[0]), np.uint8)


def test_the_first_copy_is_drawn():
    world = make_world(DrawnLines)
    drawn = list(islice(world.draw(world.random_policy(), 1), 14))
    assert drawn[0].picture.shape == (2, 3, 3) and drawn[0].fps == 7 and any(step.over for step in drawn) and any(step.picture.any() for step in drawn)
    with pytest.raises(NothingToDraw, match="Lines takes no argument render_mode"):
        next(make_world(Lines).draw(world.random_policy(), 1))
    rows = partial(gymnasium.make_vec, "CartPole-v1")
    with pytest.raises(NothingToDraw, match="makes a vector environment, of which none is drawn: train on a function that makes one environment"):
        next(make_world(rows).draw(world.random_policy(), 1))


def test_stacks_and_time_of_tensors():
    world = make_world(Lines, frame_stack=2, time_feature=True)
    seen = world.make([0, 1]).reset()
    assert [field.name for field in world.observation.fields] == ["door", "lamps", "place", "time", "action_mask"] and seen.shape == (2, 6 + 4 + 2 + 1 + 2)


def test_an_environment_on_another_device(monkeypatch):
    """Its tensors stay there; what comes of them is that of the processor."""
    with other_device(monkeypatch) as device:
        there, here = (make_environments(partial(Lines, device=where), [1, 2]) for where in (device, "cpu"))
        assert there.env.at.device == device and np.array_equal(there.reset(), here.reset())
        for _ in range(30):
            step, other = there.step(np.ones(2, np.int64) * (np.arange(2) % 2)), here.step(np.ones(2, np.int64) * (np.arange(2) % 2))
            assert np.array_equal(step.observation, other.observation) and np.array_equal(step.reward, other.reward)
        assert there.env.at.device == device
