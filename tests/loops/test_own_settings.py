"""What a person's own dataclass of hyper-parameters, or own net, says wrong is told in one line, with the file and the line where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest
from torch import nn

import operant
from operant.core.errors import BadInput
from operant.core.registry import Count, LearningRate, Widths, read_settings
from operant.loops.behaviour import EpsilonGreedy
from operant.loops.configuration import configure_run
from operant.loops.value_learning import Phase, ValueLearning
from operant.nets.actors import ActionValueNet
from operant.worlds import world_options

HERE = r" \(.*test_own_settings.py, line \d+\)$"


@dataclass(frozen=True)
class Zero:
    batch_size: Count = 0


@dataclass(frozen=True)
class Below(Zero):
    batch_size: Count = 3
    learning_rate: LearningRate = -1.0


@dataclass(frozen=True)
class Infinite:
    scale: float = float("inf")


@dataclass(frozen=True)
class Worded:
    kind: Literal["one", "two"] = "three"


@dataclass(frozen=True)
class Text:
    count: int = "many"


@dataclass(frozen=True)
class Empty:
    hidden: Widths = ()


@dataclass(frozen=True)
class Bare:
    count: int


@dataclass(frozen=True)
class Fine:
    own: nn.Module | None = None
    made: dict = field(default_factory=dict)
    rate: float = 1


@pytest.mark.parametrize(
    ("cls", "says"),
    [
        (Zero, "mine: default of batch_size = 0: it must be at least 1"),
        (Below, "mine: default of learning_rate = -1.0: it must be above 0"),
        (Infinite, "mine: default of scale = inf: it must be a finite number"),
        (Worded, "mine: default of kind = 'three': did you mean one|mine: default of kind = 'three': known: one, two"),
        (Text, "mine: default of count = 'many' is not an integer"),
        (Empty, "mine: default of hidden is empty: give one number at least"),
        (Bare, "Bare: count has no default: give it one"),
    ],
)
def test_a_default_is_checked_as_what_is_given(cls, says):
    with pytest.raises(BadInput, match=f"^({says}){HERE}"):
        read_settings(cls, {}, "mine", "hyper-parameter")


def test_defaults_that_fit_are_taken():
    assert read_settings(Fine, {}, "mine", "hyper-parameter") == Fine()
    for kind, options in world_options().items():
        read_settings(options, {}, kind, "option")


def test_a_net_that_is_not_there_is_told_with_the_line_that_asks_for_it():
    with pytest.raises(BadInput, match=f"the net that a phase trains, 'critic'; there is q{HERE}"):
        ValueLearning(nets={"q": ActionValueNet()}, acts=EpsilonGreedy("q", 1.0, 0.1, 0.5), phases=[Phase(lambda u: {}, trains=("critic",))])


def net(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, outputs))


def test_action_values_take_a_module(tmp_path):
    small = {"learning_starts": 50, "batch_size": 8, "steps": 100, "episodes": 1, "progress": False}
    run = operant.train("dqn", "gym:CartPole-v1", policy=lambda: net(2), seeds=2, out=tmp_path / "run", **small)
    again = operant.load(run.path, policy=net(2))
    seen = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    assert (run.policy(seen) == again.policy(seen)).all()


@pytest.mark.parametrize(
    ("key", "outputs", "says"),
    [
        ("c51", 2, r"policy Sequential must map observations \[N, 4\] to \[N, 202\]"),
        ("rainbow", 202, "a module of your own stands in the place of all its layers, and these have duelling"),
        ("iqn", 2, "no module of your own stands in its place"),
        ("pqn", 2, "pqn takes no module as policy: one stands in the place of an actor's network, or of that of action values"),
    ],
)
def test_where_none_fits_it_is_told(key, outputs, says, tmp_path):
    with pytest.raises(BadInput, match=says):
        operant.train(key, "gym:CartPole-v1", policy=net(outputs), out=tmp_path / "run", steps=10, progress=False)


def test_what_says_nothing_is_told():
    layers, _, _ = configure_run("dqn", "gym:CartPole-v1", policy=net(2), steps=10, hyperparameters={"hidden": "8", "activation": "tanh", "batch_size": 8})
    assert "activation and hidden: not used, a module of your own stands in the place of all layers" in layers["notes"]
    fixed, _, _ = configure_run("sac-v2", "gym:Pendulum-v1", steps=10, hyperparameters={"alpha": 0.2, "target_entropy": -3.0, "hidden": "8"})
    assert "target_entropy: not used, alpha = 0.2 is not tuned" in fixed["notes"]
    for method, given in (("dqn", {"hidden": "8"}), ("sac-v2", {"target_entropy": -3.0}), ("sac-v2", {"alpha": 0.2})):
        config, _, _ = configure_run(method, "gym:CartPole-v1" if method == "dqn" else "gym:Pendulum-v1", steps=10, hyperparameters=given)
        assert not any("not used" in line for line in config["notes"])
