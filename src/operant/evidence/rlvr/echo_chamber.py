"""Echo chamber: one format takes over, and it is the one that was predicted."""

from __future__ import annotations

from pathlib import Path

from operant import studies
from operant.evidence import Finding, claim, verdict

MIXTURES = ((0.4, 0.4, 0.2), (0.2, 0.6, 0.2))  # shares of steps, brackets and direct answers


@claim(
    "echo-chamber",
    "Sums of four digits in three formats, GRPO for 60 iterations of 16 x 16, 5 seeds, two mixtures (shares 0.4/0.4/0.2 and 0.2/0.6/0.2, reliabilities "
    "0.9/0.6/0.5): the entropy of the formats' shares falls by at least half in at least 4 of 5 seeds of each while pass@1 rises; the format of the largest"
    " share x accuracy before training has the largest share after it in at least 0.8 of all; pass@16 does not rise by more than 0.05 on average",
)
def check(folder: Path) -> Finding:
    figures: dict = {"mixtures": {}}
    fallen, right, rises = [], [], []
    for place, shares in enumerate(MIXTURES):
        found, _ = studies.run("echo-chamber", out=folder / f"study-{place}", shares=shares, seeds=5)
        runs = found.figures["seeds"]
        first, last = [run["looks"][0] for run in runs], [run["looks"][-1] for run in runs]
        fall = found.figures["fall_of_share_entropy"]
        gained = [b["pass@1"] > a["pass@1"] for a, b in zip(first, last, strict=True)]
        fallen.append(sum(each >= 0.5 and up for each, up in zip(fall, gained, strict=True)) >= 4)
        right += [run["predicted"] == run["winner"] for run in runs]
        rises += [b["pass_at_k"]["16"] - a["pass_at_k"]["16"] for a, b in zip(first, last, strict=True)]
        figures["mixtures"]["/".join(map(str, shares))] = {
            "fall_of_share_entropy": fall,
            "pass@1": {"before": [look["pass@1"] for look in first], "after": [look["pass@1"] for look in last]},
            "predicted": [run["predicted"] for run in runs],
            "winner": [run["winner"] for run in runs],
        }
    share, rise = sum(right) / len(right), sum(rises) / len(rises)
    figures |= {"predicted_right": {"value": share, "threshold": 0.8}, "pass@16_change": {"value": rise, "at_most": 0.05}}
    return Finding(verdict([all(fallen), share >= 0.8, rise <= 0.05]), figures, seeds=5)
