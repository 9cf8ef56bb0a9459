"""PPO on an environment whose steps take 5 ms each, in one process and with workers beside it, and on HalfCheetah where MuJoCo is installed; GRPO on answers of
which each takes 5 ms to be judged.

Prints {"alone", "workers_1", …, "cheetah_alone", …: environment steps a second, "answers_alone", …: answers a second}.
"""

from __future__ import annotations

import json
import time
from importlib.util import find_spec

import gymnasium
import numpy as np
import torch

from operant.core.registry import configure, get_method
from operant.worlds.base import SampleWorkers, World
from operant.worlds.gym.world import GymWorld
from operant.worlds.text.world import TextWorld

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
ANSWERS = {
    "answers_alone": None,
    "answers_workers_2": SampleWorkers(2),
    "answers_workers_1_stale": SampleWorkers(1, 1),
    "answers_workers_2_stale": SampleWorkers(2, 1),
}
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


class Judge:
    """Says which answers are long, from far away."""

    trusted = True

    def __call__(self, problem, completion: str) -> float:
        time.sleep(DELAY)
        return float(len(completion) > 4)


def speed(environment: str | type[gymnasium.Env], beside: SampleWorkers | None) -> float:
    """Environment steps a second of training."""
    return iterations("ppo", SETTINGS, GymWorld(environment), beside) * SETTINGS["environments"] * SETTINGS["rollout_length"]


def answers(beside: SampleWorkers | None) -> float:
    """Answers a second of training: 16 problems an iteration, 16 answers each."""
    return iterations("grpo", {}, TextWorld("arithmetic", verifier=Judge()), beside) * 256


def iterations(method: str, settings: dict, world: World, beside: SampleWorkers | None) -> float:
    """Iterations a second, behind the first, in which processes start."""
    spine = get_method(method).build(configure(method, settings))
    spine = spine if beside is None else spine.sampled_by(beside)
    learner = spine.learner(world, [0], 10**6, torch.device("cpu"))
    try:
        for _ in range(1 if beside is None else 1 + beside.staleness):
            learner.iterate()
        began = time.perf_counter()
        for _ in range(ITERATIONS):
            learner.iterate()
        return ITERATIONS / (time.perf_counter() - began)
    finally:
        learner.close()


def main() -> None:
    torch.set_num_threads(1)
    found = {name: speed(Slow, beside) for name, beside in BESIDE.items()}
    if find_spec("mujoco") is not None:
        found |= {name: speed("HalfCheetah-v5", beside) for name, beside in CHEETAH.items()}
    found |= {name: answers(beside) for name, beside in ANSWERS.items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
