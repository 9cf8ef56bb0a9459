"""DAPO: every group that it learns from teaches, and its entropy falls more slowly than GRPO's."""

from __future__ import annotations

from pathlib import Path

import torch

from operant.core.registry import configure, get_method
from operant.evidence import Finding, claim, verdict
from operant.evidence.rlvr.tier import language
from operant.loops.fill import mixed_groups
from operant.worlds import make_world


@claim(
    "dapo",
    "sequences:parity, 5 seeds, 100 iterations of 8 prompts x 8: all rows that DAPO learns from are of groups with both outcomes, of GRPO's less than "
    "half over the last third. text:arithmetic, 100 iterations of 16 x 8 in 4 optimiser steps each (in one there is nothing to clip), DAPO's filling "
    "draws more: entropy ends above GRPO's and pass@1 is at least GRPO's less 0.01, means over 5 seeds",
)
def check(folder: Path) -> Finding:
    mixed = {key: mixed_share(key) for key in ("dapo", "grpo")}
    own, grpo = language("dapo", minibatches=4), language("grpo", minibatches=4)
    passed = [
        min(mixed["dapo"]) == 1,
        max(mixed["grpo"]) < 0.5,
        bool(own.entropy.mean() > grpo.entropy.mean()),
        bool(own.score.mean() >= grpo.score.mean() - 0.01),
    ]
    figures = {
        "share_of_mixed_groups": mixed,
        "entropy": {"dapo": own.entropy.tolist(), "grpo": grpo.entropy.tolist(), "base": own.base_entropy.tolist()},
        "pass@1": {"dapo": own.score.tolist(), "grpo": grpo.score.tolist(), "base": own.base_score.tolist()},
        "rounds": own.metrics("fill/rounds").mean(1).tolist(),
    }
    return Finding(verdict(passed), figures, seeds=5)


def mixed_share(key: str) -> list[float]:
    """Share of the rows learned from that are of groups with both outcomes, over the last third, a seed."""
    iterations = 100
    hyper = {"prompts": 8, "group_size": 8, "learning_rate": 0.05}
    learner = get_method(key).build(configure(key, hyper)).learner(make_world("sequences:parity"), list(range(5)), iterations, torch.device("cpu"))
    mixed, all_rows = torch.zeros(5), torch.zeros(5)
    for iteration in range(iterations):
        learner.iterate()
        if iteration >= 2 * iterations // 3:
            rows = learner.rollout.mask.any(-1)
            mixed += (rows & mixed_groups(learner.rollout)).sum(-1)
            all_rows += rows.sum(-1)
    return [1.0 if rows == 0 else found / rows for found, rows in zip(mixed.tolist(), all_rows.tolist(), strict=True)]
