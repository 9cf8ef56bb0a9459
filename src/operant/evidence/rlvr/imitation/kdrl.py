"""KDRL: reward and teacher together do better than either, with the KL estimated by k2."""

from __future__ import annotations

from pathlib import Path

from operant import ops
from operant.evidence import Finding, check
from operant.evidence.rlvr.exact import random_policy, relative_error
from operant.evidence.rlvr.tier import SEEDS, language
from operant.worlds.sequences import exact
from operant.worlds.sequences.problems import make_problem


@check(
    "kdrl",
    "k2",
    "exact",
    "on an enumerable problem the expected gradient of k2 as a loss on own samples is that of the KL to the teacher token by token (prefixes held fixed) to "
    "1e-6",
)
def k2(folder: Path) -> Finding:
    error = gradient_error(ops.kl_k2)
    return Finding(error <= 1e-6, {"relative_error": error, "tolerance": 1e-6})


@check("kdrl", "k3", "exact", "there the expected gradient of k3 as a loss is off by more than 1e-2 (relative)")
def k3(folder: Path) -> Finding:
    error = gradient_error(ops.kl_k3)
    return Finding(error > 1e-2, {"relative_error": error, "above": 1e-2})


@check(
    "kdrl",
    "pass@1",
    "small",
    "text:arithmetic, 100 iterations: pass@1 of KDRL with the annealed coefficient is at least 0.01 above the better of GRPO and of distillation alone, means "
    "over 5 seeds",
)
def accuracy(folder: Path) -> Finding:
    own, grpo, alone = language("kdrl"), language("grpo"), language("kdrl", reward_weight=0.0)
    gain = float(own.score.mean() - max(grpo.score.mean(), alone.score.mean()))
    figures = {"kdrl": own.score.tolist(), "grpo": grpo.score.tolist(), "distillation": alone.score.tolist(), "base": own.base_score.tolist()}
    return Finding(gain >= 0.01, figures | {"gain": gain, "threshold": 0.01}, SEEDS)


def gradient_error(estimator) -> float:
    """Relative error of an estimator's expected gradient against that of the per-token KL."""
    problem = make_problem("graded")
    policy, teacher = random_policy(problem, 1), random_policy(problem, 2)
    found = exact.expected_estimator_gradient(
        policy, problem, lambda rollout, outputs: estimator(outputs["log_prob"], rollout.extras["reference_log_prob"]), reference=teacher
    ).mean["logits"]
    truth = exact.gradient(exact.kl_per_token(policy, teacher, problem, through_prefixes=False).sum(-1), policy)["logits"]
    return relative_error(found, truth)
