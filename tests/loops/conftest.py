"""What tests of several loops share: data of an environment whose goals nobody set."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from operant.worlds.data.dataset import Dataset
from operant.worlds.data.formats import save_npz


class Line(gymnasium.Env):
    """A point on [-1, 1] that moves by a tenth of its action, from a random place to a random goal; each step costs 1 until it is within 0.1."""

    observation_space = gymnasium.spaces.Dict({name: gymnasium.spaces.Box(-1, 1, (1,), np.float32) for name in ("observation", "desired_goal")})
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.goal = self.np_random.uniform(-1, 1, (2, 1)).astype(np.float32)
        return self.seen(), {}

    def seen(self):
        return {"observation": self.place, "desired_goal": self.goal}

    def step(self, action):
        self.place = np.clip(self.place + 0.1 * np.asarray(action, np.float32), -1, 1)
        return self.seen(), -1.0, bool(abs(self.place - self.goal) < 0.1), False, {}


@pytest.fixture
def strolls(tmp_path: Path) -> str:
    """A task of 100 strolls of 40 steps whose direction changes now and then; nobody had a goal."""
    name = "OperantTestLine-v0"
    if name not in gymnasium.registry:
        gymnasium.register(name, entry_point=partial(Line), max_episode_steps=40)
    rng = np.random.default_rng(0)
    action = np.repeat(rng.uniform(-1, 1, (100, 8)), 5, axis=1).astype(np.float32)
    place = np.empty((100, 41), np.float32)
    place[:, 0] = rng.uniform(-1, 1, 100)
    for step in range(40):
        place[:, step + 1] = np.clip(place[:, step] + np.float32(0.1) * action[:, step], -1, 1)
    cut = np.zeros((100, 40), bool)
    cut[:, -1] = True
    here, there, action = (x.reshape(-1, 1) for x in (place[:, :-1], place[:, 1:], action))
    nothing = np.zeros(4_000)
    data = Dataset(
        here, action, there, nothing.astype(np.float32), nothing.astype(bool), cut.reshape(-1), {"environment": name, "reward": "none"}
    )  # fmt: skip
    return f"data:{save_npz(data, tmp_path / 'strolls.npz')}"
