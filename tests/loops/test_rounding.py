"""`--dtype bfloat16` of value learning: wide products of updates are rounded, what is trained and what acts is not, and a run goes on to the same bits."""

from __future__ import annotations

import pytest
import torch

import operant
from operant.core.checkpoint import first_difference
from operant.core.errors import BadInput
from operant.core.registry import configure, get_method
from operant.loops.value_learning import Update, ValueLearner
from operant.nets import kernels
from operant.worlds import make_world

WIDE = {"hidden": (128, 128), "batch_size": 256, "learning_starts": 300}  # 256 × 128 × 128 multiplications are rounded
here = pytest.mark.skipif(not kernels.has_bfloat16(), reason="this processor has no products in bfloat16")


def learner(method: str, dtype: str, **changed) -> ValueLearner:
    world = make_world("gym:Pendulum-v1", dtype=dtype)
    return get_method(method).build(configure(method, WIDE | changed)).learner(world, [0, 1], 1_000, torch.device("cpu"))


def gradient_of(of: ValueLearner, rounds: bool) -> dict[str, torch.Tensor]:
    """The gradients of all losses on one batch, from the same draws."""
    before = of.streams.state_dict()
    of.nets.zero_grad(set_to_none=False)
    with kernels.in_bfloat16(rounds):
        update = Update(of, of.drawer.draw(), of.drawer)
        sum(loss.mean() for phase in of.method.phases for loss in phase.losses(update).values()).backward()
    of.streams.load_state_dict(before)
    return {name: p.grad.clone() for name, p in of.nets.named_parameters()}


@here
@pytest.mark.parametrize("method", ["sac-v2", "td3"])
def test_gradients_are_those_of_float32_up_to_the_rounding(method: str):
    of = learner(method, "bfloat16")
    while of.updates < 20:
        of.iterate()
    rounded, exact = gradient_of(of, True), gradient_of(of, False)
    for name, gradient in exact.items():
        assert rounded[name].dtype == torch.float32
        assert (rounded[name] - gradient).norm() <= 0.1 * gradient.norm(), name  # 0.06 on some processors
    assert any(not torch.equal(rounded[name], gradient) for name, gradient in exact.items())


@here
def test_a_run_goes_on_to_the_same_bits_and_keeps_to_it(tmp_path):
    given = {"dtype": "bfloat16", "every": 340, "threads": 1, "episodes": 1, "progress": False} | WIDE
    whole = operant.train("sac-v2", "gym:Pendulum-v1", steps=360, out=tmp_path / "whole", **given)
    operant.train("sac-v2", "gym:Pendulum-v1", steps=340, out=tmp_path / "part", **given)
    part = operant.resume(tmp_path / "part", steps=360, progress=False)
    states = [run.directory.checkpoints.load()[0]["learner"] for run in (whole, part)]
    assert first_difference(*states) is None
    plain = operant.train("sac-v2", "gym:Pendulum-v1", steps=360, out=tmp_path / "plain", **given | {"dtype": "float32"})
    assert first_difference(states[0], plain.directory.checkpoints.load()[0]["learner"]) is not None


@here
def test_narrow_networks_are_not_rounded():
    of = learner("sac-v2", "bfloat16", hidden=(32, 32))
    while of.updates < 5:
        of.iterate()
    rounded, exact = gradient_of(of, True), gradient_of(of, False)
    assert first_difference(rounded, exact) is None


def test_it_is_refused_where_it_pays_nothing(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="dtype bfloat16: on gym:CartPole-v1 it is for value learning.*ppo takes float32"):
        operant.train("ppo", "gym:CartPole-v1", dtype="bfloat16", out=tmp_path / "run")
    monkeypatch.setattr(kernels, "has_bfloat16", lambda: False)
    with pytest.raises(BadInput, match="no products in bfloat16.*take float32"):
        operant.train("sac-v2", "gym:Pendulum-v1", dtype="bfloat16", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
