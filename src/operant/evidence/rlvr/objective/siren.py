"""SIREN: entropy over plausible tokens at uncertain positions stays near where it began, and majority votes gain."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from operant import ops
from operant.core.seeds import derive_seed
from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, Outcome, language
from operant.loops.runs import Run

COEFFICIENT = 0.1
RUNS = (
    "text:arithmetic, 100 iterations of 16 x 8 at a coefficient of 0.1 (the paper's 0.005 is for a loss that it divides by padded lengths of thousands of "
    "tokens)"
)


@check("siren", "nucleus-entropy", "exact", "nucleus entropy is brute force's (1e-6) and has no gradient outside the nucleus")
def nucleus_entropy(folder: Path) -> Finding:
    error, outside = nucleus_errors()
    return Finding(error <= 1e-6 and outside == 0, {"largest_error": error, "tolerance": 1e-6, "largest_gradient_outside": outside})


@check("siren", "anchored", "small", f"{RUNS}: over the last fifth the masked entropy is within 20 % of its anchor in each of 5 seeds")
def anchored(folder: Path) -> Finding:
    drift = anchor_drift(language("siren", anchor_coefficient=COEFFICIENT))
    return Finding(max(drift) <= 0.2, {"drift": drift, "threshold": 0.2}, SEEDS)


@check(
    "siren",
    "no-explosion",
    "small",
    f"{RUNS}: over the last fifth the full entropy is at most twice its start in each of 5 seeds. The row's comparison with a naive entropy bonus is left out: "
    "GRPO here has none",
)
def no_explosion(folder: Path) -> Finding:
    own, grpo = language("siren", anchor_coefficient=COEFFICIENT), language("grpo")
    growth = (own.entropy / own.base_entropy).tolist()
    entropy = {"siren": own.entropy.tolist(), "grpo": grpo.entropy.tolist(), "start": own.base_entropy.tolist()}
    return Finding(max(growth) <= 2, {"growth": growth, "at_most": 2, "entropy": entropy}, SEEDS)


@check("siren", "majority", "small", f"{RUNS}: maj@16 on held-out problems at least GRPO's (mean over 5 seeds)")
def majority(folder: Path) -> Finding:
    own, grpo = language("siren", anchor_coefficient=COEFFICIENT), language("grpo")
    rates = {name: [majority_rate(run) for run in outcome.runs] for name, outcome in (("siren", own), ("grpo", grpo))}
    scores = {"siren": own.score.tolist(), "grpo": grpo.score.tolist(), "base": own.base_score.tolist()}
    return Finding(float(np.mean(rates["siren"])) >= float(np.mean(rates["grpo"])), {"maj@16": rates, "pass@1": scores}, SEEDS)


def anchor_drift(outcome: Outcome) -> list[float]:
    """|masked entropy − anchor| / anchor over the last fifth of training, a seed: the term's loss is the coefficient times its square."""
    loss = outcome.metrics("loss/entropy_anchor")
    gap = np.sqrt(np.clip(loss[:, -loss.shape[1] // 5 :], 0, None) / COEFFICIENT).mean(1)
    anchors = [float(run.directory.checkpoints.load()[0]["learner"]["parts"]["focus 0"]["anchor"]) for run in outcome.runs]
    return (gap / np.array(anchors)).tolist()


def majority_rate(run: Run, problems: int = 128) -> float:
    """Share of held-out problems whose most frequent answer of 16 is right."""
    from operant.worlds.text.evaluation import evaluate_policy

    world = run.world
    chosen = world.problems.held_out(world.problems.splits[0], problems)
    answers = evaluate_policy(
        run.load_policy(),
        chosen,
        world.tokenizer,
        samples=16,
        max_new_tokens=world.longest,
        seed=derive_seed(0, "evidence", "siren"),
        verifier=world.problems.verifier,
        answer=world.problems.answer,
    )
    return float(answers.majority.mean())


def nucleus_errors() -> tuple[float, float]:
    """Largest distance from the entropy that brute force finds, and largest gradient outside the nucleus."""
    generator = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(1_000, 20, generator=generator, dtype=torch.float64)).requires_grad_()
    found = ops.nucleus_entropy(logits, top_p=0.8)
    found.sum().backward()
    worst, outside = 0.0, 0.0
    for row, probability in enumerate(logits.detach().softmax(-1)):
        order = probability.argsort(descending=True).tolist()
        size = 1
        while size < 20 and float(probability[order[: size + 1]].sum()) <= 0.8:
            size += 1
        inside = probability[order[:size]] / probability[order[:size]].sum()
        worst = max(worst, abs(-sum(p * math.log(p) for p in inside.tolist()) - float(found[row].detach())))
        outside = max(outside, float(logits.grad[row, order[size:]].abs().max()))
    return worst, outside
