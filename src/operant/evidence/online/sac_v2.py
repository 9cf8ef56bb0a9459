"""SAC (2018): solves Pendulum, holds its entropy at the target, and rests on identities that are checked numerically."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from operant import ops
from operant.evidence import Finding, check
from operant.loops.runs import Run, train


@check("sac-v2", "pendulum", "small", "Pendulum-v1: mean return of 10 evaluation episodes >= -200 in at least 9 of 10 seeds by 15,000 steps")
def pendulum(folder: Path) -> Finding:
    result = trained(folder).result
    solved = sum(value >= -200 for value in result["score"]["per_seed"])
    return Finding(solved >= 9, result["score"] | {"seeds_at_-200": solved, "needed": 9, "steps": result["steps"]}, seeds=10)


@check("sac-v2", "entropy", "small", "Pendulum-v1: the policy's entropy comes within 0.1 nats of its target on average over the last tenth of training")
def entropy(folder: Path) -> Finding:
    gap = measured_entropy_gap(trained(folder))
    return Finding(gap <= 0.1, {"nats": gap, "threshold": 0.1}, seeds=10)


@check("sac-v2", "density", "exact", "the tanh log-density agrees with numerical integration to 1e-4")
def density(folder: Path) -> Finding:
    error = tanh_density_error()
    return Finding(error <= 1e-4, {"largest_error": error, "tolerance": 1e-4})


@check("sac-v2", "soft-policy-iteration", "exact", "tabular soft policy iteration never lowers the soft Q (tolerance 1e-8)")
def soft_policy_iteration(folder: Path) -> Finding:
    decrease = soft_policy_iteration_decrease()
    return Finding(decrease <= 1e-8, {"largest_decrease": decrease, "tolerance": 1e-8})


@cache
def trained(folder: Path) -> Run:
    return train("sac-v2", "gym:Pendulum-v1", seeds=10, steps=15_000, progress=False, out=folder / "pendulum")


def measured_entropy_gap(run) -> float:
    """|mean entropy − target| in nats over seeds, the entropy taken from the temperature's own loss over the last tenth of training.

    The temperature loss is −log α (E[log π] + H̄), so E[log π] + H̄ = −loss / log α wherever log α is not near 0.
    """
    import json

    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    late = [row for row in rows if row["step"] > 0.9 * run.result["steps"] and abs(row["log_alpha"]) > 0.2]
    return abs(float(np.mean([-row["loss/temperature"] / row["log_alpha"] for row in late])))


def tanh_density_error() -> float:
    """Largest error of an interval's probability by numerical integration of the closed-form density of tanh(N(μ, σ²)), against its distribution function."""
    worst = 0.0
    action = torch.linspace(-0.999, 0.999, 200_001, dtype=torch.float64)
    unsquashed = torch.atanh(action)
    for mean in (-1.0, 0.0, 0.7):
        for log_std in (-1.0, 0.0, 0.5):
            parameters = (torch.full((len(action), 1), value, dtype=torch.float64) for value in (mean, log_std))
            density = ops.tanh_gaussian_log_prob(unsquashed.unsqueeze(-1), *parameters).exp()
            integral = torch.cumulative_trapezoid(density, action)
            exact = torch.special.ndtr((unsquashed - mean) / np.exp(log_std))
            worst = max(worst, (integral - (exact[1:] - exact[0])).abs().max().item())
    return worst


def soft_policy_iteration_decrease(states: int = 8, actions: int = 4, gamma: float = 0.9, alpha: float = 0.3, rounds: int = 30) -> float:
    """Largest decrease of any soft Q value from one round of tabular soft policy iteration to the next, on 5 random finite MDPs (Lemma 2)."""
    worst = 0.0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        transition = rng.dirichlet(np.ones(states), size=(states, actions))
        reward = rng.normal(size=(states, actions))
        policy = np.full((states, actions), 1 / actions)
        previous = None
        for _ in range(rounds):
            entropy = -(policy * np.log(policy)).sum(1)
            moves = np.einsum("sat,tb->satb", transition, policy).reshape(states * actions, states * actions)
            q = np.linalg.solve(np.eye(states * actions) - gamma * moves, (reward + gamma * alpha * transition @ entropy).reshape(-1)).reshape(states, actions)
            if previous is not None:
                worst = max(worst, float((previous - q).max()))
            previous = q
            logits = q / alpha
            policy = np.exp(logits - logits.max(1, keepdims=True))
            policy = np.maximum(policy / policy.sum(1, keepdims=True), 1e-300)
    return worst
