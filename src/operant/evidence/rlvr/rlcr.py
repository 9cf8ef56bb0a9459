"""RLCR: stated confidences come to mean what they say, at no cost in accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from operant import ops
from operant.evaluate.statistics import expected_calibration_error
from operant.evidence import Finding, claim, verdict
from operant.evidence.rlvr.tier import held_out_answers, language
from operant.loops.runs import Run


@claim(
    "rlcr",
    "For p on a grid of 0.01 the expected reward less its constant 1 is largest at q = p, where it is p squared (1e-9); with the logarithmic score in its "
    "place a sure wrong answer (p = q = 0: 0) is worth more than p = 0.5 (-0.19). text:uncertain, 100 iterations: after training the expected calibration "
    "error (10 bins) on held-out problems is at most 0.05, that of GRPO on correctness alone at least 0.2, and accuracy within 0.01 of it or above; means "
    "over 5 seeds",
)
def check(folder: Path) -> Finding:
    error, worse = identities()
    own, grpo = language("rlcr", "text:uncertain"), language("grpo", "text:uncertain")
    calibration = {name: [calibration_error(run) for run in outcome.runs] for name, outcome in (("rlcr", own), ("grpo", grpo))}
    passed = [
        error <= 1e-9,
        worse,
        bool(np.mean(calibration["rlcr"]) <= 0.05),
        bool(np.mean(calibration["grpo"]) >= 0.2),
        bool(own.score.mean() >= grpo.score.mean() - 0.01),
    ]
    figures = {
        "best_confidence": {"largest_error": error, "tolerance": 1e-9},
        "logarithmic_score_prefers_sure_wrong": worse,
        "expected_calibration_error": calibration | {"at_most": 0.05, "grpo_at_least": 0.2},
        "pass@1": {"rlcr": own.score.tolist(), "grpo": grpo.score.tolist(), "base": own.base_score.tolist()},
    }
    return Finding(verdict(passed), figures, seeds=5)


def identities() -> tuple[float, bool]:
    """(largest distance of the best confidence from p and of its value from p squared, whether the logarithmic score prefers the sure wrong answer)."""
    grid = torch.arange(101, dtype=torch.float64) / 100
    worst = 0.0
    for p in grid:
        right, wrong = (ops.calibrated_reward(torch.full_like(grid, value), grid) for value in (1.0, 0.0))
        expected = p * right + (1 - p) * wrong - 1
        best = int(expected.argmax())
        worst = max(worst, float((grid[best] - p).abs()), float((expected[best] - p.square()).abs()))
    logarithmic = 0.5 + 0.5 * np.log(0.5) + 0.5 * np.log(0.5)
    return worst, bool(logarithmic < 0.0)


def calibration_error(run: Run) -> float:
    """Expected calibration error of 16 answers to 128 held-out problems by the trained policy."""
    task = run.world.problems
    problems, answers = held_out_answers(run, task.splits[0])
    confidence, correct = [], []
    for problem, texts in zip(problems, answers, strict=True):
        for text in texts:
            if (stated := task.confidence(text)) is not None:
                confidence.append(stated)
                correct.append(task.verifier.score(problem, text) > 0.5)
    return expected_calibration_error(confidence, correct)
