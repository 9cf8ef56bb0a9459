"""ROVER: the greedy policy of the uniform policy's values is optimal in trees, and training by them keeps several right answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operant.core.random import derive_seed
from operant.evidence import Finding, claim, verdict
from operant.evidence.rlvr.tier import Outcome, language
from operant.worlds import make_world
from operant.worlds.plans import Request
from operant.worlds.text.engine import generate
from operant.worlds.text.source import completion_texts
from operant.worlds.text.verifiers import scorer

TASK = "text:countdown"


@claim(
    "rover",
    "on 1,000 random trees (depth 6, branching 4, at least one right leaf) the greedy policy of the uniform policy's exact Q reaches a right leaf in all,"
    " and softmax(Q / 1e-5) with probability at least 0.999 in each; text:countdown with 3 numbers, equal samples, means over 5 seeds: pass@1 at least "
    "GRPO's − 0.02, and distinct right answers among 64 completions of a held-out problem at least 1.15 times GRPO's",
)
def check(folder: Path) -> Finding:
    greedy, soft = tree_success()
    ours, theirs = language("rover", TASK), language("grpo", TASK)
    score = float(ours.score.mean() - theirs.score.mean())
    distinct = [distinct_right(outcome) for outcome in (ours, theirs)]
    ratio = float(distinct[0].mean() / distinct[1].mean())
    figures = {
        "trees": {"greedy_success": greedy, "least_softmax_success": soft, "thresholds": [1.0, 0.999]},
        "pass@1": {"rover": float(ours.score.mean()), "grpo": float(theirs.score.mean()), "difference": score, "threshold": -0.02},
        "distinct_right_of_64": {"rover": distinct[0].tolist(), "grpo": distinct[1].tolist(), "ratio": ratio, "threshold": 1.15},
    }
    return Finding(verdict([greedy == 1.0, soft >= 0.999, score >= -0.02, ratio >= 1.15]), figures, seeds=5)


def tree_success(trees: int = 1_000, depth: int = 6, branching: int = 4, temperature: float = 1e-5) -> tuple[float, float]:
    """(share of random trees whose greedy leaf is right, least probability of a right leaf under the softmax).

    A tree's leaves are right with a probability between 1 in all leaves and a half, one of them for certain.
    """
    generator = torch.Generator().manual_seed(0)
    leaves = branching**depth
    rate = leaves ** -(torch.rand(trees, 1, generator=generator, dtype=torch.float64)) / 2
    right = torch.rand(trees, leaves, generator=generator, dtype=torch.float64) < rate
    right[torch.arange(trees), torch.randint(leaves, (trees,), generator=generator)] = True
    values = [right.double()]  # of the nodes of each level, from the leaves to the root's children
    for _ in range(depth - 1):
        values.append(values[-1].view(trees, -1, branching).mean(-1))
    return greedy_leaf(values, branching, right).double().mean().item(), soft_success(values, branching, temperature).min().item()


def greedy_leaf(values: list[Tensor], branching: int, right: Tensor) -> Tensor:
    """Whether the leaf that greedy choices lead to is right, `[trees]`."""
    trees = torch.arange(len(right))
    node = torch.zeros_like(trees)
    for value in reversed(values):
        children = value.view(len(right), -1, branching)[trees, node]
        node = node * branching + children.argmax(-1)
    return right[trees, node]


def soft_success(values: list[Tensor], branching: int, temperature: float) -> Tensor:
    """Probability of a right leaf under softmax(Q / temperature) at every node, `[trees]`."""
    success = values[0]
    for value in values:
        policy = (value.view(len(value), -1, branching) / temperature).softmax(-1)
        success = (policy * success.view(policy.shape)).sum(-1)
    return success.squeeze(-1)


def distinct_right(outcome: Outcome, *, problems: int = 64, completions: int = 64) -> np.ndarray:
    """Mean number of distinct right answers among the completions of a held-out problem, `[seeds]`, under the policies that training ended with."""
    world = make_world(TASK)
    held_out = world.problems.held_out(world.problems.splits[0], problems)
    judge = scorer(world.problems.verifier)
    found = []
    for seed, run in enumerate(outcome.runs):
        policy = run.load_policy()
        generator = torch.Generator().manual_seed(derive_seed(seed, "evidence/rover"))
        count = 0
        for start in range(0, problems, 8):
            part = held_out[start : start + 8]
            made = generate(
                policy.model,
                [Request(tuple(ids), completions) for ids in world.tokenizer([problem.prompt for problem in part])["input_ids"]],
                max_new_tokens=world.longest,
                generator=generator,
                eos_token_id=world.tokenizer.eos_token_id,
                pad_token_id=world.tokenizer.pad_token_id,
            )
            texts = completion_texts(world.tokenizer, made.tokens, made.mask)
            request = made.request.tolist()
            scores = judge.score([(part[place], text) for place, text in zip(request, texts, strict=True)])
            right = [(place, text) for place, text, score in zip(request, texts, scores, strict=True) if score.value > 0.5]
            count += len({(place, world.problems.answer(text)) for place, text in right})
        found.append(count / problems)
    judge.close()
    return np.array(found)
