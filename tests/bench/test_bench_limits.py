"""The bench of arithmetic limits: products are counted as by hand, and every contestant of a bench becomes the learner that it trains."""

from __future__ import annotations

import torch
from torch import nn

from operant.bench import limits
from operant.bench.harness import find


def test_products_are_counted_by_hand():
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    with limits._Counted() as forward:
        out = net(torch.zeros(5, 4))
    assert forward.operations == 2 * 5 * (4 * 8 + 8 * 2)
    with limits._Counted() as back:
        out.sum().backward()
    assert back.operations == 2 * 5 * (4 * 8 + 2 * 8 * 2)  # the first layer's input has no gradient
    with torch.inference_mode(), limits._Counted() as told:
        torch.matmul(torch.zeros(3, 5, 4), torch.zeros(4, 2))
    assert told.operations == 2 * 3 * 5 * 4 * 2


def test_a_row_says_how_far_a_bench_is_from_its_products(monkeypatch):
    monkeypatch.setattr(limits, "WORK", ("ppo-cartpole", "sac-halfcheetah"))
    monkeypatch.setattr(limits, "LARGE", ((1, 8, 8, 8),))
    monkeypatch.setattr(limits, "SECONDS", 0.0)
    monkeypatch.setattr(limits, "find_spec", lambda name: None)
    said = []
    result = limits.Limits().measure("limits", 1, said.append)
    assert [row["work"] for row in result["rows"]] == ["PPO, CartPole-v1: 1 seed", "PPO, CartPole-v1: 8 seeds"]
    for row in result["rows"]:
        assert row["per_second"] > 100 and 0 < row["share"] and row["rate"] > 0
        assert abs(row["share"] - row["operations"] * row["per_second"] / (row["rate"] * 1e9)) < 1e-9
    # Of a step: two towers of 4 × 64 × 64 numbers, with heads for 2 actions and a value, forward to act, and forward and back four times to learn. Values of
    # what follows, and of episodes' ends, come on top.
    pass_forward = 2 * (2 * (4 * 64 + 64 * 64) + 64 * 2 + 64)
    updates = 4 * (3 * pass_forward - 2 * 2 * 4 * 64)  # the observation has no gradient
    assert pass_forward + updates <= result["rows"][0]["operations"] <= 1.2 * (3 * pass_forward + updates)
    assert said[-1].startswith("GRPO is left out") and "SAC, HalfCheetah-v5, operant, 1 seed is left out, for mujoco is not installed" in said
    assert limits.Limits().lines(result)[2].startswith("PPO, CartPole-v1: 1 seed") and find("limits").unit
