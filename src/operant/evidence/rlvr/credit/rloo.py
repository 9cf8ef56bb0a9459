"""RLOO: its loss has the exact policy gradient on average, and so has the KL that it pays in the reward; GRPO's has not."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.evidence.rlvr.exact import direction_error, loss_gradient, random_policy, relative_error, spine
from operant.worlds.sequences import exact
from operant.worlds.sequences.problems import make_problem

BETA = 0.1


@check(
    "rloo",
    "unbiased",
    "exact",
    "sequences:random and sequences:length, 5 random tables: summed over every group of 2, the gradient of the loss with a KL of weight 0.1 in the reward "
    "is that of reward - 0.1 KL(policy || reference) of whole sequences, relative error at most 1e-9",
)
def unbiased(folder: Path) -> Finding:
    errors = []
    for name in ("random", "length"):
        problem = make_problem(name)
        for seed in range(5):
            policy, reference = random_policy(problem, seed), random_policy(problem, seed + 100)
            truth = exact.exact_gradient(policy, problem, reference=reference, kl_weight=BETA)["logits"]
            errors.append(relative_error(-loss_gradient(spine("rloo", beta=BETA), policy, problem, reference), truth))
    return Finding(max(errors) <= 1e-9, {"largest_relative_error": max(errors), "tolerance": 1e-9})


@check("rloo", "grpo-is-not", "exact", "there GRPO's gradient has another direction than that of the reward (sine of the angle at least 0.01)")
def grpo_is_not(folder: Path) -> Finding:
    sines = []
    for name in ("random", "length"):
        problem = make_problem(name)
        for seed in range(5):
            policy = random_policy(problem, seed)
            sines.append(direction_error(-loss_gradient(spine("grpo"), policy, problem), exact.exact_gradient(policy, problem)["logits"]))
    return Finding(min(sines) >= 0.01, {"smallest_sine": min(sines), "threshold": 0.01})
