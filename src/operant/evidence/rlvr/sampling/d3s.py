"""D3S: a few answers and tokens carry most of the update."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch

from operant import ops
from operant.core.registry import get_method
from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, STEPS, language


@check(
    "d3s", "subset", "exact", "1,000 draws of up to 14 numbers: the subset chosen is a maximiser of the variance, as brute force finds it (1e-9), 0 mismatches"
)
def subset(folder: Path) -> Finding:
    mismatches = subset_mismatches()
    return Finding(mismatches == 0, {"mismatches": mismatches, "draws": 1_000})


@check(
    "d3s",
    "fewer-tokens",
    "small",
    "text:arithmetic, 100 iterations of 16 x 8: D3S learns from at most 60 % of GRPO's tokens (the mean of its schedule; what the row asks at GRPO's final "
    "accuracy) and ends with pass@1 at most 0.01 lower; means over 5 seeds",
)
def fewer_tokens(folder: Path) -> Finding:
    own, grpo, share = language("d3s"), language("grpo"), trained_share()
    figures = {
        "share_of_tokens": {"value": share, "threshold": 0.6},
        "pass@1": {"d3s": own.score.tolist(), "grpo": grpo.score.tolist(), "base": own.base_score.tolist()},
        "entropy": {"d3s": own.entropy.tolist(), "grpo": grpo.entropy.tolist()},
    }
    return Finding(share <= 0.6 and bool(own.score.mean() >= grpo.score.mean() - 0.01), figures, SEEDS)


@check(
    "d3s",
    "schedule",
    "small",
    "text:arithmetic, 100 iterations of 16 x 8: its first shares kept for all of training end with a lower pass@1 than the schedule; means over 5 seeds",
)
def schedule(folder: Path) -> Finding:
    own, static = language("d3s"), language("d3s", answers_end=0.4, tokens_end=0.4)
    figures = {
        "pass@1": {"d3s": own.score.tolist(), "static": static.score.tolist()},
        "entropy": {"d3s": own.entropy.tolist(), "static": static.entropy.tolist()},
    }
    return Finding(bool(static.score.mean() < own.score.mean()), figures, SEEDS)


def trained_share() -> float:
    """Share of the answers times share of their tokens, mean over training."""
    h = get_method("d3s").hyperparameters()
    progress = np.arange(STEPS) / STEPS
    answers = h.answers_start + (h.answers_end - h.answers_start) * progress
    tokens = h.tokens_start + (h.tokens_end - h.tokens_start) * progress
    return float((answers * tokens).mean())


def subset_mismatches() -> int:
    """Draws in which another subset of the same size varies more than the one chosen."""
    generator = torch.Generator().manual_seed(0)
    wrong = 0
    for _ in range(1_000):
        size = int(torch.randint(2, 15, (), generator=generator))
        count = int(torch.randint(1, size + 1, (), generator=generator))
        x = torch.randn(size, generator=generator, dtype=torch.float64)
        kept = ops.max_variance_subset(x, torch.ones(size, dtype=torch.bool), torch.tensor(count))
        subsets = x[torch.tensor(list(itertools.combinations(range(size), count)))]
        wrong += bool(subsets.var(-1, correction=0).max() > x[kept].var(correction=0) + 1e-9) or int(kept.sum()) != count
    return wrong
