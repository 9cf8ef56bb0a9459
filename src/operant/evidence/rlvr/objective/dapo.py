"""DAPO: every group that it learns from teaches, and its entropy falls more slowly than GRPO's."""

from __future__ import annotations

from pathlib import Path

import torch

from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, language
from operant.loops.fill import mixed_groups
from operant.worlds import make_world

TABLE = "sequences:parity, 5 seeds, 100 iterations of 8 prompts x 8"
RUNS = "text:arithmetic, 100 iterations of 16 x 8 in 4 optimiser steps each (in one there is nothing to clip), DAPO's filling draws more"


@check("dapo", "mixed-groups", "small", f"{TABLE}: all rows that DAPO learns from over the last third are of groups with both outcomes")
def mixed(folder: Path) -> Finding:
    share = mixed_share("dapo")
    return Finding(min(share) == 1, {"share_of_mixed_groups": share}, SEEDS)


@check("dapo", "grpo-wastes", "small", f"{TABLE}: of the rows that GRPO learns from over the last third, less than half are of groups with both outcomes")
def grpo_wastes(folder: Path) -> Finding:
    share = mixed_share("grpo")
    return Finding(max(share) < 0.5, {"share_of_mixed_groups": share, "below": 0.5}, SEEDS)


@check("dapo", "entropy", "small", f"{RUNS}: entropy ends above GRPO's, means over 5 seeds")
def entropy(folder: Path) -> Finding:
    own, grpo = language("dapo", minibatches=4), language("grpo", minibatches=4)
    figures = {"dapo": own.entropy.tolist(), "grpo": grpo.entropy.tolist(), "base": own.base_entropy.tolist()}
    return Finding(bool(own.entropy.mean() > grpo.entropy.mean()), figures, SEEDS)


@check("dapo", "pass@1", "small", f"{RUNS}: pass@1 is at least GRPO's less 0.01, means over 5 seeds; rounds of filling are reported")
def accuracy(folder: Path) -> Finding:
    own, grpo = language("dapo", minibatches=4), language("grpo", minibatches=4)
    figures = {
        "dapo": own.score.tolist(),
        "grpo": grpo.score.tolist(),
        "base": own.base_score.tolist(),
        "rounds": own.metrics("fill/rounds").mean(1).tolist(),
    }
    return Finding(bool(own.score.mean() >= grpo.score.mean() - 0.01), figures, SEEDS)


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
