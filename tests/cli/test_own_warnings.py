"""What the library warns of is a line for a person, wherever it is called from."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import operant


class LeavesItsSpace(gymnasium.Env):
    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.full(1, 10, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, True, False, {}


@pytest.mark.filterwarnings("always::RuntimeWarning")
def test_a_warning_of_a_run_is_one_line_without_a_place_in_the_code(tmp_path, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda *warned: told.append(warnings.formatwarning(*warned[:4])))
    operant.train("ppo", LeavesItsSpace, steps=16, episodes=1, progress=False, out=tmp_path / "run")
    assert len(told) == 1 and told[0].startswith("warning: environment 'LeavesItsSpace'") and told[0].count("\n") == 1
