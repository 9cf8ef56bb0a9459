"""CANON: comparing the halves of a group amplifies the better trend of a metric without its sign being given."""

from __future__ import annotations

from pathlib import Path

import torch

from operant import ops
from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, language


@check(
    "canon",
    "identities",
    "exact",
    "with equal halves a weight of 1/2 gives the centred reward, a weight of 1 halves' mean advantages of +d and -d (d the difference of their mean rewards), "
    "a weight of 0 means of 0, all to 1e-6",
)
def identities(folder: Path) -> Finding:
    error = identity_error()
    return Finding(error <= 1e-6, {"largest_error": error, "tolerance": 1e-6})


@check(
    "canon",
    "better-or-shorter",
    "small",
    "text:arithmetic (the tier's task: its lengths vary only where the policy errs), 100 iterations of 16 x 8, split by entropy: pass@1 at least 0.01 above "
    "Dr. GRPO's at most 1.02 times its length, or at most 0.85 times its length at no lower pass@1; means over 5 seeds",
)
def better_or_shorter(folder: Path) -> Finding:
    own, baseline = language("canon"), language("dr-grpo")
    gain = float((own.score - baseline.score).mean())
    late = {name: outcome.metrics("length")[:, -12:].mean(1) for name, outcome in (("canon", own), ("dr-grpo", baseline))}
    ratio = float((late["canon"] / late["dr-grpo"]).mean())
    figures = {
        "pass@1": {"canon": own.score.tolist(), "dr-grpo": baseline.score.tolist(), "gain": gain, "threshold": 0.01},
        "length": {key: value.tolist() for key, value in late.items()} | {"ratio": ratio, "threshold": 0.85},
    }
    return Finding((gain >= 0.01 and ratio <= 1.02) or (ratio <= 0.85 and gain >= 0), figures, SEEDS)


def identity_error() -> float:
    """Largest error of the three identities over random groups of 8 and 16."""
    worst, generator = 0.0, torch.Generator().manual_seed(0)
    for size in (8, 16):
        score, metric = (torch.rand(500, size, generator=generator, dtype=torch.float64) for _ in range(2))
        low = metric.argsort(-1).argsort(-1) < size // 2
        high_mean, low_mean = ((score * half).sum(-1) / (size // 2) for half in (~low, low))
        difference = high_mean - low_mean
        centred = ops.median_split_advantage(score, None, metric, 0.5) - (score - score.mean(-1, keepdim=True))
        errors = [centred]
        for weight, expected in ((1.0, difference), (0.0, torch.zeros_like(difference))):
            advantage = ops.median_split_advantage(score, None, metric, weight)
            errors += [(advantage * ~low).sum(-1) / (size // 2) - expected, (advantage * low).sum(-1) / (size // 2) + expected]
        worst = max(worst, *(float(error.abs().max()) for error in errors))
    return worst
