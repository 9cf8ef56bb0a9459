"""HAPO: its parts reduce to known ones, and it keeps more entropy than DAPO at the same accuracy."""

from __future__ import annotations

from pathlib import Path

import torch

from operant import ops
from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, language
from operant.loops.terms import ClippedRatio, TermBatch
from operant.methods.rlvr.objective.hapo import HeterogeneousRatio

RUNS = "text:arithmetic, 100 iterations (the row has 300) of 16 x 8 in 4 optimiser steps each, for all alike, means over 5 seeds"


@check(
    "hapo",
    "identities",
    "exact",
    "with answers of one length the advantage is GRPO's with the population's deviation; with a signal of 0 temperature, clip and advantage are DAPO's (1e-6)",
)
def identities(folder: Path) -> Finding:
    error = identity_error()
    return Finding(error <= 1e-6, {"largest_error": error, "tolerance": 1e-6})


@check("hapo", "pass@1", "small", f"{RUNS}: pass@1 is at most 0.01 below DAPO's; the variant whose signal has no negative side is reported beside it")
def accuracy(folder: Path) -> Finding:
    own, dapo, unsigned = language("hapo", minibatches=4), language("dapo", minibatches=4), language("hapo", minibatches=4, signed_signal=False)
    figures = {"hapo": own.score.tolist(), "dapo": dapo.score.tolist(), "unsigned": unsigned.score.tolist(), "base": own.base_score.tolist()}
    return Finding(bool(own.score.mean() >= dapo.score.mean() - 0.01), figures, SEEDS)


@check("hapo", "entropy", "small", f"{RUNS}: entropy is at least 1.2 times DAPO's; the variant whose signal has no negative side is reported beside it")
def entropy(folder: Path) -> Finding:
    own, dapo, unsigned = language("hapo", minibatches=4), language("dapo", minibatches=4), language("hapo", minibatches=4, signed_signal=False)
    ratio = float(own.entropy.mean() / dapo.entropy.mean())
    figures = {name: outcome.entropy.tolist() for name, outcome in (("hapo", own), ("dapo", dapo), ("unsigned", unsigned))}
    return Finding(ratio >= 1.2, figures | {"ratio": ratio, "threshold": 1.2}, SEEDS)


def identity_error() -> float:
    """Largest distance of HAPO's parts from what they reduce to."""
    generator = torch.Generator().manual_seed(0)
    score = torch.rand(1_000, 16, generator=generator, dtype=torch.float64)
    plain = (score - score.mean(-1, keepdim=True)) / (score.std(-1, correction=0, keepdim=True) + 1e-6)
    errors = [ops.token_weighted_advantage(score, None, torch.full(score.shape, 9)) - plain]
    log_prob, old, advantage = torch.randn(3, 1, 100, 30, generator=generator, dtype=torch.float64)
    batch = TermBatch({"log_prob": log_prob, "old_log_prob": old, "advantage": advantage, "entropy_signal": torch.zeros_like(old)})
    loss = HeterogeneousRatio(0.2, 0.28, 10.0)(batch)
    dual = ops.dual_clipped_ratio_loss(log_prob, old, advantage, clip_low=0.2, clip_high=0.28, max_ratio=10.0)
    below = (advantage > 0) | (ops.policy_ratio(log_prob, old) < 10)
    errors += [loss - dual, (loss - ClippedRatio(0.2, 0.28)(batch))[below]]
    return max(float(error.abs().max()) for error in errors)
