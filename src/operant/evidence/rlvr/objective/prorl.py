"""ProRL: resets of the reference keep long training going where a fixed reference or none stalls."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from operant.evidence import Finding, check
from operant.evidence.rlvr.exact import spine
from operant.evidence.rlvr.tier import SEEDS, Outcome, language
from operant.worlds import make_world

LONG = 150
RUNS = "text:countdown (one task in the place of the paper's mixture), 150 iterations of 16 x 8 (the row has 2,000 and more)"


@check("prorl", "reset", "exact", "right after a reset the KL to the reference is exactly 0 (1e-7)")
def reset(folder: Path) -> Finding:
    kl = kl_after_reset()
    return Finding(kl <= 1e-7, {"largest": kl, "tolerance": 1e-7})


@check(
    "prorl",
    "still-rises",
    "small",
    f"{RUNS}: over the last third the training reward of all samples still rises (pooled slope over 5 seeds above 0, p < 0.05)",
)
def still_rises(folder: Path) -> Finding:
    slopes = {name: slope(outcome.metrics("reward")) for name, outcome in runs().items()}
    resets = np.nansum(runs()["prorl"].metrics("reference_reset"), axis=1).tolist()
    return Finding(slopes["prorl"]["slope"] > 0 and slopes["prorl"]["p"] < 0.05, {"last_third": slopes, "resets_a_seed": resets}, SEEDS)


@check(
    "prorl",
    "entropy",
    "small",
    f"{RUNS}: the entropy of answers to held-out problems at temperature 1 (in training ProRL samples at 1.2) ends above that of GRPO without KL and above "
    "that of the same recipe with a fixed reference (means over 5 seeds); pass@1 and pass@16 are reported",
)
def entropy(folder: Path) -> Finding:
    found = runs()
    own = found["prorl"]
    figures = {
        "entropy": {name: outcome.held_out_entropy.tolist() for name, outcome in found.items()},
        "pass@1": {name: outcome.score.tolist() for name, outcome in found.items()},
        "pass@16": {name: outcome.pass_at[16].tolist() for name, outcome in found.items()},
        "base": {"pass@1": own.base_score.tolist(), "pass@16": own.base_pass_at[16].tolist()},
    }
    others = max(found[name].held_out_entropy.mean() for name in ("grpo", "fixed_reference"))
    return Finding(bool(own.held_out_entropy.mean() > others), figures, SEEDS)


def runs() -> dict[str, Outcome]:
    shared = {"task": "text:countdown", "steps": LONG, "group_size": 8}
    return {"prorl": language("prorl", **shared), "fixed_reference": language("prorl", **shared, patience=0), "grpo": language("grpo", **shared)}


def slope(rewards: np.ndarray) -> dict[str, float]:
    """Least-squares slope of the last third, an intercept a seed, and the p-value of its sign (one-sided, normal)."""
    third = rewards[:, -rewards.shape[1] // 3 :]
    x = np.tile(np.arange(third.shape[1]) - (third.shape[1] - 1) / 2, len(third))
    y = (third - third.mean(1, keepdims=True)).ravel()
    value = float(x @ y / (x @ x))
    error = math.sqrt(float(((y - value * x) ** 2).sum()) / (len(y) - len(third) - 1) / float(x @ x))
    return {"slope": value, "p": 0.5 * math.erfc(value / error / math.sqrt(2))}


def kl_after_reset() -> float:
    """Largest |log ratio| to the reference over all sequences after the iteration of a reset, on an enumerable problem."""
    world = make_world("sequences:graded")
    learner = spine("prorl", prompts=4, group_size=8, patience=0, reset_every=3, learning_rate=0.1).learner(world, [0], 100, torch.device("cpu"))
    for _ in range(3):
        learner.iterate()
    with torch.no_grad():
        return float((learner.policy.logits.log_softmax(-1) - learner.reference.policy.logits.log_softmax(-1)).abs().max())
