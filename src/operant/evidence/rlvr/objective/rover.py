"""ROVER: the greedy policy of the uniform policy's values is optimal in trees, and training by them keeps several right answers."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operant.core.seeds import derive_seed
from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, Outcome, language
from operant.worlds import make_world
from operant.worlds.plans import Request
from operant.worlds.text.engine import generate
from operant.worlds.text.source import completion_texts
from operant.worlds.text.verifiers import scorer

TASK = "text:countdown"
TREES = "on 1,000 random trees (depth 6, branching 4, at least one right leaf)"
RUNS = "text:countdown with 3 numbers, equal samples, means over 5 seeds"


@check("rover", "greedy", "exact", f"{TREES} the greedy policy of the uniform policy's exact Q reaches a right leaf in all")
def greedy(folder: Path) -> Finding:
    success, _ = tree_success()
    return Finding(success == 1.0, {"success": success, "threshold": 1.0})


@check("rover", "softmax", "exact", f"{TREES} softmax(Q / 1e-5) reaches a right leaf with probability at least 0.999 in each")
def softmax(folder: Path) -> Finding:
    _, success = tree_success()
    return Finding(success >= 0.999, {"least_success": success, "threshold": 0.999})


@check("rover", "pass@1", "small", f"{RUNS}: pass@1 at least GRPO's − 0.02")
def accuracy(folder: Path) -> Finding:
    ours, theirs = float(language("rover", TASK).score.mean()), float(language("grpo", TASK).score.mean())
    return Finding(ours - theirs >= -0.02, {"rover": ours, "grpo": theirs, "difference": ours - theirs, "threshold": -0.02}, SEEDS)


@check("rover", "distinct", "small", f"{RUNS}: distinct right answers among 64 completions of a held-out problem at least 1.15 times GRPO's")
def distinct(folder: Path) -> Finding:
    found = {key: distinct_right(language(key, TASK)) for key in ("rover", "grpo")}
    ratio = float(found["rover"].mean() / found["grpo"].mean())
    return Finding(ratio >= 1.15, {key: value.tolist() for key, value in found.items()} | {"ratio": ratio, "threshold": 1.15}, SEEDS)


@cache
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
