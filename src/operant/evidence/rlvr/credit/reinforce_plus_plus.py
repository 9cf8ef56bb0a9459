"""REINFORCE++: the KL that it pays token by token has the gradient of the sequences' KL, and normalising over a large batch leaves the direction as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from operant.evidence import Finding, check
from operant.evidence.rlvr.exact import direction_error, loss_gradient, random_policy, relative_error, spine
from operant.nets.tabular import TabularPolicy
from operant.worlds import make_world
from operant.worlds.sequences import exact
from operant.worlds.sequences.problems import make_problem

BETA = 0.1
REPLICAS = 64  # independent batches


@check(
    "reinforce++",
    "before-normalisation",
    "exact",
    "sequences:random and sequences:length, 5 random tables: the gradient of its loss before normalisation is, on average over every sequence, that of "
    "reward - 0.1 KL(policy || reference), relative error at most 1e-9",
)
def before_normalisation(folder: Path) -> Finding:
    plain = replace(spine("reinforce++", beta=BETA), reduce="sequence-sum", reduce_length=1)
    errors = []
    for name in ("random", "length"):
        problem = make_problem(name)
        for seed in range(5):
            policy, reference = random_policy(problem, seed), random_policy(problem, seed + 100)
            truth = exact.exact_gradient(policy, problem, reference=reference, kl_weight=BETA)["logits"]
            errors.append(relative_error(-loss_gradient(plain, policy, problem, reference), truth))
    return Finding(max(errors) <= 1e-9, {"largest_relative_error": max(errors), "tolerance": 1e-9})


@check(
    "reinforce++",
    "after-normalisation",
    "small",
    "there, with normalisation, the mean gradient of 64 batches of 2,048 sequences keeps the exact direction (sine of the angle at most 0.05)",
)
def after_normalisation(folder: Path) -> Finding:
    sines = []
    for name in ("random", "length"):
        problem = make_problem(name)
        uniform = TabularPolicy(problem)  # what the loop takes for its reference: the policy that it starts from
        for seed in range(5):
            policy = random_policy(problem, seed)
            truth = exact.exact_gradient(policy, problem, reference=uniform, kl_weight=BETA)["logits"]
            sines.append(direction_error(-batch_gradient(name, policy), truth))
    return Finding(max(sines) <= 0.05, {"largest_sine": max(sines), "threshold": 0.05}, seeds=5)


def batch_gradient(name: str, policy: TabularPolicy) -> torch.Tensor:
    """Mean over `REPLICAS` batches of the gradient that the loop computes for a policy."""
    world = make_world(f"sequences:{name}")
    method = replace(spine("reinforce++", beta=BETA, prompts=384, group_size=6, micro_batch=0, learning_rate=1e-9), max_grad_norm=float("inf"))
    learner = method.learner(world, list(range(REPLICAS)), 1, torch.device("cpu"))
    with torch.no_grad():
        learner.policy.logits.copy_(policy.logits.expand_as(learner.policy.logits))
    learner.iterate()
    return learner.policy.logits.grad.mean(0, keepdim=True)
