"""RLOO: its loss has the exact policy gradient on average, and so has the KL that it pays in the reward; GRPO's has not."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, claim, verdict
from operant.evidence.rlvr.exact import direction_error, loss_gradient, random_policy, relative_error, spine
from operant.worlds.sequences import exact
from operant.worlds.sequences.problems import make_problem

BETA = 0.1


@claim(
    "rloo",
    "sequences:random and sequences:length, 5 random tables: summed over every group of 2, the gradient of the loss with a KL of weight 0.1 in the reward "
    "is that of reward - 0.1 KL(policy || reference) of whole sequences, relative error at most 1e-9; GRPO's has another direction than that of the reward "
    "(sine of the angle at least 0.01)",
)
def check(folder: Path) -> Finding:
    own, grpo = [], []
    for name in ("random", "length"):
        problem = make_problem(name)
        for seed in range(5):
            policy, reference = random_policy(problem, seed), random_policy(problem, seed + 100)
            truth = exact.exact_gradient(policy, problem, reference=reference, kl_weight=BETA)["logits"]
            own.append(relative_error(-loss_gradient(spine("rloo", beta=BETA), policy, problem, reference), truth))
            grpo.append(direction_error(-loss_gradient(spine("grpo"), policy, problem), exact.exact_gradient(policy, problem)["logits"]))
    figures = {"relative_error": {"largest": max(own), "tolerance": 1e-9}, "grpo_sine": {"smallest": min(grpo), "threshold": 0.01}}
    return Finding(verdict([max(own) <= 1e-9, min(grpo) >= 0.01]), figures, seeds=5)
