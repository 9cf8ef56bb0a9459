"""RLPR: the probability of the reference answer is a better judge than its likelihood, and nearly as good a teacher as a verifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, language
from operant.loops.base_policy import ensure_base_policy
from operant.worlds import make_world
from operant.worlds.plans import Groups

TASK = "text:sort"  # answers of several tokens


@check(
    "rlpr",
    "judge",
    "small",
    "text:sort, base policy, 2,048 answers: as a judge of right against wrong, the mean probability of the reference answer's tokens behind an answer's own"
    " reasoning has an AUC at least 0.03 above that of their likelihood",
)
def judge(folder: Path) -> Finding:
    mean, product = judges()
    return Finding(mean >= product + 0.03, {"mean_probability": mean, "likelihood": product, "least_difference": 0.03}, seeds=1)


@check(
    "rlpr",
    "teacher",
    "small",
    "text:sort, 100 iterations: pass@1 rises by at least 0.9 of what GRPO with the exact verifier gains, means over 5 seeds",
)
def teacher(folder: Path) -> Finding:
    own, grpo = language("rlpr", TASK), language("grpo", TASK)
    share = float((own.score - own.base_score).mean() / (grpo.score - grpo.base_score).mean())
    scores = {"rlpr": own.score.tolist(), "grpo": grpo.score.tolist(), "base": own.base_score.tolist()}
    return Finding(share >= 0.9, {"share_of_verifier_gain": share, "threshold": 0.9, "pass@1": scores}, SEEDS)


@check(
    "rlpr",
    "spread-filter",
    "small",
    "text:sort, 100 iterations: without the spread filter it ends lower or varies at least 1.3 times as much between seeds; means over 5 seeds",
)
def spread_filter(folder: Path) -> Finding:
    own, unfiltered = language("rlpr", TASK), language("rlpr", TASK, spread=0.0)
    helps = bool(unfiltered.score.mean() < own.score.mean() or unfiltered.score.std(ddof=1) >= 1.3 * own.score.std(ddof=1))
    return Finding(helps, {"pass@1": {"rlpr": own.score.tolist(), "rlpr_unfiltered": unfiltered.score.tolist()}}, SEEDS)


def judges() -> tuple[float, float]:
    """AUC of (mean probability, likelihood) of the reference answer for right against wrong answers of the base policy."""
    from operant.core.random import Streams

    world = make_world(TASK)
    ensure_base_policy(world, lambda message: None)
    streams = Streams([0])
    source = world.source(Groups(128, 16), streams)
    try:
        policy = world.policy(None, streams)
        rollout = source.score(source.sample(policy, 0))
        right = rollout.reward[0].sum(-1).numpy() > 0.5
        found = source.measure({"answer_probability", "answer_likelihood"}, rollout, policy)
    finally:
        source.close()
    return tuple(auc(found[name][0].double().numpy(), right) for name in ("answer_probability", "answer_likelihood"))


def auc(score: np.ndarray, label: np.ndarray) -> float:
    """Chance that a positive scores higher than a negative, ties counted half."""
    positive, negative = torch.from_numpy(score[label]), torch.from_numpy(score[~label])
    difference = positive.unsqueeze(1) - negative
    return float(((difference > 0).double() + 0.5 * (difference == 0)).mean())
