"""DPH-RL: a mass-covering divergence on the starting policy's own answers keeps pass@k where training without it, or with a reverse KL, loses it."""

from __future__ import annotations

from pathlib import Path

import torch

from operant import ops
from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, Outcome, language

RUNS = "text:countdown, 100 iterations, means over 5 seeds"


@check(
    "dph-rl",
    "divergences",
    "exact",
    "enumerated policies: the mean of f(u) under the start is KL(start || policy), and twice the Jensen-Shannon divergence, to 1e-5",
)
def divergences(folder: Path) -> Finding:
    error = identity_error()
    return Finding(error <= 1e-5, {"largest_error": error, "tolerance": 1e-5})


@check(
    "dph-rl",
    "keeps-pass@16",
    "small",
    f"{RUNS}: pass@16 after training with the forward KL or with JS is at least the base's less 0.01 (pass@16 in the place of pass@64)",
)
def keeps(folder: Path) -> Finding:
    found = runs()
    change = {name: change_at_16(found[name]) for name in ("forward-kl", "js")}
    base = float(found["grpo"].base_pass_at[16].mean())
    figures = {"change": change, "threshold": -0.01, "base": base, "pass@16": {name: found[name].pass_at[16].tolist() for name in change}}
    return Finding(max(change.values()) >= -0.01, figures, SEEDS)


@check("dph-rl", "others-lose-it", "small", f"{RUNS}: pass@16 of GRPO with a reverse KL (0.04) and without any falls by at least 0.05")
def others_lose_it(folder: Path) -> Finding:
    found = runs()
    change = {name: change_at_16(found[name]) for name in ("grpo", "grpo_reverse_kl")}
    figures = {"change": change, "threshold": -0.05, "pass@16": {name: found[name].pass_at[16].tolist() for name in change}}
    return Finding(max(change.values()) <= -0.05, figures, SEEDS)


@check("dph-rl", "pass@1", "small", f"{RUNS}: pass@1 of the better variant is within 0.02 of GRPO's or above")
def accuracy(folder: Path) -> Finding:
    score = {name: outcome.score for name, outcome in runs().items()}
    figures = {name: value.tolist() for name, value in score.items()} | {"base": float(runs()["grpo"].base_score.mean()), "threshold": -0.02}
    return Finding(bool(max(score["forward-kl"].mean(), score["js"].mean()) >= score["grpo"].mean() - 0.02), figures, SEEDS)


def runs() -> dict[str, Outcome]:
    return {
        "forward-kl": language("dph-rl", "text:countdown"),
        "js": language("dph-rl", "text:countdown", divergence="js", coefficient=0.1),
        "grpo": language("grpo", "text:countdown"),
        "grpo_reverse_kl": language("grpo", "text:countdown", beta=0.04),
    }


def change_at_16(outcome: Outcome) -> float:
    """Change of pass@16 by training."""
    return float(outcome.pass_at[16].mean() - outcome.base_pass_at[16].mean())


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
