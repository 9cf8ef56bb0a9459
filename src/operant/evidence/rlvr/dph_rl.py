"""DPH-RL: a mass-covering divergence on the starting policy's own answers keeps pass@k where training without it, or with a reverse KL, loses it."""

from __future__ import annotations

from pathlib import Path

import torch

from operant import ops
from operant.evidence import Finding, claim, verdict
from operant.evidence.rlvr.tier import language


@claim(
    "dph-rl",
    "Enumerated policies: the mean of f(u) under the start is KL(start || policy), and twice the Jensen-Shannon divergence, to 1e-5. text:countdown, 100 "
    "iterations (pass@16 in the place of pass@64): pass@16 after training with the forward KL or with JS is at least the base's less 0.01, while GRPO with a "
    "reverse KL (0.04) and without any fall by at least 0.05; pass@1 of the better variant within 0.02 of GRPO's or above; means over 5 seeds",
)
def check(folder: Path) -> Finding:
    error = identity_error()
    runs = {
        "forward-kl": language("dph-rl", "text:countdown"),
        "js": language("dph-rl", "text:countdown", divergence="js", coefficient=0.1),
        "grpo": language("grpo", "text:countdown"),
        "grpo_reverse_kl": language("grpo", "text:countdown", beta=0.04),
    }
    base = float(runs["grpo"].base_pass_at[16].mean())
    change = {name: float(outcome.pass_at[16].mean()) - base for name, outcome in runs.items()}
    score = {name: float(outcome.score.mean()) for name, outcome in runs.items()}
    passed = [
        error <= 1e-5,
        max(change["forward-kl"], change["js"]) >= -0.01,
        max(change["grpo"], change["grpo_reverse_kl"]) <= -0.05,
        max(score["forward-kl"], score["js"]) >= score["grpo"] - 0.02,
    ]
    figures = {
        "identity": {"largest_error": error, "tolerance": 1e-5},
        "pass@16_change": change,
        "base": {"pass@16": base, "pass@1": float(runs["grpo"].base_score.mean())},
        "pass@1": {name: outcome.score.tolist() for name, outcome in runs.items()},
        "pass@16": {name: outcome.pass_at[16].tolist() for name, outcome in runs.items()},
    }
    return Finding(verdict(passed), figures, seeds=5)


def identity_error() -> float:
    """Largest distance of the summed generators from the divergences that they stand for."""
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for _ in range(100):
        start, policy = torch.randn(2, 9, generator=generator, dtype=torch.float64).softmax(-1)
        middle = (start + policy) / 2
        kl = (start * (start / policy).log()).sum()
        js = ((start * (start / middle).log()).sum() + (policy * (policy / middle).log()).sum()) / 2
        for kind, truth in (("forward-kl", kl), ("js", 2 * js)):
            worst = max(worst, float(((start * ops.f_generator((policy / start).log(), kind=kind)).sum() - truth).abs()))
    return worst
