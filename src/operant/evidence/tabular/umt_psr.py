"""UMT-PSR: tasks that share an emission need fewer episodes each together, tasks that share nothing do not.

With six independent tasks the set of models is as deep for each as the joint class asks, 6 log 100 in the place of log 100, which is why `apart` needs more;
the paper bounds the sum over tasks.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from operant import studies
from operant.evidence import Finding, check
from operant.studies.umt_psr import Class, best_policy, best_value, value

SEEDS = 20
BED = "POMDPs of 3 hidden states, 2 actions, 3 observations and 3 steps, one of 20 emissions and of 5 transitions a task, means over 120 tasks"


@check(
    "umt-psr",
    "distance",
    "exact",
    "the policy that tells two models apart best, found backwards, has the largest total variation of all 4,096 deterministic policies within 1e-12; ten pairs",
)
def distance(folder: Path) -> Finding:
    off = 0.0
    for seed in range(10):
        chance = Class.drawn(2, 1, torch.Generator().manual_seed(seed)).chance
        gap = (chance[0, 0] - chance[1, 0]).abs() / 2
        # of a first observation the first action, and for it and each second observation the second one: what another first action would meet is not met
        by_first = [max(gap[first, action].sum(-1).gather(-1, late).sum().item() for action in (0, 1) for late in every()) for first in range(3)]
        off = max(off, abs(sum(by_first) - best_value(gap).item()), abs(value(gap, best_policy(gap)).item() - best_value(gap).item()))
    return Finding(off <= 1e-12, {"largest_difference": off, "at_most": 1e-12})


def every() -> list[torch.Tensor]:
    """All second actions by the second observation, `[3, 1]`."""
    return [torch.tensor([[number >> place & 1] for place in range(3)]) for number in range(8)]


@check(
    "umt-psr",
    "shared",
    "small",
    f"with one emission for all, six tasks need at most 0.6 times as many episodes each as one task, from which on the mean regret is at most 0.02 ({BED})",
    theorem="shared structure lowers what each task of several costs",
)
def shared(folder: Path) -> Finding:
    return ratio(True, 0.0, 0.6)


@check("umt-psr", "apart", "small", f"with an emission of its own each, the ratio is within [0.85, 1.15] ({BED})")
def apart(folder: Path) -> Finding:
    return ratio(False, 0.85, 1.15)


@check("umt-psr", "truth", "small", f"the true model is never ruled out in at least 95 % of all runs ({BED}; 1 and 6 tasks, an emission shared or not)")
def truth(folder: Path) -> Finding:
    kept = float(np.mean([each["truth_kept"] for each in conducted()["runs"]]))
    return Finding(kept >= 0.95, {"kept": kept, "at_least": 0.95}, SEEDS)


def ratio(together: bool, low: float, high: float) -> Finding:
    """Episodes of each of six tasks to those of one; none where either was not there in time."""
    one, six = (next(each["episodes"] for each in conducted()["runs"] if (each["tasks"], each["shared"]) == (tasks, together)) for tasks in (1, 6))
    found = six / one if one and six is not None else None
    return Finding(found is not None and low <= found <= high, conducted() | {"ratio": found, "between": [low, high]}, SEEDS)


@cache
def conducted() -> dict[str, Any]:
    entry = studies.get_study("umt-psr")
    return entry.conduct(entry.options(tasks=(1, 6), seeds=SEEDS), Path(), lambda line: None).figures
