"""CURE: whether answers that branch off at uncertain tokens keep entropy up, and what that is worth in the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, STEPS, Outcome, language

EXPLORE = 2 / 3  # of training: the first stage
RUNS = "text:arithmetic, 100 iterations of 16 prompts x 8 answers, 5 seeds, against DAPO"


@check(
    "cure",
    "entropy",
    "small",
    f"{RUNS}: entropy of drawn tokens over the last 10 iterations of the first stage (40 of 60) at least 1.5 times DAPO's in the same ones",
)
def entropy(folder: Path) -> Finding:
    end = round(EXPLORE * STEPS)
    late = {name: float(np.nanmean(outcome.metrics("entropy")[:, end - 10 : end])) for name, outcome in runs().items()}
    ratio = late["cure"] / late["dapo"]
    return Finding(ratio >= 1.5, late | {"ratio": ratio, "threshold": 1.5}, SEEDS)


@check("cure", "pass@16", "small", f"{RUNS}: in the end pass@16 at least DAPO's + 0.02")
def broad(folder: Path) -> Finding:
    gain = gains()["cure"]
    return Finding(gain >= 0.02, {"over_dapo": gain, "threshold": 0.02}, SEEDS)


@check("cure", "pass@1", "small", f"{RUNS}: in the end pass@1 at least DAPO's + 0.01")
def accuracy(folder: Path) -> Finding:
    gain = float((runs()["cure"].score - runs()["dapo"].score).mean())
    return Finding(gain >= 0.01, {"over_dapo": gain, "threshold": 0.01}, SEEDS)


@check("cure", "not-at-random", "small", f"{RUNS}: branching at random positions has at most 70% of the gain in pass@16")
def not_at_random(folder: Path) -> Finding:
    gain = gains()
    share = gain["random"] / gain["cure"] if gain["cure"] else None
    return Finding(gain["random"] <= 0.7 * gain["cure"], {"pass@16_over_dapo": gain, "share_of_random": share, "largest_share": 0.7}, SEEDS)


def runs() -> dict[str, Outcome]:
    """Branching at uncertain tokens, branching anywhere, and DAPO."""
    return {"cure": language("cure", explore=EXPLORE), "random": language("cure", explore=EXPLORE, uncertain=0), "dapo": language("dapo")}


def gains() -> dict[str, float]:
    """pass@16 over DAPO's of the two ways to branch."""
    found = runs()
    return {name: float((found[name].pass_at[16] - found["dapo"].pass_at[16]).mean()) for name in ("cure", "random")}
