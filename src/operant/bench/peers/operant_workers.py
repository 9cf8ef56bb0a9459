"""PPO on an environment whose steps take 5 ms each, in one process and with workers beside it, and on HalfCheetah where MuJoCo is installed.

Prints {"alone", "workers_1", …, "cheetah_alone", …: environment steps a second}.
"""

from __future__ import annotations

import json
import time
from importlib.util import find_spec

import gymnasium
import numpy as np
import torch

from operant.core.registry import configure, get_method
from operant.worlds.base import SampleWorkers
from operant.worlds.gym.world import GymWorld

DELAY = 0.005  # seconds of a step
SETTINGS = {"environments": 8, "rollout_length": 32, "hidden": (64, 64), "epochs": 10, "minibatches": 8}
BESIDE = {
    "alone": None,
    "workers_1": SampleWorkers(1),
    "workers_2": SampleWorkers(2),
    "workers_4": SampleWorkers(4),
    "workers_1_stale": SampleWorkers(1, 1),
    "workers_4_stale": SampleWorkers(4, 1),
}
CHEETAH = {"cheetah_alone": None, "cheetah_workers_2": SampleWorkers(2), "cheetah_workers_2_stale": SampleWorkers(2, 1)}
ITERATIONS = 4


class Slow(gymnasium.Env):
    """Episodes of 100 steps, in which a number of what is seen says what to do."""

    observation_space, action_space = gymnasium.spaces.Box(-1, 1, (8,), np.float32), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self._seen(), {}

    def step(self, action):
        time.sleep(DELAY)
        self._steps += 1
        right = action == (self._last[0] > 0)
        return self._seen(), float(right), False, self._steps == 100, {}

    def _seen(self):
        self._last = self.np_random.uniform(-1, 1, 8).astype(np.float32)
        return self._last


def speed(environment: str | type[gymnasium.Env], beside: SampleWorkers | None) -> float:
    """Environment steps a second of training, behind the first iteration, in which processes start."""
    spine = get_method("ppo").build(configure("ppo", SETTINGS))
    spine = spine if beside is None else spine.sampled_by(beside)
    learner = spine.learner(GymWorld(environment), [0], 10**6, torch.device("cpu"))
    try:
        for _ in range(1 if beside is None else 1 + beside.staleness):
            learner.iterate()
        began = time.perf_counter()
        for _ in range(ITERATIONS):
            learner.iterate()
        return ITERATIONS * learner.stride / (time.perf_counter() - began)
    finally:
        learner.close()


def main() -> None:
    torch.set_num_threads(1)
    found = {name: speed(Slow, beside) for name, beside in BESIDE.items()}
    if find_spec("mujoco") is not None:
        found |= {name: speed("HalfCheetah-v5", beside) for name, beside in CHEETAH.items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
