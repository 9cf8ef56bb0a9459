"""BNPO: its Beta density contains REINFORCE and GRPO, makes the gradient's variance least where rates are Beta distributed, and steadies training."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from operant import ops
from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, language

CELL = 0.05
PAIRS = ((1.0, 1.0), (0.6, 1.8), (3.0, 2.0), (5.0, 1.5), (2.0, 6.0))  # of success rates: flat, U-shaped to the left, humped, skewed both ways


@check("bnpo", "special-cases", "exact", "parameters (1, 1) give R - p and (3/2, 3/2) give (pi/8)(R - p)/sqrt(p(1 - p)), to 1e-6")
def special_cases(folder: Path) -> Finding:
    error = special_case_error()
    return Finding(error <= 1e-6, {"largest_error": error, "tolerance": 1e-6})


@check(
    "bnpo",
    "least-variance",
    "exact",
    "for rates from Beta(a, b) the second moment of the normalised gradient is least at (1 + a/3, 1 + b/3), within one cell of a grid of 0.05, for 5 pairs",
)
def least_variance(folder: Path) -> Finding:
    cells = [grid_distance(a, b) for a, b in PAIRS]
    return Finding(max(cells) <= CELL + 1e-9, {"distance": cells, "cell": CELL})


@check(
    "bnpo",
    "steadier",
    "small",
    "text:arithmetic, 100 iterations of 16 x 8: the gradient norm's coefficient of variation is at most GRPO's, means over 5 seeds",
)
def steadier(folder: Path) -> Finding:
    variation = {key: variation_of_norm(language(key)) for key in ("bnpo", "grpo")}
    holds = bool(variation["bnpo"].mean() <= variation["grpo"].mean())
    return Finding(holds, {"norm_variation": {key: value.tolist() for key, value in variation.items()}}, SEEDS)


@check("bnpo", "pass@1", "small", "text:arithmetic, 100 iterations of 16 x 8: pass@1 is at least GRPO's less 0.01, means over 5 seeds")
def accuracy(folder: Path) -> Finding:
    own, grpo = language("bnpo"), language("grpo")
    loss = float((grpo.score - own.score).mean())
    return Finding(loss <= 0.01, {"bnpo": own.score.tolist(), "grpo": grpo.score.tolist(), "loss": loss, "threshold": 0.01}, SEEDS)


def special_case_error() -> float:
    """Largest error of the two special cases over groups of 16 with 1 to 15 right answers."""
    score = (torch.arange(16) < torch.arange(1, 16).unsqueeze(1)).double()
    rate = score.mean(-1, keepdim=True)
    plain = ops.beta_normalized_advantage(score, parameters=(1.0, 1.0)) - (score - rate)
    half = ops.beta_normalized_advantage(score, parameters=(1.5, 1.5)) - math.pi / 8 * (score - rate) / (rate * (1 - rate)).sqrt()
    return float(torch.cat([plain, half]).abs().max())


def grid_distance(a: float, b: float) -> float:
    """Largest coordinate of the way from (1 + a/3, 1 + b/3) to the point of the grid where the second moment is least."""
    alpha, beta = np.meshgrid(np.arange(CELL, (a + 3) / 2, CELL), np.arange(CELL, (b + 3) / 2, CELL), indexing="ij")
    first, second = a + 3 - 2 * alpha, b + 3 - 2 * beta
    inside = (first > 1e-6) & (second > 1e-6)  # the moment is finite there alone
    moment = np.where(inside, 2 * log_beta(alpha, beta) + log_beta(np.where(inside, first, 1.0), np.where(inside, second, 1.0)), np.inf)
    place = np.unravel_index(moment.argmin(), moment.shape)
    return float(max(abs(alpha[place] - 1 - a / 3), abs(beta[place] - 1 - b / 3)))


def log_beta(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Logarithm of the Beta function."""
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    return (a.lgamma() + b.lgamma() - (a + b).lgamma()).numpy()


def variation_of_norm(outcome) -> np.ndarray:
    """Deviation over mean of the gradient's norm along training, `[seeds]`."""
    norms = outcome.metrics("gradient_norm")
    return np.nanstd(norms, axis=1) / np.nanmean(norms, axis=1)
