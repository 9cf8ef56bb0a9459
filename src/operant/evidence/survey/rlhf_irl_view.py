"""RLHF as online inverse RL: where mistakes cannot be undone, cloning's regret grows as the square of the horizon, that of matching in known dynamics
linearly."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from operant.evidence import Finding, check
from operant.studies.rlhf_irl_view import ImitationOptions, growth, regrets

RATES = "regret of T steps: T² of cloning, T of matching in known dynamics, where a mistake stays"
OPTIONS = ImitationOptions()
BED = "{bed}, the same 400 demonstrated pairs at each horizon of 10 to 200, 10 seeds (from 0 on)"


@cache
def found(bed: str) -> tuple[dict[str, np.ndarray], dict[str, dict[str, float]]]:
    regret = regrets(bed, OPTIONS, lambda line: None)
    return regret, {learner: growth(OPTIONS.horizons, values) for learner, values in regret.items()}


def slopes(bed: str, low: float | None) -> Finding:
    """Whether cloning's slope is at least `low` (None: at most 1.2), and matching's at most 1.2."""
    regret, fits = found(bed)
    cloning, matching = fits["cloning"]["slope"], fits["matching"]["slope"]
    holds = matching <= 1.2 and (cloning <= 1.2 if low is None else cloning >= low)
    figures: dict[str, Any] = {"growth": fits, "regret_at_the_longest": {learner: float(values[-1].mean()) for learner, values in regret.items()}}
    return Finding(holds, figures, OPTIONS.seeds)


@check(
    "rlhf-irl-view",
    "tightrope",
    "small",
    BED.format(bed="tightrope") + ": log-log slope of the mean regret at least 1.7 of cloning, at most 1.2 of matching",
    theorem=RATES,
)
def tightrope(folder: Path) -> Finding:
    return slopes("tightrope", 1.7)


@check(
    "rlhf-irl-view",
    "strings",
    "small",
    BED.format(bed="strings with an error that stays") + ": at least 1.7 of cloning, at most 1.2 of matching",
    theorem=RATES,
)
def strings(folder: Path) -> Finding:
    return slopes("strings", 1.7)


@check(
    "rlhf-irl-view",
    "recoverable",
    "small",
    BED.format(bed="where who fell is back with the next step") + ": at most 1.2 of both",
    theorem="regret of T steps: T of both, where a mistake does not stay",
)
def recoverable(folder: Path) -> Finding:
    return slopes("recoverable", None)


@check("rlhf-irl-view", "one-step", "exact", "with a horizon of 1 the regret of both is the same, to 1e-9, on all three beds and 10 seeds")
def one_step(folder: Path) -> Finding:
    alone = replace(OPTIONS, horizons=(1,))
    off = {bed: float(np.abs(regret["cloning"] - regret["matching"]).max()) for bed in OPTIONS.beds for regret in [regrets(bed, alone, lambda line: None)]}
    return Finding(max(off.values()) <= 1e-9, {"largest_difference": off, "tolerance": 1e-9}, OPTIONS.seeds)
