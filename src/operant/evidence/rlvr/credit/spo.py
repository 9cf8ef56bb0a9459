"""SPO: its advantages telescope, they are closer to the truth than a group's at equal tokens, and whether that saves steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operant.core.random import Streams
from operant.core.records import Rollout
from operant.evidence import Finding, check
from operant.evidence.rlvr.exact import spine, true_values
from operant.evidence.rlvr.tier import Outcome, language
from operant.loops.credit import TokenGAE
from operant.nets.tabular import TabularPolicy
from operant.worlds.sequences.problems import SequenceProblem, make_problem
from operant.worlds.sequences.source import SequenceSource

SEEDS = 5
CHAIN = {"cut_every": 1, "probes": 9}  # answers here have at most five tokens: each uncertain token is a segment


@check(
    "spo", "telescoping", "exact", "sequences:random, 5 random tables: the advantages along an answer sum to its reward less the prompt's value, within 1e-6"
)
def telescoping(folder: Path) -> Finding:
    error = chain_error()
    return Finding(error <= 1e-6, {"largest_error": error, "tolerance": 1e-6})


@check("spo", "siblings", "exact", "sequences:random, 5 random tables: the advantages of siblings in a tree sum to 0, within 1e-6")
def siblings(folder: Path) -> Finding:
    largest = tree_error()
    return Finding(largest <= 1e-6, {"largest_sum": largest, "tolerance": 1e-6})


@check(
    "spo",
    "squared-error",
    "exact",
    "sequences:parity, sum-mod and random: the mean squared error of the advantages of tokens below 0.9, against the enumerated ones, is at least 30% below "
    "that of the reward less the group's mean, with groups that cost as many tokens",
)
def closer(folder: Path) -> Finding:
    ratios = {name: error_ratio(make_problem(name)) for name in ("parity", "sum-mod", "random")}
    return Finding(max(ratios.values()) <= 0.7, {"over_grpo": ratios, "threshold": 0.7})


@check(
    "spo",
    "fewer-iterations",
    "small",
    "text:arithmetic, 100 iterations, 5 seeds, against GRPO of 16 x 16, two uncertain tokens a segment, 5 probes, 2 answers a prompt so that no more tokens "
    "are drawn: mean training reward over 5 iterations reaches 0.8 in at most 0.8 times GRPO's iterations (in the place of accuracy, which is measured at the "
    "end alone)",
)
def fewer_iterations(folder: Path) -> Finding:
    ours, grpo = language("spo", group_size=2, cut_every=2, probes=5), language("grpo", group_size=16)
    steps = [float(np.mean([steps_to(curve, 0.8) for curve in outcome.metrics("reward")])) for outcome in (ours, grpo)]
    tokens = [spent(outcome) for outcome in (ours, grpo)]
    figures = {
        "iterations_to_0.8": {"spo": steps[0], "grpo": steps[1], "ratio": steps[0] / steps[1], "threshold": 0.8},
        "tokens": {"spo": tokens[0], "grpo": tokens[1]},
        "pass@1": {"spo": float(ours.score.mean()), "grpo": float(grpo.score.mean())},
    }
    return Finding(steps[0] <= 0.8 * steps[1] and tokens[0] <= tokens[1], figures, SEEDS)


def sampled(problem: SequenceProblem, key: str, **hyper: object) -> tuple[Rollout, Tensor, TabularPolicy]:
    """A scored rollout of random tables, a seed each, the advantages that a method gives it, and the policy with its true values as critic."""
    policy = TabularPolicy(problem, seeds=SEEDS, critic=True)
    with torch.no_grad():
        policy.logits.copy_(torch.randn(policy.logits.shape, generator=torch.Generator().manual_seed(0), dtype=policy.logits.dtype))
        policy.table.copy_(true_values(policy, problem))
    method = spine(key, **hyper)
    source = SequenceSource(problem, method.sample, Streams(list(range(SEEDS))))
    rollout = source.score(source.sample(policy, 0))
    return rollout, method.credit(rollout), policy


def chain_error() -> float:
    """Largest distance of the sum over an answer's tokens from reward less prompt value, where every token is a segment of its own."""
    rollout, advantage, _ = sampled(make_problem("random"), "spo", prompts=12, threshold=1.0, **CHAIN)
    score, probe = rollout.reward.sum(-1), rollout.extras["probe"]
    starts = probe & (rollout.parent < 0) & rollout.extras["present"].any(-1)
    worst = 0.0
    for seed in range(SEEDS):
        for row in rollout.mask[seed].any(-1).nonzero().flatten().tolist():
            value = score[seed][starts[seed] & (rollout.group[seed] == rollout.group[seed, row])].mean()
            worst = max(worst, (advantage[seed, row].sum() - (score[seed, row] - value)).abs().item())
    return worst


def tree_error() -> float:
    """Largest sum over siblings, the edges from the start of a problem being siblings too."""
    rollout, advantage, _ = sampled(make_problem("random"), "spo", structure="tree", prompts=4, branching=(6, 6, 6), chunk=1)
    edge = (advantage * rollout.mask).sum(-1) / rollout.mask.sum(-1).clamp(min=1)
    count = rollout.shape[1]
    family = torch.where(rollout.parent >= 0, rollout.parent, count + rollout.group.clamp(min=0))
    sums = edge.new_zeros(SEEDS, int(family.max()) + 1).scatter_add(1, family, edge)
    return sums.abs().max().item()


def error_ratio(problem: SequenceProblem) -> float:
    """Mean squared error of SPO's advantages over that of the reward less the group's mean, on uncertain tokens, at equal cost."""
    prompts = 4 * problem.prompts
    rollout, advantage, policy = sampled(problem, "spo", prompts=prompts, **CHAIN)
    ours = squared_error(rollout, advantage, policy)
    answers = int((~rollout.extras["probe"][0]).sum())
    cost = rollout.extras["drawn"].sum().item() / rollout.mask.sum().item()  # tokens drawn for each token that is learned from
    size = round(answers / prompts * cost)
    grouped, advantage, policy = sampled(problem, "grpo", prompts=prompts, group_size=size, normalize_std=False)
    return ours / squared_error(grouped, advantage, policy)


def squared_error(rollout: Rollout, advantage: Tensor, policy: TabularPolicy) -> float:
    """Mean squared distance from the true advantage, over tokens less probable than 0.9."""
    rollout.extras["value"], rollout.extras["next_value"] = policy.values(rollout)
    truth = TokenGAE(1.0, 0.0)(rollout)
    return (advantage - truth).square()[rollout.mask & (rollout.log_prob.exp() < 0.9)].mean().item()


def steps_to(curve: np.ndarray, level: float, window: int = 5) -> int:
    """Iterations until the mean of a window of them reaches a level; one more than there are where it never does."""
    means = np.convolve(curve, np.ones(window) / window, mode="valid")
    reached = np.nonzero(means >= level)[0]
    return int(reached[0]) + window if len(reached) else len(curve) + 1


def spent(outcome: Outcome) -> float:
    """Tokens drawn in a run, mean over seeds."""
    return float(outcome.metrics("tokens")[:, -1].mean())
