"""Lite PPO: the batch's standard deviation is a steadier divisor than the group's on easy prompts, and the two tricks are enough."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from operant import ops
from operant.evidence import Finding, check
from operant.evidence.rlvr.exact import spine
from operant.evidence.rlvr.tier import language
from operant.worlds import make_world

SEEDS, UPDATES = 10, 200


@check("lite-ppo", "one-group", "exact", "with one group the normaliser is GRPO's to 1e-6")
def one_group(folder: Path) -> Finding:
    error = one_group_difference()
    return Finding(error <= 1e-6, {"largest": error, "tolerance": 1e-6})


@check(
    "lite-ppo",
    "steadier",
    "small",
    "sequences:sum-mod at a pass rate of 0.9 (the catalogue's easy split, on an enumerable problem), groups of 8: the variance over 200 updates of the "
    "gradient's norm is at least twice as large with the group's deviation as with the batch's, mean over 10 seeds",
)
def steadier(folder: Path) -> Finding:
    easy = easy_policy()
    ratio = float((norm_variance("grpo", easy) / norm_variance("lite-ppo", easy)).mean())
    return Finding(ratio >= 2, {"variance_ratio": ratio, "threshold": 2.0}, SEEDS)


@check(
    "lite-ppo",
    "pass@1",
    "small",
    "text:arithmetic: pass@1 after 100 iterations of 16 x 8 is at least that of GRPO and of DAPO (whose filling draws more answers) less 0.01, means over 5 "
    "seeds",
)
def accuracy(folder: Path) -> Finding:
    scores = {key: language(key).score for key in ("lite-ppo", "grpo", "dapo")}
    best = max(scores["grpo"].mean(), scores["dapo"].mean())
    return Finding(bool(scores["lite-ppo"].mean() >= best - 0.01), {key: value.tolist() for key, value in scores.items()} | {"threshold": -0.01}, seeds=5)


def one_group_difference() -> float:
    """Largest difference between the two normalisers on random groups of one batch each."""
    score = torch.rand(1_000, 1, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return float((ops.batch_scaled_advantage(score) - ops.group_normalized_advantage(score)).abs().max())


def easy_policy() -> torch.Tensor:
    """Logits `[SEEDS, …]` of policies trained until every seed passes nine times in ten."""
    learner = spine("dr-grpo", learning_rate=0.05, prompts=20, group_size=16).learner(
        make_world("sequences:sum-mod"), list(range(SEEDS)), 10_000, torch.device("cpu")
    )
    passed = torch.zeros(SEEDS, dtype=torch.bool)
    kept = learner.policy.logits.detach().clone()
    while not passed.all():
        learner.iterate()
        score = torch.as_tensor(learner.world.evaluate(learner.policy, SEEDS).values).mean(1)
        kept = torch.where(passed.view(-1, 1, 1, 1), kept, learner.policy.logits.detach())
        passed |= score >= 0.9
    return kept


def norm_variance(key: str, logits: torch.Tensor) -> torch.Tensor:
    """Variance of the gradient's norm over updates that leave the policy where it is, `[SEEDS]`."""
    method = replace(spine(key, prompts=16, group_size=8, micro_batch=0, learning_rate=1e-12), max_grad_norm=float("inf"))
    learner = method.learner(make_world("sequences:sum-mod"), list(range(SEEDS)), UPDATES, torch.device("cpu"))
    with torch.no_grad():
        learner.policy.logits.copy_(logits)
    return torch.stack([learner.iterate()["gradient_norm"] for _ in range(UPDATES)]).var(0)
