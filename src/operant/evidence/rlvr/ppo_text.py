"""PPO on tokens: when GAE gives the exact policy gradient, and when the critic's errors enter it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from operant.core.records import Rollout
from operant.evidence import Finding, claim, verdict
from operant.evidence.rlvr.exact import random_policy, relative_error, true_values
from operant.loops.credit import TokenGAE
from operant.loops.terms import ClippedRatio, TermBatch
from operant.nets.tabular import TabularPolicy
from operant.worlds.sequences import exact
from operant.worlds.sequences.problems import SequenceProblem, make_problem


@claim(
    "ppo-text",
    "sequences:random and sequences:length, 5 random tables: summed over every answer, the gradient of the clipped loss with GAE is the exact gradient of the "
    "reward, relative error at most 1e-9, with lambda 1 whatever the critic says and with lambda 0, 0.5 and 0.95 where the critic is right; with lambda 0.95 "
    "and a random critic it is another (relative error at least 0.01)",
)
def check(folder: Path) -> Finding:
    any_critic, right_critic, wrong_critic = [], [], []
    for name in ("random", "length"):
        problem = make_problem(name)
        for seed in range(5):
            policy = random_policy(problem, seed)
            right = true_values(policy, problem)
            noise = torch.randn(right.shape, generator=torch.Generator().manual_seed(100 + seed), dtype=right.dtype)
            any_critic.append(gradient_error(problem, policy, noise, lam=1.0))
            wrong_critic.append(gradient_error(problem, policy, noise, lam=0.95))
            right_critic += [gradient_error(problem, policy, right, lam=lam) for lam in (0.0, 0.5, 0.95)]
    figures = {
        "lambda_1_any_critic": {"largest": max(any_critic), "tolerance": 1e-9},
        "right_critic": {"largest": max(right_critic), "tolerance": 1e-9},
        "lambda_0.95_random_critic": {"smallest": min(wrong_critic), "threshold": 0.01},
    }
    return Finding(verdict([max(any_critic) <= 1e-9, max(right_critic) <= 1e-9, min(wrong_critic) >= 0.01]), figures, seeds=5)


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
