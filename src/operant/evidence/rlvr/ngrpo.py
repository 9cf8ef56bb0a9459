"""NGRPO: groups that are all wrong teach, which keeps more ways open; the asymmetric clip is what holds that together."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from operant import ops
from operant.evidence import Finding, claim, verdict
from operant.evidence.rlvr.tier import language


@claim(
    "ngrpo",
    "All-wrong groups of 2, 4, 8 and 16 get -1/sqrt(K + 1) to 1e-6, all-right ones 0. text:arithmetic, 100 iterations of 16 x 8 in 4 optimiser steps each, "
    "for all alike: pass@8 on held-out problems (all of them: the tier does not set the hard half apart) is at least 0.03 above GRPO's and entropy is "
    "higher, means over 5 seeds; with a symmetric clip of 0.2 entropy ends below GRPO's in at least 2 of 5 seeds",
)
def check(folder: Path) -> Finding:
    error = uniform_group_error()
    own, grpo = language("ngrpo", minibatches=4), language("grpo", minibatches=4)
    symmetric = language("ngrpo", minibatches=4, clip_low=0.2, clip_high=0.2)
    gain = float((own.pass_at[8] - grpo.pass_at[8]).mean())
    below = int((symmetric.entropy < grpo.entropy).sum())
    passed = [error <= 1e-6, gain >= 0.03, bool(own.entropy.mean() > grpo.entropy.mean()), below >= 2]
    figures = {
        "uniform_groups": {"largest_error": error, "tolerance": 1e-6},
        "pass@8": {"ngrpo": own.pass_at[8].tolist(), "grpo": grpo.pass_at[8].tolist(), "gain": gain, "threshold": 0.03},
        "entropy": {
            "ngrpo": own.entropy.tolist(),
            "grpo": grpo.entropy.tolist(),
            "symmetric_clip": symmetric.entropy.tolist(),
            "seeds_below": below,
            "needed": 2,
        },
        "pass@1": {"ngrpo": own.score.tolist(), "grpo": grpo.score.tolist(), "symmetric_clip": symmetric.score.tolist()},
    }
    return Finding(verdict(passed), figures, seeds=5)


def uniform_group_error() -> float:
    """Largest distance of a uniform group's advantages from −1/√(K + 1) (all wrong) and 0 (all right)."""
    worst = 0.0
    for size in (2, 4, 8, 16):
        wrong = ops.virtual_max_advantage(torch.zeros(1, size, dtype=torch.float64)) + 1 / math.sqrt(size + 1)
        right = ops.virtual_max_advantage(torch.ones(1, size, dtype=torch.float64))
        worst = max(worst, float(wrong.abs().max()), float(right.abs().max()))
    return worst
