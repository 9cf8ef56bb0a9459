"""ProRL: resets of the reference keep long training going where a fixed reference or none stalls."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from operant.evidence import Finding, claim, verdict
from operant.evidence.rlvr.exact import spine
from operant.evidence.rlvr.tier import language
from operant.worlds import make_world

LONG = 150


@claim(
    "prorl",
    "Right after a reset the KL to the reference is exactly 0 (1e-7). text:countdown (one task in the place of the paper's mixture), 150 iterations of 16 x"
    " 8 (the row has 2,000 and more): over the last third the training reward of all samples still rises (pooled slope over 5 seeds above 0, p < 0.05), and"
    " the entropy of answers to held-out problems at temperature 1 (in training ProRL samples at 1.2) ends above that of GRPO without KL and above that of the"
    " same recipe with a fixed reference (means over 5 seeds)",
)
def check(folder: Path) -> Finding:
    kl = kl_after_reset()
    own = language("prorl", "text:countdown", steps=LONG, group_size=8)
    fixed = language("prorl", "text:countdown", steps=LONG, group_size=8, patience=0)
    grpo = language("grpo", "text:countdown", steps=LONG, group_size=8)
    slopes = {name: slope(outcome.metrics("reward")) for name, outcome in (("prorl", own), ("fixed_reference", fixed), ("grpo", grpo))}
    rises = slopes["prorl"]["slope"] > 0 and slopes["prorl"]["p"] < 0.05
    higher = own.held_out_entropy.mean() > max(grpo.held_out_entropy.mean(), fixed.held_out_entropy.mean())
    figures = {
        "kl_after_reset": {"largest": kl, "tolerance": 1e-7},
        "last_third": slopes,
        "resets_a_seed": np.nansum(own.metrics("reference_reset"), axis=1).tolist(),
        "entropy": {name: outcome.held_out_entropy.tolist() for name, outcome in (("prorl", own), ("fixed_reference", fixed), ("grpo", grpo))},
        "pass@1": {name: outcome.score.tolist() for name, outcome in (("prorl", own), ("fixed_reference", fixed), ("grpo", grpo))},
        "pass@16": {name: outcome.pass_at[16].tolist() for name, outcome in (("prorl", own), ("fixed_reference", fixed), ("grpo", grpo))},
        "base": {"pass@1": own.base_score.tolist(), "pass@16": own.base_pass_at[16].tolist()},
    }
    return Finding(verdict([kl <= 1e-7, rises, bool(higher)]), figures, seeds=5)


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
