"""One-shot RLVR: a single example elicits much of what the whole pool does, by the policy gradient and not by the terms beside it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from operant import studies
from operant.evidence import Finding, check

RUNS = "text:arithmetic, a pool of 64 problems, 100 iterations of 16 x 8, 5 seeds"


@check(
    "one-shot-rlvr",
    "share-of-pool",
    "small",
    f"{RUNS}: held-out pass@1 gains from the one example of most varying accuracy at least 0.6 of what it gains from the whole pool",
)
def share_of_pool(folder: Path) -> Finding:
    gain = measured(folder)["gain"]
    share = gain["one example"] / gain["whole pool"] if gain["whole pool"] > 0 else 0.0
    return Finding(share >= 0.6, {"gain": gain, "share": share, "threshold": 0.6}, seeds=5)


@check(
    "one-shot-rlvr",
    "after-saturation",
    "small",
    f"{RUNS}: after the example is always solved, held-out pass@1 rises by at least 0.02 more (mean of the seeds where it is)",
)
def after_saturation(folder: Path) -> Finding:
    per_seed = measured(folder)["after_saturation"]
    later = [value for value in per_seed if value is not None]
    return Finding(bool(later) and sum(later) / len(later) >= 0.02, {"per_seed": per_seed, "threshold": 0.02}, seeds=5)


@check("one-shot-rlvr", "by-the-policy-gradient", "small", f"{RUNS}: without the policy-gradient term the gain is at most 0.2 of the pool's")
def by_the_policy_gradient(folder: Path) -> Finding:
    gain = measured(folder)["gain"]
    control = gain["no policy gradient"] / gain["whole pool"] if gain["whole pool"] > 0 else 1.0
    return Finding(control <= 0.2, {"share": control, "at_most": 0.2}, seeds=5)


@cache
def measured(folder: Path) -> dict[str, Any]:
    """The figures of the study."""
    return studies.run("one-shot-rlvr", out=folder / "study", steps=100, seeds=5)[0].figures
