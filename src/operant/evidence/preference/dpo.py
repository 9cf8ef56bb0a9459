"""DPO: its loss over all pairs has the optimum of the reward with a KL penalty, and pairs of a policy's own answers make it better."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from operant import ops
from operant.evidence import Finding, check
from operant.evidence.rlvr.exact import random_policy
from operant.loops.runs import Run, load, train
from operant.nets.tabular import TabularPolicy
from operant.worlds.sequences.exact import sequence_log_probs
from operant.worlds.sequences.problems import SequenceProblem, make_problem

BETA = 0.5


@check(
    "dpo",
    "optimum",
    "exact",
    "sequences:random and sequences:length, 3 references each, beta = 0.5: over all pairs labelled by Bradley-Terry the policy that minimises the loss is "
    "reference exp(r / beta) / Z (largest difference of log-probabilities < 1e-3)",
)
def finds_the_optimum(folder: Path) -> Finding:
    apart = []
    for name in ("random", "length"):
        problem = make_problem(name)
        for seed in range(3):
            reference = random_policy(problem, seed)
            apart.append(float((minimiser(reference, problem) - optimum(reference, problem)).abs().max()))
    return Finding(max(apart) < 1e-3, {"largest": max(apart), "tolerance": 1e-3})


@check("dpo", "gradient", "exact", "the gradient is that of section 4, weighted by how wrongly the rewards order the pair (1,000 random pairs, < 1e-9)")
def gradient_of_the_paper(folder: Path) -> Finding:
    error = gradient_error(0)
    return Finding(error < 1e-9, {"largest": error, "tolerance": 1e-9})


@check(
    "dpo",
    "held-out pairs",
    "small",
    "preferences:arithmetic, 200 updates of 32 pairs with the defaults, 5 seeds: the preferred of two held-out answers has the larger reward in at least 60 % "
    "(lower end of the 95 % interval; before training all are ties)",
)
def orders_held_out_pairs(folder: Path) -> Finding:
    score = trained(folder).result["score"]
    return Finding(score["low"] >= 0.6, score | {"threshold": 0.6}, seeds=5)


@check(
    "dpo",
    "pass@1",
    "small",
    "the same runs on preferences:arithmetic: pass@1 on held-out problems is at least 0.05 above the base policy's (means over 5 seeds)",
)
def answers_better(folder: Path) -> Finding:
    passed = trained(folder).result["pass_at_k"]
    before, after = passed["base"]["1"], passed["policy"]["1"]
    return Finding(after - before >= 0.05, {"before": before, "after": after, "gain": after - before, "threshold": 0.05}, seeds=5)


def trained(folder: Path) -> Run:
    """Five seeds, trained once in a sitting."""
    place = folder / "dpo"
    return load(place) if place.exists() else train("dpo", "preferences:arithmetic", seeds=5, steps=200, every=200, progress=False, out=place)


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
