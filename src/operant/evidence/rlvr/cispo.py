"""CISPO: on fresh answers its gradient is GRPO's; on old ones no token loses it, where PPO's clip takes it from many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from operant.evidence import Finding, claim, verdict
from operant.evidence.rlvr.exact import loss_gradient, random_policy, relative_error, spine
from operant.loops.terms import ClippedRatio, TermBatch
from operant.worlds.sequences.problems import make_problem


@claim(
    "cispo",
    "sequences:random and sequences:length, 5 random tables: summed over every group of 2 fresh answers, the gradient is GRPO's with the mean over tokens, "
    "relative error at most 1e-9. 100,000 tokens with log-ratios of deviation 0.5 and random advantages: PPO's clip of 0.2 leaves at least a quarter of them "
    "without a gradient, CISPO none, and no CISPO gradient exceeds 5 times its advantage",
)
def check(folder: Path) -> Finding:
    fresh = []
    for name in ("random", "length"):
        problem = make_problem(name)
        for seed in range(5):
            policy = random_policy(problem, seed)
            grpo = replace(spine("grpo"), reduce="token-mean")
            fresh.append(relative_error(loss_gradient(spine("cispo"), policy, problem), loss_gradient(grpo, policy, problem)))
    generator = torch.Generator().manual_seed(0)
    log_ratio, advantage = torch.randn(2, 100_000, generator=generator, dtype=torch.float64)

    def gradients(term) -> torch.Tensor:
        log_prob = (0.5 * log_ratio).requires_grad_()
        term(TermBatch({"log_prob": log_prob, "old_log_prob": torch.zeros_like(log_ratio), "advantage": advantage})).sum().backward()
        return log_prob.grad

    own, ppo = gradients(spine("cispo").terms[0]), gradients(ClippedRatio(0.2, 0.2))
    without = {"cispo": float((own == 0).double().mean()), "ppo": float((ppo == 0).double().mean())}
    largest = float((own / advantage).abs().max())
    figures = {
        "fresh": {"largest": max(fresh), "tolerance": 1e-9},
        "share_without_gradient": without | {"threshold": 0.25},
        "largest_weight": {"value": largest, "threshold": 5.0},
    }
    return Finding(verdict([max(fresh) <= 1e-9, without["ppo"] >= 0.25, without["cispo"] == 0, largest <= 5 + 1e-9]), figures, seeds=5)
