"""NGRPO: groups that are all wrong teach, which keeps more ways open; the asymmetric clip is what holds that together."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from operant import ops
from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, language

RUNS = "text:arithmetic, 100 iterations of 16 x 8 in 4 optimiser steps each, for all alike"


@check("ngrpo", "uniform-groups", "exact", "all-wrong groups of 2, 4, 8 and 16 get -1/sqrt(K + 1) to 1e-6, all-right ones 0")
def uniform_groups(folder: Path) -> Finding:
    error = uniform_group_error()
    return Finding(error <= 1e-6, {"largest_error": error, "tolerance": 1e-6})


@check(
    "ngrpo",
    "pass@8",
    "small",
    f"{RUNS}: pass@8 on held-out problems (all of them: the tier does not set the hard half apart) is at least 0.03 above GRPO's, means over 5 seeds",
)
def broad(folder: Path) -> Finding:
    own, grpo = language("ngrpo", minibatches=4), language("grpo", minibatches=4)
    gain = float((own.pass_at[8] - grpo.pass_at[8]).mean())
    figures = {
        "pass@8": {"ngrpo": own.pass_at[8].tolist(), "grpo": grpo.pass_at[8].tolist(), "gain": gain, "threshold": 0.03},
        "pass@1": {"ngrpo": own.score.tolist(), "grpo": grpo.score.tolist()},
    }
    return Finding(gain >= 0.03, figures, SEEDS)


@check("ngrpo", "entropy", "small", f"{RUNS}: entropy is higher than GRPO's, means over 5 seeds")
def entropy(folder: Path) -> Finding:
    own, grpo = language("ngrpo", minibatches=4), language("grpo", minibatches=4)
    return Finding(bool(own.entropy.mean() > grpo.entropy.mean()), {"ngrpo": own.entropy.tolist(), "grpo": grpo.entropy.tolist()}, SEEDS)


@check("ngrpo", "symmetric-clip", "small", f"{RUNS}: with a symmetric clip of 0.2 entropy ends below GRPO's in at least 2 of 5 seeds")
def symmetric_clip(folder: Path) -> Finding:
    symmetric, grpo = language("ngrpo", minibatches=4, clip_low=0.2, clip_high=0.2), language("grpo", minibatches=4)
    below = int((symmetric.entropy < grpo.entropy).sum())
    figures = {
        "entropy": {"symmetric_clip": symmetric.entropy.tolist(), "grpo": grpo.entropy.tolist(), "seeds_below": below, "needed": 2},
        "pass@1": {"symmetric_clip": symmetric.score.tolist()},
    }
    return Finding(below >= 2, figures, SEEDS)


def uniform_group_error() -> float:
    """Largest distance of a uniform group's advantages from −1/√(K + 1) (all wrong) and 0 (all right)."""
    worst = 0.0
    for size in (2, 4, 8, 16):
        wrong = ops.virtual_max_advantage(torch.zeros(1, size, dtype=torch.float64)) + 1 / math.sqrt(size + 1)
        right = ops.virtual_max_advantage(torch.ones(1, size, dtype=torch.float64))
        worst = max(worst, float(wrong.abs().max()), float(right.abs().max()))
    return worst
