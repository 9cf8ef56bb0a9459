"""DAPO (Direct Advantage): what its quadratic loss settles at, that it never hurts with exact advantages, and that it improves a language model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from operant import ops
from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, language

RUNS = "text:arithmetic, 100 rounds of at most 238 rows (fine-tuning: 256), means over 5 seeds"


@check(
    "direct-apo",
    "stationarity",
    "exact",
    "softmax bandits: at the loss's minimiser the residual A / beta − log-ratio is proportional to π / ν, ν being where actions were drawn from (relative"
    " spread < 1e-5)",
)
def stationarity(folder: Path) -> Finding:
    spread = stationarity_spread()
    return Finding(spread < 1e-5, {"relative_spread": spread, "tolerance": 1e-5})


@check(
    "direct-apo",
    "never-falls",
    "exact",
    "100 random trees with exact advantages and beta = 5 max|A|: the policy's value never falls (0 violations, tolerance 1e-12)",
)
def never_falls(folder: Path) -> Finding:
    violations = tree_violations()
    return Finding(violations == 0, {"violations": violations, "of": 100})


@check("direct-apo", "over-base", "small", f"{RUNS}: pass@1 at least the base policy's + 0.03")
def over_base(folder: Path) -> Finding:
    own = language("direct-apo", prompts=14)
    gain = float((own.score - own.base_score).mean())
    return Finding(gain >= 0.03, {"pass@1": float(own.score.mean()), "gain_over_base": gain, "threshold": 0.03}, SEEDS)


@check(
    "direct-apo",
    "over-fine-tuning",
    "small",
    f"{RUNS}: pass@1 above rejection-sampling fine-tuning with as many rounds (sampled pass@1 in the place of greedy accuracy; fine-tuning in the place of DPO "
    "on outcome pairs, which this family has not)",
)
def over_fine_tuning(folder: Path) -> Finding:
    own, tuned = language("direct-apo", prompts=14), language("rft", group_size=16)
    gain = float(own.score.mean() - tuned.score.mean())
    return Finding(gain > 0, {"pass@1": float(own.score.mean()), "over_rft": gain}, SEEDS)


def minimiser(advantage: Tensor, log_reference: Tensor, drawn: Tensor, beta: float, steps: int = 60) -> Tensor:
    """Log-probabilities `[G, A]` of the softmax that minimises the loss over `drawn [G, A]`: Newton steps on the logits, halved where they do not descend."""
    logits = log_reference.clone()

    def loss(logits: Tensor) -> Tensor:
        return (drawn * ops.log_ratio_regression_loss(logits.log_softmax(-1) - log_reference, advantage, beta=beta)).sum(-1)

    flat = torch.ones(logits.shape[-1], logits.shape[-1], dtype=logits.dtype)  # a constant added to all logits changes nothing: keep the system regular
    for _ in range(steps):
        gradient = torch.func.grad(lambda x: loss(x).sum())(logits)
        hessian = torch.func.vmap(torch.func.hessian(lambda x, a, r, d: (d * ops.log_ratio_regression_loss(x.log_softmax(-1) - r, a, beta=beta)).sum()))(
            logits, advantage, log_reference, drawn
        )
        values, vectors = torch.linalg.eigh(hessian + flat)
        step = -(vectors @ ((vectors.mT @ gradient.unsqueeze(-1)) / values.abs().clamp(min=1e-6).unsqueeze(-1))).squeeze(-1)
        size = torch.ones(len(logits), 1, dtype=logits.dtype)
        for _ in range(30):
            worse = (loss(logits + size * step) > loss(logits)).unsqueeze(-1)
            size = torch.where(worse, size / 2, size)
        logits = torch.where(loss(logits + size * step).unsqueeze(-1) <= loss(logits).unsqueeze(-1), logits + size * step, logits)
    return logits.log_softmax(-1)


def stationarity_spread(bandits: int = 50, actions: int = 6) -> float:
    """Largest relative spread of ν · residual / π over the actions of a bandit."""
    generator = torch.Generator().manual_seed(0)
    advantage, reference, drawn = (torch.randn(bandits, actions, generator=generator, dtype=torch.float64) for _ in range(3))
    log_reference, drawn = reference.log_softmax(-1), drawn.softmax(-1)
    log_policy = minimiser(advantage, log_reference, drawn, 1.0)
    constant = drawn * (advantage - (log_policy - log_reference)) / log_policy.exp()
    return ((constant.amax(-1) - constant.amin(-1)) / constant.abs().amax(-1)).max().item()


def tree_violations(trees: int = 100, depth: int = 3, branching: int = 3) -> int:
    """Trees whose value falls when the policy of every node becomes the minimiser for its exact advantages, drawn by the policy itself; beta = 5 max|A|."""
    generator = torch.Generator().manual_seed(0)
    rewards = torch.rand(trees, branching**depth, generator=generator, dtype=torch.float64)
    levels = [torch.randn(trees, branching**level, branching, generator=generator, dtype=torch.float64).log_softmax(-1) for level in range(depth)]
    before, advantages = evaluate(levels, rewards)
    beta = 5 * torch.stack([advantage.abs().amax((1, 2)) for advantage in advantages]).amax(0)  # [trees]
    better = [
        minimiser((advantage / beta.view(-1, 1, 1)).flatten(0, 1), level.flatten(0, 1), level.exp().flatten(0, 1), 1.0).view(level.shape)
        for advantage, level in zip(advantages, levels, strict=True)
    ]
    after, _ = evaluate(better, rewards)
    return int((after < before - 1e-12).sum())


def evaluate(levels: list[Tensor], rewards: Tensor) -> tuple[Tensor, list[Tensor]]:
    """(value at the root `[trees]`, advantage of each action at each node of each level) of a policy in trees whose leaves give `rewards [trees, leaves]`."""
    value, advantages = rewards, []
    for log_policy in reversed(levels):
        q = value.view(log_policy.shape)
        value = (log_policy.exp() * q).sum(-1)
        advantages.append(q - value.unsqueeze(-1))
    return value.squeeze(-1), advantages[::-1]
