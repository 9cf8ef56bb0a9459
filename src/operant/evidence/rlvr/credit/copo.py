"""COPO: a batch of prompts whose answers all agree still has a gradient, that of REINFORCE with the batch for a baseline."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from operant.evidence import Finding, check
from operant.evidence.rlvr.exact import random_policy, spine
from operant.evidence.rlvr.tier import SEEDS, language
from operant.loops.terms import TermBatch
from operant.worlds.sequences.problems import make_problem

SIZES = {"prompts": 64, "group_size": 4}  # as many answers as elsewhere in the tier, in groups small enough to be often all alike


@check("copo", "grpo-learns-nothing", "exact", "on a batch of groups that are each all right or all wrong GRPO's gradient is 0 (1e-8)")
def grpo_learns_nothing(folder: Path) -> Finding:
    norm, _, _ = degenerate_batch()
    return Finding(norm <= 1e-8, {"grpo_norm": norm, "tolerance": 1e-8})


@check(
    "copo",
    "batch-baseline",
    "exact",
    "on that batch COPO's gradient is that of REINFORCE with the batch's mean and deviation, weighted by 1 - w (1e-6), and is not 0 (norm above 1e-3)",
)
def batch_baseline(folder: Path) -> Finding:
    _, error, norm = degenerate_batch()
    return Finding(error <= 1e-6 and norm > 1e-3, {"copo_error": error, "tolerance": 1e-6, "copo_norm": norm, "above": 1e-3})


@check(
    "copo",
    "pass@1",
    "small",
    "text:arithmetic, 100 iterations of 64 prompts x 4 answers: pass@1 at least 0.01 above GRPO's and DAPO's (whose filling draws more answers), means over 5 "
    "seeds",
)
def accuracy(folder: Path) -> Finding:
    scores = {key: language(key, **SIZES).score for key in ("copo", "grpo", "dapo")}
    gain = float(scores["copo"].mean() - max(scores["grpo"].mean(), scores["dapo"].mean()))
    return Finding(gain >= 0.01, {key: value.tolist() for key, value in scores.items()} | {"gain": gain, "threshold": 0.01}, SEEDS)


@cache
def degenerate_batch() -> tuple[float, float, float]:
    """(norm of GRPO's gradient, error of COPO's, norm of COPO's) on a batch of sequences:sum-mod: each prompt answered four times, all right or all wrong."""
    problem = make_problem("sum-mod")
    policy = random_policy(problem, 0)
    rows, group = [], 4
    for prompt in range(problem.prompts):
        wanted = float(prompt % 2)  # prompts 1 and 3 are answered rightly
        rows += (problem.rewards[prompt] == wanted).nonzero().squeeze(1)[:group].tolist()
    action = problem.sequences[rows].unsqueeze(0)
    prompt = torch.arange(problem.prompts).repeat_interleave(group).unsqueeze(0)
    log_prob = policy.replay({"prompt": prompt}, action)["log_prob"]
    rollout = problem.score(problem.pack(prompt, action, log_prob.detach(), group, version=0))
    rollout.extras["answer"] = (rollout.reward.sum(-1) == 0) * torch.tensor(rows)  # right answers are one, wrong ones all differ

    def gradient(key: str) -> torch.Tensor:
        own = replace(rollout, extras=dict(rollout.extras))
        method = spine(key)
        marks = {name: value for mark in method.mark for name, value in mark(own).items()}
        batch = TermBatch({"log_prob": log_prob, "old_log_prob": own.log_prob, "mask": own.mask, "advantage": method.credit(own)} | marks)
        loss = sum((term(batch) / problem.length).sum() / own.shape[1] for term in method.terms)
        return torch.autograd.grad(loss, policy.logits, retain_graph=True)[0]

    score = rollout.reward.sum(-1).view(-1, group)
    mean = score.mean(1)
    advantage = ((mean - mean.mean()) / (mean.std() + 1e-6)).repeat_interleave(group)
    bits = torch.tensor([0.0 if value == 1 else math.log2(group) for value in mean], dtype=torch.float64)
    weight = (1 - (20.0 * (bits - 0.5)).sigmoid()).repeat_interleave(group)
    expected = -(weight * advantage * log_prob[0].sum(-1)).sum() / (problem.length * rollout.shape[1])
    expected = torch.autograd.grad(expected, policy.logits, retain_graph=True)[0]
    own = gradient("copo")
    return float(gradient("grpo").norm()), float((own - expected).norm()), float(own.norm())
