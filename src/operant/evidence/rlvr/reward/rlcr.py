"""RLCR: stated confidences come to mean what they say, at no cost in accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from operant import ops
from operant.evaluate.statistics import expected_calibration_error
from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, held_out_answers, language
from operant.loops.runs import Run

TASK = "text:uncertain"
RUNS = "text:uncertain, 100 iterations, after training, means over 5 seeds"


@check("rlcr", "best-confidence", "exact", "for p on a grid of 0.01 the expected reward less its constant 1 is largest at q = p, where it is p squared (1e-9)")
def best_confidence(folder: Path) -> Finding:
    error, _ = identities()
    return Finding(error <= 1e-9, {"largest_error": error, "tolerance": 1e-9})


@check(
    "rlcr",
    "not-logarithmic",
    "exact",
    "with the logarithmic score in its place a sure wrong answer (p = q = 0: 0) is worth more than p = 0.5 (-0.19)",
)
def not_logarithmic(folder: Path) -> Finding:
    _, worse = identities()
    return Finding(worse, {"logarithmic_score_prefers_sure_wrong": worse})


@check("rlcr", "calibrated", "small", f"{RUNS}: the expected calibration error (10 bins) on held-out problems is at most 0.05")
def calibrated(folder: Path) -> Finding:
    errors = [calibration_error(run) for run in language("rlcr", TASK).runs]
    return Finding(bool(np.mean(errors) <= 0.05), {"expected_calibration_error": errors, "at_most": 0.05}, SEEDS)


@check("rlcr", "grpo-is-not", "small", f"{RUNS}: the expected calibration error of GRPO on correctness alone is at least 0.2")
def grpo_is_not(folder: Path) -> Finding:
    errors = [calibration_error(run) for run in language("grpo", TASK).runs]
    return Finding(bool(np.mean(errors) >= 0.2), {"expected_calibration_error": errors, "at_least": 0.2}, SEEDS)


@check("rlcr", "pass@1", "small", f"{RUNS}: accuracy within 0.01 of GRPO's or above")
def accuracy(folder: Path) -> Finding:
    own, grpo = language("rlcr", TASK), language("grpo", TASK)
    figures = {"rlcr": own.score.tolist(), "grpo": grpo.score.tolist(), "base": own.base_score.tolist()}
    return Finding(bool(own.score.mean() >= grpo.score.mean() - 0.01), figures, SEEDS)


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
