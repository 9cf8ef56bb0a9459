"""What is tried before a run exists: it leaves no trace, takes every method and every kind of observation, and tells what would be silent."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import operant
from operant.core import registry
from operant.core.errors import BadInput
from operant.core.random import Streams, drawn_from, global_generators
from operant.core.registry import configure, get_method, methods
from operant.loops.draw import NStep, Prioritized
from operant.loops.trial import SEEDS, rows
from operant.loops.value_learning import ValueLearning
from operant.worlds import make_world

CPU = torch.device("cpu")


@dataclass(frozen=True)
class H:
    pass


def own(change=lambda spine: spine) -> ValueLearning:
    return change(get_method("td3").build(configure("td3", {"hidden": (8,), "learning_starts": 16, "batch_size": 8})))


@pytest.fixture
def tried(monkeypatch):
    """A method of one's own, and how often it was tried."""
    monkeypatch.setattr(registry._methods, "entries", dict(registry._methods.entries))
    count: list[int] = []
    trial = ValueLearning.trial

    def counted(self, world, device):
        count.append(1)
        return trial(self, world, device)

    def build(h: H) -> ValueLearning:
        return own(lambda spine: replace(spine, relabel=[NStep(2, 0.9)], draw=Prioritized(8)))

    build.__annotations__ = {"h": H, "return": ValueLearning}
    operant.method("tried", family="mine", paper="none", worlds=("gym",))(build)
    monkeypatch.setattr(ValueLearning, "trial", counted)
    return count


def trained(path: Path, seeds: int) -> dict[str, bytes]:
    operant.train("tried", "gym:Pendulum-v1", seeds=seeds, steps=40, every=20, episodes=1, progress=False, out=path)
    kept = [file for file in sorted(path.rglob("*.safetensors"))] + [path / "checkpoints" / "last" / "state.json"]
    return {str(file.relative_to(path)): file.read_bytes() for file in kept[:-1]} | {"log": b"".join(_untimed(path / "metrics.jsonl"))}


def _untimed(log: Path) -> list[bytes]:
    return [line.partition(b"seconds")[0] + line.partition(b"seconds")[2].partition(b",")[2] for line in log.read_bytes().splitlines()]


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_trial_leaves_no_trace(seeds: int, tried, tmp_path: Path, monkeypatch):
    """The same bits in weights, streams, replay and logs with it and without; nor are global generators moved."""
    before = global_generators()
    with_it = trained(tmp_path / "with", seeds)
    assert tried and drawn_from(before) == ""
    monkeypatch.setattr(ValueLearning, "trial", lambda self, world, device: None)
    without = trained(tmp_path / "without", seeds)
    assert with_it == without and len(with_it) > 3


def test_what_it_draws_globally_is_put_back(tried, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(ValueLearning, "trial", lambda self, world, device: (torch.randn(3), np.random.normal(), random.random()))
    before = global_generators()
    trained(tmp_path / "run", 1)
    assert drawn_from(before) == ""


ONLINE = [key for key, entry in methods().items() if entry.spine == "value learning" and "gym" in entry.worlds]


@pytest.mark.parametrize("key", ONLINE)
def test_the_librarys_own_methods_pass(key: str):
    entry = get_method(key)
    names = {item.name for item in registry.hyperparameters(entry.hyperparameters)}
    small = {name: value for name, value in {"hidden": (8,), "batch_size": 8}.items() if name in names}
    task = "gym:CartPole-v1" if "discrete" in entry.actions else "gym:Pendulum-v1"
    entry.build(configure(key, small)).trial(make_world(task), CPU)


class Everything(gymnasium.Env):
    observation_space = spaces.Dict(
        numbers=spaces.Box(-1, 1, (3,), np.float32),
        picture=spaces.Box(0, 200, (6, 6), np.uint8),
        choice=spaces.Discrete(3, start=2),
        choices=spaces.MultiDiscrete([2, 3]),
        bits=spaces.MultiBinary(2),
        action_mask=spaces.MultiBinary(4),
    )
    action_space = spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample() | {"action_mask": np.ones(4, np.int8)}, {}

    def step(self, action):
        return self.reset()[0], 0.0, False, True, {}


def test_made_up_observations_are_ones_of_the_space():
    world = make_world(Everything)
    fields = world.observation.unpack(rows(world.observation, Streams(SEEDS), "x", 50))
    assert fields["numbers"].abs().max() <= 1 and fields["picture"].max() <= 200 and fields["picture"].min() >= 0
    assert torch.equal(fields["picture"], fields["picture"].floor())
    assert (fields["choice"].sum(-1) == 1).all() and (fields["choices"].sum(-1) == 2).all() and fields["action_mask"].all()
    get_method("dqn").build(configure("dqn", {"hidden": (8,), "batch_size": 8})).trial(world, CPU)


def test_seeds_that_are_lined_up_with_critics_are_told():
    """A loss whose shapes broadcast is silently another one as soon as there are two seeds."""

    def losses(u):
        y = u.bellman(u.target("q")(u.batch.next_observation, u.batch.action).amin(1), gamma=0.9)
        return {"critic": (u.net("q")(u.batch.observation, u.batch.action) - y).square().sum(1)}

    def broken(spine):
        return replace(spine, phases=[replace(spine.phases[0], losses=losses), *spine.phases[1:]])

    with pytest.raises(BadInput, match=r"loss 'critic' of one seed hangs on the transitions of another.*y.unsqueeze\(1\) \(.*test_trial.py, line \d+\)$"):
        own(broken).trial(make_world("gym:Pendulum-v1"), CPU)


def test_losses_that_draw_are_held_to_the_same():
    """The draws of a stream that the loss is the first to ask are the same ones each time."""

    def losses(u):
        noise = u.streams.normal("first asked here", u.batch.reward.shape[1])
        q = u.net("q")(u.batch.observation, u.batch.action)
        return {"critic": (q - (u.batch.reward + noise)).square().sum(1)}

    def broken(spine):
        return replace(spine, phases=[replace(spine.phases[0], losses=losses), *spine.phases[1:]])

    with pytest.raises(BadInput, match="of one seed hangs on the transitions of another"):
        own(broken).trial(make_world("gym:Pendulum-v1"), CPU)
