"""PPO on tokens: when GAE gives the exact policy gradient, and when the critic's errors enter it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from operant.core.records import Rollout
from operant.evidence import Finding, check
from operant.evidence.rlvr.exact import random_policy, relative_error, true_values
from operant.loops.credit import TokenGAE
from operant.loops.terms import ClippedRatio, TermBatch
from operant.nets.tabular import TabularPolicy
from operant.worlds.sequences import exact
from operant.worlds.sequences.problems import SequenceProblem, make_problem

TABLES = (
    "sequences:random and sequences:length, 5 random tables, summed over every answer: the gradient of the clipped loss with GAE is the exact gradient of the "
    "reward"
)


@check("ppo-text", "any-critic", "exact", f"{TABLES}: relative error at most 1e-9 with lambda 1, whatever the critic says")
def any_critic(folder: Path) -> Finding:
    errors = [gradient_error(problem, policy, noise, lam=1.0) for problem, policy, _, noise in tables()]
    return Finding(max(errors) <= 1e-9, {"largest": max(errors), "tolerance": 1e-9})


@check("ppo-text", "right-critic", "exact", f"{TABLES}: relative error at most 1e-9 with lambda 0, 0.5 and 0.95, where the critic is right")
def right_critic(folder: Path) -> Finding:
    errors = [gradient_error(problem, policy, right, lam=lam) for problem, policy, right, _ in tables() for lam in (0.0, 0.5, 0.95)]
    return Finding(max(errors) <= 1e-9, {"largest": max(errors), "tolerance": 1e-9})


@check("ppo-text", "wrong-critic", "exact", f"{TABLES}: not so with lambda 0.95 and a random critic (relative error at least 0.01)")
def wrong_critic(folder: Path) -> Finding:
    errors = [gradient_error(problem, policy, noise, lam=0.95) for problem, policy, _, noise in tables()]
    return Finding(min(errors) >= 0.01, {"smallest": min(errors), "threshold": 0.01})


@cache
def tables() -> list[tuple[SequenceProblem, TabularPolicy, Tensor, Tensor]]:
    """Problems and policies, with their true values and with values that say nothing."""
    found = []
    for name in ("random", "length"):
        problem = make_problem(name)
        for seed in range(5):
            policy = random_policy(problem, seed)
            right = true_values(policy, problem)
            found.append((problem, policy, right, torch.randn(right.shape, generator=torch.Generator().manual_seed(100 + seed), dtype=right.dtype)))
    return found


def gradient_error(problem: SequenceProblem, actor: TabularPolicy, values: Tensor, *, lam: float) -> float:
    """Relative error of the loss's expected gradient, with the table of an actor and a critic `[1, P, prefixes]`."""
    policy = TabularPolicy(problem, critic=True)
    with torch.no_grad():
        policy.logits.copy_(actor.logits)
        policy.table.copy_(values)

    def estimator(rollout: Rollout, outputs: dict[str, Tensor]) -> Tensor:
        rollout.extras["value"], rollout.extras["next_value"] = policy.values(rollout)
        advantage = TokenGAE(1.0, lam)(rollout)
        return ClippedRatio()(TermBatch({"log_prob": outputs["log_prob"], "old_log_prob": rollout.log_prob, "advantage": advantage}))

    found = exact.expected_estimator_gradient(policy, problem, estimator).mean["logits"]
    return relative_error(-found, exact.exact_gradient(policy, problem)["logits"])
