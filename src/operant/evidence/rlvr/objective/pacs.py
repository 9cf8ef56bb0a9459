"""PACS: begins as RLOO, and keeps pass@k where GRPO loses it."""

from __future__ import annotations

from pathlib import Path

import torch

from operant import ops
from operant.core.random import Streams
from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, language
from operant.nets.tabular import TabularPolicy
from operant.worlds.sequences.problems import make_problem


@check(
    "pacs",
    "begins-as-rloo",
    "exact",
    "where π = π_old the gradient without class weights is beta times RLOO's on the labels (relative error < 1e-5, tabular policy, exact arithmetic)",
)
def begins_as_rloo(folder: Path) -> Finding:
    error = rloo_error()
    return Finding(error < 1e-5, {"relative_error": error, "tolerance": 1e-5})


@check("pacs", "pass@1", "small", "text:arithmetic, equal samples, means over 5 seeds: pass@1 at least GRPO's − 0.01")
def accuracy(folder: Path) -> Finding:
    ours, theirs = float(language("pacs").score.mean()), float(language("grpo").score.mean())
    return Finding(ours - theirs >= -0.01, {"pacs": ours, "grpo": theirs, "difference": ours - theirs, "threshold": -0.01}, SEEDS)


@check(
    "pacs",
    "pass@16",
    "small",
    "text:arithmetic, equal samples, means over 5 seeds: pass@16 at least GRPO's + 0.02 (the catalogue has pass@32; evaluations here draw 16 completions)",
)
def broad(folder: Path) -> Finding:
    ours, theirs = float(language("pacs").pass_at[16].mean()), float(language("grpo").pass_at[16].mean())
    return Finding(ours - theirs >= 0.02, {"pacs": ours, "grpo": theirs, "difference": ours - theirs, "threshold": 0.02}, SEEDS)


def rloo_error(groups: int = 40, size: int = 8) -> float:
    """Largest relative error of the gradient against beta times RLOO's, over beta of 0.5, 1 and 2, on random tabular policies."""
    problem = make_problem("sum-mod")
    worst = 0.0
    for seed, beta in enumerate((0.5, 1.0, 2.0)):
        streams = Streams([seed])
        policy = TabularPolicy(problem)
        with torch.no_grad():
            policy.logits.copy_(streams.normal("logits", *policy.logits.shape[1:]))
        prompt = (torch.arange(groups) % problem.prompts).repeat_interleave(size)[None]
        action, _, _ = policy.sample(prompt, streams.uniform("tokens", groups * size, problem.length))
        label = problem.reward(prompt, action).double().view(groups, size)
        log_prob = policy.replay({"prompt": prompt}, action)["log_prob"].sum(-1).view(groups, size)
        loss = ops.leave_one_out_cross_entropy(log_prob - log_prob.detach(), label, beta=beta, balanced=False).mean()
        rloo = -beta * (ops.leave_one_out(label) * log_prob).mean()
        ours, theirs = (torch.autograd.grad(value, policy.logits, retain_graph=True)[0] for value in (loss, rloo))
        worst = max(worst, ((ours - theirs).norm() / theirs.norm()).item())
    return worst
