"""Options that say how updates are computed: what takes them, what a run keeps of them, and what refuses them."""

import json
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from operant import BadInput, resume, train
from operant.core import graphs
from operant.core.memory import lying_on
from operant.core.registry import configure, get_method
from operant.nets import kernels
from operant.worlds import make_world

SMALL = {"environments": 2, "rollout_length": 16, "hidden": (8,), "episodes": 1, "progress": False}


def test_a_compiled_run_keeps_to_it(tmp_path, monkeypatch):
    monkeypatch.setenv("OPERANT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    made = []
    monkeypatch.setattr(graphs, "Compiled", lambda *given, before=graphs.Compiled: made.append(before(*given)) or made[-1])
    run = train("ppo", "gym:CartPole-v1", steps=64, compile=True, out=tmp_path / "run", **SMALL)
    assert json.loads((run.path / "run.json").read_text())["compile"] is True and len(made) == 2
    assert graphs.os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "cache" / "compiled")
    resume(run.path, steps=128, progress=False)
    assert len(made) == 4
    plain = train("ppo", "gym:CartPole-v1", steps=64, out=tmp_path / "plain", **SMALL)
    assert "compile" not in json.loads((plain.path / "run.json").read_text()) and len(made) == 4


@pytest.mark.parametrize(
    "method, task, options, says",
    [
        ("ppo", "gym:CartPole-v1", {"cuda_graphs": True, "device": "cpu"}, "--cuda-graphs: it is what a GPU repeats"),
        ("ppo", "gym:CartPole-v1", {"compile": "yes"}, "--compile 'yes': it is True or False"),
        ("trpo", "gym:CartPole-v1", {"compile": True}, "--compile: this method differentiates its KL twice"),
        ("grpo", "sequences:parity", {"compile": True}, "--compile: each batch of answers has a shape of its own"),
        ("grpo", "sequences:parity", {"cuda_graphs": True}, "--cuda-graphs: it is what a GPU repeats"),
        ("stream-q", "gym:CartPole-v1", {"compile": True}, "--compile: it is for the updates of policy gradients and value learning"),
        ("value-iteration", "tabular:river-swim", {"cuda_graphs": True}, "--cuda-graphs: it is for the updates of policy gradients and value learning"),
        ("sac-v2", "gym:Pendulum-v1", {"compile": True, "dtype": "bfloat16"}, "--compile: compiled networks compute in float32"),
    ],
)
def test_what_cannot_be_computed_so_is_told(method, task, options, says, tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "has_bfloat16", lambda: True)
    with pytest.raises(BadInput, match=says):
        train(method, task, steps=64, out=tmp_path / "run", progress=False, **options)
    assert not (tmp_path / "run").exists()


def test_without_a_compiler_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "no-such-compiler"))
    with pytest.raises(BadInput, match=r"--compile: for a processor PyTorch compiles by a C\+\+ compiler, and there is none: install g\+\+"):
        train("ppo", "gym:CartPole-v1", steps=64, compile=True, out=tmp_path / "run", **SMALL)


def test_replay_that_a_gpu_cannot_hold_is_refused(monkeypatch):
    """By the memory of the GPU that it would lie on, and not by the machine's."""
    world, seeds = make_world("gym:CartPole-v1"), [0]
    spine = get_method("dqn").build(configure("dqn", {"capacity": 1_000_000}))
    spine.check(world, seeds, 2_000_000, None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=2**24))
    says = "replay of 1,000,000 transitions for 1 seed takes 48 MB .* and this GPU has 16.8 MB: at most --capacity 174762"
    with lying_on("cuda"), pytest.raises(BadInput, match=says):
        spine.check(world, seeds, 2_000_000, None)
    spine.check(world, seeds, 2_000_000, None)
