"""What draws from a global generator is not kept, and the run says so; whatever of a run's parts it is."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import operant
from operant.core import registry
from operant.loops.behaviour import Sampled
from operant.loops.credit import GAE
from operant.loops.draw import Uniform
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.value_learning import Phase, Polyak, ValueLearning
from operant.nets.actors import ActorCriticNet, ActorNet, CriticNet
from operant.worlds.gym.collect import Steps
from operant.worlds.gym.experience import Online

DRAWS = {
    "torch": lambda: torch.randn(3),
    "NumPy": lambda: np.random.normal(),
    "Python": lambda: random.random(),
    "none": lambda: None,
}


@dataclass(frozen=True)
class Nothing:
    pass


def value_learning(loss=lambda: None, behaviour=lambda: None) -> ValueLearning:
    class Acts(Sampled):
        def act(self, policy, observation, streams, progress):
            if progress > 0.5:
                behaviour()
            return super().act(policy, observation, streams, progress)

    def losses(u):
        if u.count > 5:  # later than anything that is tried before a run
            loss()
        return {"q": (u.net("q")(u.batch.observation, u.batch.action) - u.batch.reward.unsqueeze(1)).square().sum(1)}

    return ValueLearning(
        nets={"actor": ActorNet(hidden=(4,), squash=True), "q": CriticNet(hidden=(4,))},
        phases=[Phase(losses, trains=("q",))],
        acts=Acts(),
        draw=Uniform(4),
        track={"q": Polyak()},
        online=Online(learning_starts=8, capacity=100),
    )


def policy_gradient(term=lambda: None) -> PolicyGradient:
    def reinforce(batch):
        term()
        return -batch.advantage * batch.log_prob

    return PolicyGradient(policy=ActorCriticNet(hidden=(4,)), sample=Steps(2, 8), credit=GAE(), terms=[reinforce])


class Drawing(gymnasium.Wrapper):
    draw = staticmethod(lambda: None)

    def step(self, action):
        self.draw()
        return super().step(action)


PARTS = {
    "loss": lambda draw: (value_learning(loss=draw), Drawing),
    "behaviour": lambda draw: (value_learning(behaviour=draw), Drawing),
    "term": lambda draw: (policy_gradient(draw), Drawing),
    "environment": lambda draw: (policy_gradient(), type("Drawn", (Drawing,), {"draw": staticmethod(draw)})),
}


@pytest.mark.parametrize(("part", "whose"), [*((part, "torch") for part in PARTS), ("loss", "NumPy"), ("loss", "Python"), ("loss", "none"), ("term", "none")])
def test_a_run_says_that_it_draws_what_is_not_kept(part: str, whose: str, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(registry._methods, "entries", dict(registry._methods.entries))
    spine, wrapper = PARTS[part](DRAWS[whose])

    def drawing(h: Nothing):
        return spine

    drawing.__annotations__ = {"h": Nothing, "return": type(spine)}
    operant.method("drawing", family="mine", paper="none", worlds=("gym",))(drawing)
    told: list[str] = []
    settings = {"episodes": 1, "progress": False, "listener": lambda update: told.append(update.message), "out": tmp_path / "run"}
    operant.train("drawing", lambda: wrapper(gymnasium.make("Pendulum-v1")), steps=32, every=8, **settings)
    lines = [line for line in told if "global generator" in line]
    assert len(lines) == (whose != "none") and all(f"generator of {whose}, whose state is not kept" in line for line in lines)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["resume"] == ("episode-boundary" if whose == "none" else "other-draws")
