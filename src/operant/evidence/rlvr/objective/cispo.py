"""CISPO: on fresh answers its gradient is GRPO's; on old ones no token loses it, where PPO's clip takes it from many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from operant.evidence import Finding, check
from operant.evidence.rlvr.exact import loss_gradient, random_policy, relative_error, spine
from operant.loops.terms import ClippedRatio, TermBatch
from operant.worlds.sequences.problems import make_problem

DRAWN = "100,000 tokens with log-ratios of deviation 0.5 and random advantages"


@check(
    "cispo",
    "fresh",
    "exact",
    "sequences:random and sequences:length, 5 random tables: summed over every group of 2 fresh answers, the gradient is GRPO's with the mean over tokens, "
    "relative error at most 1e-9",
)
def fresh(folder: Path) -> Finding:
    errors = []
    for name in ("random", "length"):
        problem = make_problem(name)
        for seed in range(5):
            policy = random_policy(problem, seed)
            grpo = replace(spine("grpo"), reduce="token-mean")
            errors.append(relative_error(loss_gradient(spine("cispo"), policy, problem), loss_gradient(grpo, policy, problem)))
    return Finding(max(errors) <= 1e-9, {"largest": max(errors), "tolerance": 1e-9})


@check("cispo", "clip-silences", "exact", f"{DRAWN}: PPO's clip of 0.2 leaves at least a quarter of them without a gradient")
def clip_silences(folder: Path) -> Finding:
    gradient, _ = gradients(ClippedRatio(0.2, 0.2))
    without = float((gradient == 0).double().mean())
    return Finding(without >= 0.25, {"share_without_gradient": without, "threshold": 0.25})


@check("cispo", "none-silent", "exact", f"{DRAWN}: CISPO leaves none without a gradient")
def none_silent(folder: Path) -> Finding:
    gradient, _ = gradients(spine("cispo").terms[0])
    without = float((gradient == 0).double().mean())
    return Finding(without == 0, {"share_without_gradient": without})


@check("cispo", "bounded", "exact", f"{DRAWN}: no CISPO gradient exceeds 5 times its advantage")
def bounded(folder: Path) -> Finding:
    gradient, advantage = gradients(spine("cispo").terms[0])
    largest = float((gradient / advantage).abs().max())
    return Finding(largest <= 5 + 1e-9, {"largest_weight": largest, "threshold": 5.0})


def gradients(term) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient of a term by the log-probabilities of old tokens, and their advantages."""
    generator = torch.Generator().manual_seed(0)
    log_ratio, advantage = torch.randn(2, 100_000, generator=generator, dtype=torch.float64)
    log_prob = (0.5 * log_ratio).requires_grad_()
    term(TermBatch({"log_prob": log_prob, "old_log_prob": torch.zeros_like(log_ratio), "advantage": advantage})).sum().backward()
    return log_prob.grad, advantage
