"""One-shot RLVR: a single example elicits much of what the whole pool does, by the policy gradient and not by the terms beside it."""

from __future__ import annotations

from pathlib import Path

from operant import studies
from operant.evidence import Finding, claim, verdict


@claim(
    "one-shot-rlvr",
    "text:arithmetic, a pool of 64 problems, 100 iterations of 16 x 8, 5 seeds: held-out pass@1 gains from the one example of most varying accuracy at "
    "least 0.6 of what it gains from the whole pool; after the example is always solved, held-out pass@1 rises by at least 0.02 more (mean of the seeds "
    "where it is); without the policy-gradient term the gain is at most 0.2 of the pool's",
)
def check(folder: Path) -> Finding:
    found, _ = studies.run("one-shot-rlvr", out=folder / "study", steps=100, seeds=5)
    gain = found.figures["gain"]
    later = [value for value in found.figures["after_saturation"] if value is not None]
    share = gain["one example"] / gain["whole pool"] if gain["whole pool"] > 0 else 0.0
    control = gain["no policy gradient"] / gain["whole pool"] if gain["whole pool"] > 0 else 1.0
    passed = [share >= 0.6, bool(later) and sum(later) / len(later) >= 0.02, control <= 0.2]
    figures = {
        "gain": gain,
        "share_of_pool": {"value": share, "threshold": 0.6},
        "after_saturation": {"per_seed": found.figures["after_saturation"], "threshold": 0.02},
        "control_share": {"value": control, "at_most": 0.2},
    }
    return Finding(verdict(passed), figures, seeds=5)
