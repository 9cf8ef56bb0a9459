"""PACS: begins as RLOO, and keeps pass@k where GRPO loses it."""

from __future__ import annotations

from pathlib import Path

import torch

from operant import ops
from operant.core.random import Streams
from operant.evidence import Finding, claim, verdict
from operant.evidence.rlvr.tier import language
from operant.nets.tabular import TabularPolicy
from operant.worlds.sequences.problems import make_problem


@claim(
    "pacs",
    "where π = π_old the gradient without class weights is beta times RLOO's on the labels (relative error < 1e-5, tabular policy, exact arithmetic); "
    "text:arithmetic, equal samples, means over 5 seeds: pass@1 at least GRPO's − 0.01 and pass@16 at least GRPO's + 0.02 (the catalogue has pass@32; "
    "evaluations here draw 16 completions)",
)
def check(folder: Path) -> Finding:
    error = rloo_error()
    ours, theirs = language("pacs"), language("grpo")
    score = float(ours.score.mean() - theirs.score.mean())
    at_16 = float(ours.pass_at[16].mean() - theirs.pass_at[16].mean())
    figures = {
        "rloo_gradient": {"relative_error": error, "tolerance": 1e-5},
        "pass@1": {"pacs": float(ours.score.mean()), "grpo": float(theirs.score.mean()), "difference": score, "threshold": -0.01},
        "pass@16": {"pacs": float(ours.pass_at[16].mean()), "grpo": float(theirs.pass_at[16].mean()), "difference": at_16, "threshold": 0.02},
    }
    return Finding(verdict([error < 1e-5, score >= -0.01, at_16 >= 0.02]), figures, seeds=5)


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
