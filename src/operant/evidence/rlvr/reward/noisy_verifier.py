"""Noise correction: unbiased gradients from a verifier that errs, and a rate of false negatives that is learned on the way."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from operant import ops
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.evidence.rlvr.exact import direction_error, random_policy, relative_error
from operant.evidence.rlvr.tier import SEEDS, language
from operant.worlds.sequences import exact
from operant.worlds.sequences.problems import make_problem
from operant.worlds.text.world import TextWorld

FALSE_POSITIVE, FALSE_NEGATIVE = 0.1, 0.3
NOISE = {"verifier": f"noisy:{FALSE_POSITIVE},{FALSE_NEGATIVE}"}


@check(
    "noisy-verifier",
    "backward-gradient",
    "exact",
    "enumerated policy, rates 0.1 and 0.3: the expected gradient of the backward correction is the clean one to 1e-6 (relative)",
)
def backward_gradient(folder: Path) -> Finding:
    error, _ = gradient_errors()
    return Finding(error <= 1e-6, {"relative_error": error, "tolerance": 1e-6})


@check("noisy-verifier", "forward-gradient", "exact", "there the expected gradient of the forward correction points the same way (sine below 1e-6)")
def forward_gradient(folder: Path) -> Finding:
    _, sine = gradient_errors()
    return Finding(sine <= 1e-6, {"sine": sine, "tolerance": 1e-6})


@check(
    "noisy-verifier",
    "pass@1",
    "small",
    "text:arithmetic, 100 iterations with a verifier of these rates: pass@1 of either correction is at least 0.97 of that of the same loss with clean rewards "
    "(means over 5 seeds)",
)
def accuracy(folder: Path) -> Finding:
    clean = language("noisy-verifier", false_positive=0.0, false_negative=0.0)
    runs = {kind: language("noisy-verifier", options=NOISE, correction=kind) for kind in ("backward", "forward")}
    grpo = language("grpo", options=NOISE)
    shares = {kind: float(outcome.score.mean() / clean.score.mean()) for kind, outcome in runs.items()}
    scores = {"clean": clean.score.tolist(), **{kind: outcome.score.tolist() for kind, outcome in runs.items()}, "noisy_grpo": grpo.score.tolist()}
    return Finding(min(shares.values()) >= 0.97, {"pass@1": scores, "share_of_clean": shares | {"threshold": 0.97}}, SEEDS)


@check(
    "noisy-verifier",
    "rate-is-learned",
    "small",
    "text:arithmetic, after 50 iterations the rate estimated from appeals of a tenth of the rejected answers is within 0.03 of the truth (mean absolute error "
    "over 5 seeds)",
)
def rate_is_learned(folder: Path) -> Finding:
    rates = [estimated_rate(seed) for seed in range(5)]
    error = float(np.abs(np.array(rates) - FALSE_NEGATIVE).mean())
    return Finding(error <= 0.03, {"estimates": rates, "truth": FALSE_NEGATIVE, "mean_absolute_error": error, "threshold": 0.03}, SEEDS)


@cache
def gradient_errors() -> tuple[float, float]:
    """(relative error of backward, sine of forward) against the exact policy gradient, all verdicts of all sequences summed over."""
    problem = make_problem("parity")
    policy = random_policy(problem, 3)
    truth = exact.exact_gradient(policy, problem)["logits"]
    reward = problem.rewards
    right = reward * (1 - FALSE_NEGATIVE) + (1 - reward) * FALSE_POSITIVE  # chance of the verdict 1
    found = []
    for correct in (
        lambda r: ops.backward_corrected_reward(r, false_positive=FALSE_POSITIVE, false_negative=FALSE_NEGATIVE),
        lambda r: ops.forward_corrected_weight(r, false_negative=FALSE_NEGATIVE),
    ):
        weight = right * correct(torch.ones_like(reward)) + (1 - right) * correct(torch.zeros_like(reward))
        log_probs = exact.sequence_log_probs(policy, problem)
        found.append(exact.gradient((log_probs.detach().exp() * weight * log_probs).sum(-1), policy)["logits"])
    return relative_error(found[0], truth), direction_error(found[1], truth)


def estimated_rate(seed: int) -> float:
    """The rate of false negatives that fifty iterations of appeals arrive at."""
    from operant.loops.base_policy import ensure_base_policy

    world = TextWorld("arithmetic", **NOISE)
    ensure_base_policy(world, lambda message: None)
    settings = {"appeals": 0.1, "false_positive": FALSE_POSITIVE, "false_negative": 0.0}
    learner = get_method("noisy-verifier").build(configure("noisy-verifier", settings)).learner(world, [seed], 50, torch.device("cpu"))
    try:
        for _ in range(50):
            learner.iterate()
    finally:
        learner.close()
    return float(learner.method.shape[0].false_negative(1))
