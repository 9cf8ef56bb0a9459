"""ODF: prompts solved about half of the time teach most, so that fewer updates reach what plain GRPO reaches."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from operant import ops
from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, STEPS, language

WINDOW = 5  # iterations that are averaged


@check("odf", "closed-form", "exact", "for a 0/1 reward KL(start || optimum) of enumerated policies equals log(1 - p + p exp(1/beta)) - p/beta to 1e-9")
def closed_form(folder: Path) -> Finding:
    error, _, _ = identities()
    return Finding(error <= 1e-9, {"largest_error": error, "tolerance": 1e-9})


@check("odf", "largest-inside", "exact", "that KL is largest strictly inside (0, 1)")
def largest_inside(folder: Path) -> Finding:
    _, inside, _ = identities()
    return Finding(inside, {"largest_inside": inside})


@check(
    "odf",
    "expansion",
    "exact",
    "that KL is p(1 - p)/(2 beta^2) to a relative 1e-2 for beta of 10, 30 and 100 at p of 0.5 (elsewhere the next term, |1 - 2p|/(3 beta), is larger)",
)
def expansion(folder: Path) -> Finding:
    _, _, error = identities()
    return Finding(error <= 1e-2, {"largest_relative_error": error, "tolerance": 1e-2})


@check(
    "odf",
    "fewer-iterations",
    "small",
    "text:arithmetic, 100 iterations: the mean training reward of all that is sampled (mean of 5 iterations) reaches plain GRPO's best after at most 0.7 of "
    "GRPO's iterations, median over 5 seeds; rollouts are reported",
)
def fewer_iterations(folder: Path) -> Finding:
    own, grpo = language("odf"), language("grpo")
    ours, theirs = smoothed(own.metrics("reward")), smoothed(grpo.metrics("reward"))
    shares = []
    for mine, plain in zip(ours, theirs, strict=True):
        reached = np.flatnonzero(mine >= plain.max())
        shares.append(float((reached[0] + 1) / (plain.argmax() + 1)) if len(reached) else float("inf"))
    samples = [float(np.nanmax(outcome.metrics("samples"), axis=1).mean()) for outcome in (own, grpo)]
    figures = {
        "share_of_iterations": {"per_seed": [share if np.isfinite(share) else f"not in {STEPS}" for share in shares], "threshold": 0.7},
        "samples_a_seed": {"odf": samples[0], "grpo": samples[1]},
        "pass@1": {"odf": own.score.tolist(), "grpo": grpo.score.tolist()},
    }
    return Finding(float(np.median(shares)) <= 0.7, figures, SEEDS)


def smoothed(rewards: np.ndarray) -> np.ndarray:
    """Moving averages over `WINDOW` iterations, `[seeds, iterations - WINDOW + 1]`."""
    return np.array([np.convolve(row, np.ones(WINDOW) / WINDOW, mode="valid") for row in rewards])


@cache
def identities() -> tuple[float, bool, float]:
    """(largest error of the closed form on random policies, whether its maximum lies inside, largest relative error of the expansion)."""
    generator = torch.Generator().manual_seed(0)
    error = 0.0
    for beta in (0.2, 0.5, 1.0, 5.0):
        for _ in range(50):
            start = torch.randn(12, generator=generator, dtype=torch.float64).softmax(0)
            reward = (torch.rand(12, generator=generator, dtype=torch.float64) < 0.4).double()
            best = (start.log() + reward / beta).softmax(0)
            exact = (start * (start.log() - best.log())).sum()
            error = max(error, float((ops.bernoulli_tilt_kl((start * reward).sum(), beta=beta) - exact).abs()))
    grid = torch.linspace(0, 1, 1001, dtype=torch.float64)
    inside = all(0 < int(ops.bernoulli_tilt_kl(grid, beta=beta).argmax()) < 1000 for beta in (0.2, 1.0, 10.0))
    p = torch.tensor([0.5], dtype=torch.float64)
    relative = [((ops.bernoulli_tilt_kl(p, beta=beta) / (p * (1 - p) / (2 * beta**2))) - 1).abs().max() for beta in (10.0, 30.0, 100.0)]
    return error, inside, float(torch.stack(relative).max())
