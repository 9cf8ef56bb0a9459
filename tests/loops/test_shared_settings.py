"""Settings that many methods inherit do in each of them what they say."""

from __future__ import annotations

import json
import math
import typing

import pytest
import torch

import operant
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import configure, get_method, hyperparameters, methods
from operant.loops.settings import Activation
from operant.loops.soft import TemperatureSettings
from operant.loops.value_learning import Copy, Polyak, ValueLearning
from operant.nets.layers import ACTIVATIONS, MLP
from operant.worlds import make_world

HAS = {key: {item.name for item in hyperparameters(entry.hyperparameters)} for key, entry in methods().items()}
SMALL = {"hidden": (4,), "batch_size": 8, "learning_starts": 8}


def built(key: str, **settings):
    return get_method(key).build(configure(key, settings))


def trained(key: str, **settings):
    """(the learner after a few updates, their metrics)."""
    learner = built(key, **SMALL, **settings).learner(make_world("gym:Pendulum-v1"), [100, 101], 30, torch.device("cpu"))
    return learner, learner.iterate()


@pytest.mark.parametrize("key", [key for key, entry in methods().items() if issubclass(entry.hyperparameters, TemperatureSettings)])
def test_a_temperature_that_is_said_is_not_tuned(key: str):
    tuned, fixed = built(key), built(key, alpha=0.2)
    assert any("scalars" in phase.trains for phase in tuned.phases) and not any("scalars" in phase.trains for phase in fixed.phases)
    assert [phase.trains for phase in fixed.phases] == [rest for phase in tuned.phases if (rest := tuple(x for x in phase.trains if x != "scalars"))]
    assert fixed.scalars == {"log_alpha": pytest.approx(math.log(0.2))}


def test_it_stays_through_updates():
    learner, metrics = trained("sac-v2", alpha=0.2)
    assert learner.updates > 0 and "loss/temperature" not in metrics and "loss/actor" in metrics
    assert learner.scalars["log_alpha"].exp().flatten().tolist() == pytest.approx([0.2, 0.2])
    assert "loss/temperature" in trained("sac-v2")[1]


def test_it_stays_where_a_run_begins_from_another(tmp_path):
    small = {**SMALL, "steps": 20, "every": 20, "episodes": 1}
    operant.train("sac-v2", "gym:Pendulum-v1", out=tmp_path / "first", **small)
    run = operant.train("sac-v2", "gym:Pendulum-v1", out=tmp_path / "second", start_from=tmp_path / "first", alpha=0.2, **small)
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["log_alpha"] for row in rows] == [pytest.approx(math.log(0.2))] * len(rows)


@pytest.mark.parametrize("key", [key for key in HAS if "double" in HAS[key]])
def test_target_networks_follow_by_a_share_where_one_is_said(key: str):
    assert built(key).track["q"] == Copy(configure(key, {}).target_every)
    assert built(key, tau=0.5, target_every=3).track["q"] == Polyak(0.5, 3)


@pytest.mark.parametrize("key", [key for key in HAS if "activation" in HAS[key]])
def test_an_activation_reaches_every_layer(key: str):
    entry = get_method(key)
    spine = built(key, activation="elu")
    world = make_world(entry.example or ("gym:CartPole-v1" if "discrete" in entry.actions else "gym:Pendulum-v1"))
    nets = spine.nets.items() if isinstance(spine, ValueLearning) else [("policy", getattr(spine, "inner", spine).policy)]
    for name, net in nets:
        layers = [module for module in net.build(world.observation, world.action, Streams([100]), name).modules() if isinstance(module, MLP)]
        own = [layer for layer in layers if layer.activated]
        assert own and all(layer.activation is ACTIVATIONS["elu"] for layer in own), name


def test_the_activations_are_those_that_there_are():
    assert set(typing.get_args(Activation)) == set(ACTIVATIONS)
    with pytest.raises(BadInput, match="sac-v2: activation tanh is of layers that are plain or layer-norm; residual blocks have relu"):
        configure("sac-v2", {"activation": "tanh", "layers": "residual"})
