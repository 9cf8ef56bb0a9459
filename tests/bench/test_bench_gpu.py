"""The bench of a GPU, on machines that have none: what it begins, leaves out and prints."""

from __future__ import annotations

import json

import pytest
import torch

from operant.bench import gpu
from operant.core.errors import BadInput


def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInput, match="bench gpu measures a GPU, and PyTorch sees none here"):
        gpu.Gpu().measure("gpu", 1, print)


def test_every_run_says_a_rate(monkeypatch):
    """The one of PPO on the processor in truth."""
    monkeypatch.setattr(gpu, "SECONDS", 1)
    first = next(gpu.runs())
    assert first.way == "processor" and gpu._rate(first, "gpu") > 100


def test_what_does_not_fit_the_time_is_left_out_and_told(monkeypatch):
    clock = iter(range(0, 10_000, 50))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(gpu.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    rates = iter([100.0, 50.0, 400.0, *[8.0] * 100])
    monkeypatch.setattr(gpu, "start", lambda words, name: f"noise\n{json.dumps({'steps_per_second': next(rates)})}\n")
    said = []
    result = gpu.Gpu().measure("gpu", 2, said.append)
    assert said[2] == "PPO, CartPole-v1, seeds 1, GPU, --cuda-graphs: 400.0 steps/s (run 1 of 2)" and len(said) == 9
    assert len(result["rows"]) == 9 and all(len(row["repeated"]) == 1 for row in result["rows"])
    lines = gpu.Gpu().lines(result)
    assert lines[1] == "a GPU" and lines[4].split()[-2:] == ["4.00", "×"]
    assert "left out: TD3, Pendulum-v1, seeds 1, GPU, Stable-Baselines3: stable_baselines3 is not installed" in lines
    assert "left out: GRPO, Llama of 25M parameters in bfloat16, GPU: the time was over" in lines
