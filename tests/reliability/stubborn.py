"""An environment that waits at one step until it is interrupted, swallows what it can, and goes on as if nothing had been. `gym:stubborn:Stubborn-v0`.

STUBBORN names a file that is made when it waits, STUBBORN_AT the step (of all copies in the process), STUBBORN_CATCHES what it swallows.
"""

import os
import time
from pathlib import Path

import gymnasium
import numpy as np

CATCHES = {"Exception": Exception, "BaseException": BaseException}


class Stubborn(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-10, 10, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.age = self.np_random.uniform(-1, 1, 2), 0
        return self.place.astype(np.float32), {}

    def step(self, action):
        Stubborn.steps += 1
        self.age += 1
        self.place = np.clip(self.place + (0.1 if action else -0.1), -5, 5)
        if "STUBBORN" in os.environ and Stubborn.steps == int(os.environ["STUBBORN_AT"]):
            try:
                Path(os.environ["STUBBORN"]).touch()
                time.sleep(60)
            except CATCHES[os.environ["STUBBORN_CATCHES"]]:
                self.place = np.zeros(2)  # it is not the state that it was
        return self.place.astype(np.float32), float(self.place[0]), self.age == 20, False, {}

    def state_dict(self):
        return {"place": self.place, "age": self.age, "random": self.np_random.bit_generator.state}

    def load_state_dict(self, state):
        self.place, self.age = state["place"], state["age"]
        self.np_random.bit_generator.state = state["random"]


gymnasium.register("Stubborn-v0", Stubborn)
