"""DPO: its loss over all pairs has the optimum of the reward with a KL penalty, and pairs of a policy's own answers make it better."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from operant import ops
from operant.evidence import Finding, claim, verdict
from operant.evidence.rlvr.exact import random_policy
from operant.loops.runs import train
from operant.nets.tabular import TabularPolicy
from operant.worlds.sequences.exact import sequence_log_probs
from operant.worlds.sequences.problems import SequenceProblem, make_problem

BETA = 0.5


@claim(
    "dpo",
    "sequences:random and sequences:length, 3 references each, beta = 0.5: over all pairs labelled by Bradley-Terry the policy that minimises the loss is "
    "reference exp(r / beta) / Z (largest difference of log-probabilities < 1e-3), and the gradient is that of section 4 (< 1e-9); preferences:arithmetic, "
    "200 updates of 32 pairs with the defaults, 5 seeds: the preferred of two held-out answers has the larger reward in at least 60 % (lower end of the "
    "95 % interval; before training a tie), and pass@1 on held-out problems is at least 0.05 above the base policy's (IQM)",
)
def check(folder: Path) -> Finding:
    apart, gradient = [], []
    for name in ("random", "length"):
        problem = make_problem(name)
        for seed in range(3):
            reference = random_policy(problem, seed)
            apart.append(float((minimiser(reference, problem) - optimum(reference, problem)).abs().max()))
            gradient.append(gradient_error(seed))
    run = train("dpo", "preferences:arithmetic", seeds=5, steps=200, every=200, progress=False, out=folder / "dpo")
    result = run.result
    before, after = result["pass_at_k"]["base"]["1"], result["pass_at_k"]["policy"]["1"]
    figures = {
        "optimum": {"largest": max(apart), "tolerance": 1e-3},
        "gradient": {"largest": max(gradient), "tolerance": 1e-9},
        "held_out_pairs": result["score"] | {"threshold": 0.6},
        "pass@1": {"before": before, "after": after, "gain": after - before, "threshold": 0.05},
    }
    passed = [max(apart) < 1e-3, max(gradient) < 1e-9, result["score"]["low"] >= 0.6, after - before >= 0.05]
    return Finding(verdict(passed), figures, seeds=5)


def optimum(reference: TabularPolicy, problem: SequenceProblem) -> Tensor:
    """Log-probabilities of the policy that is optimal for the reward with a KL penalty, `[S, P, M]`."""
    with torch.no_grad():
        return (sequence_log_probs(reference, problem) + problem.rewards / BETA).log_softmax(-1)


def minimiser(reference: TabularPolicy, problem: SequenceProblem) -> Tensor:
    """Log-probabilities of the policy that minimises the loss over all pairs, found by L-BFGS from the reference."""
    policy = TabularPolicy(problem)
    policy.load_state_dict(reference.state_dict())
    with torch.no_grad():
        start = sequence_log_probs(reference, problem)
    label = (problem.rewards.unsqueeze(-1) - problem.rewards.unsqueeze(-2)).sigmoid()  # how often the first is preferred
    optimizer = torch.optim.LBFGS(policy.parameters(), lr=1, max_iter=1_000, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        ratio = (sequence_log_probs(policy, problem) - start)[0]
        total = (label * ops.dpo_loss(ratio.unsqueeze(-1).expand_as(label), ratio.unsqueeze(-2).expand_as(label), beta=BETA)).mean()
        total.backward()
        return total

    optimizer.step(loss)
    return sequence_log_probs(policy, problem).detach()


def gradient_error(seed: int) -> float:
    """Largest distance of the gradient at log-ratios from −β σ(r(rejected) − r(chosen)), and its opposite for the other answer."""
    generator = torch.Generator().manual_seed(seed)
    chosen, rejected = (torch.randn(1_000, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    ops.dpo_loss(chosen, rejected, beta=BETA).sum().backward()
    want = -BETA * (BETA * (rejected - chosen)).sigmoid().detach()
    return float(torch.stack([chosen.grad - want, rejected.grad + want]).abs().max())
