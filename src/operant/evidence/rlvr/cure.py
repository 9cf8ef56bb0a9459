"""CURE: whether answers that branch off at uncertain tokens keep entropy up, and what that is worth in the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from operant.evidence import Finding, claim, verdict
from operant.evidence.rlvr.tier import STEPS, language

EXPLORE = 2 / 3  # of training: the first stage


@claim(
    "cure",
    "text:arithmetic, 100 iterations of 16 prompts x 8 answers, 5 seeds, against DAPO: entropy of drawn tokens over the last 10 iterations of the first stage "
    "(40 of 60) at least 1.5 times DAPO's in the same ones; in the end pass@16 at least DAPO's + 0.02 and pass@1 at least DAPO's + 0.01; branching at random "
    "positions has at most 70% of the gain in pass@16",
)
def check(folder: Path) -> Finding:
    ours, anywhere, dapo = language("cure", explore=EXPLORE), language("cure", explore=EXPLORE, uncertain=0), language("dapo")
    end = round(EXPLORE * STEPS)
    entropy = {
        name: float(np.nanmean(outcome.metrics("entropy")[:, end - 10 : end])) for name, outcome in (("cure", ours), ("random", anywhere), ("dapo", dapo))
    }
    gain = {name: float((outcome.pass_at[16] - dapo.pass_at[16]).mean()) for name, outcome in (("cure", ours), ("random", anywhere))}
    first = float((ours.score - dapo.score).mean())
    ratio = entropy["cure"] / entropy["dapo"]
    figures = {
        "entropy": entropy | {"ratio": ratio, "threshold": 1.5},
        "pass@16_over_dapo": gain | {"threshold": 0.02, "share_of_random": gain["random"] / gain["cure"] if gain["cure"] else None, "largest_share": 0.7},
        "pass@1_over_dapo": {"cure": first, "threshold": 0.01},
    }
    return Finding(verdict([ratio >= 1.5, gain["cure"] >= 0.02, first >= 0.01, gain["random"] <= 0.7 * gain["cure"]]), figures, seeds=5)
