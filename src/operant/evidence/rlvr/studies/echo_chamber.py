"""Echo chamber: one format takes over, and it is the one that was predicted."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from operant import studies
from operant.evidence import Finding, check

MIXTURES = ((0.4, 0.4, 0.2), (0.2, 0.6, 0.2))  # shares of steps, brackets and direct answers
RUNS = (
    "sums of four digits in three formats, GRPO for 60 iterations of 16 x 16, 5 seeds, two mixtures (shares 0.4/0.4/0.2 and 0.2/0.6/0.2, reliabilities "
    "0.9/0.6/0.5)"
)


@check(
    "echo-chamber",
    "one-format",
    "small",
    f"{RUNS}: the entropy of the formats' shares falls by at least half in at least 4 of 5 seeds of each while pass@1 rises",
)
def one_format(folder: Path) -> Finding:
    figures, enough = {}, []
    for name, found in mixtures(folder).items():
        first, last = looks(found)
        fall = found["fall_of_share_entropy"]
        gained = [b["pass@1"] > a["pass@1"] for a, b in zip(first, last, strict=True)]
        enough.append(sum(each >= 0.5 and up for each, up in zip(fall, gained, strict=True)) >= 4)
        pass_at_1 = {"before": [look["pass@1"] for look in first], "after": [look["pass@1"] for look in last]}
        figures[name] = {"fall_of_share_entropy": fall, "pass@1": pass_at_1}
    return Finding(all(enough), figures, seeds=5)


@check(
    "echo-chamber",
    "predicted",
    "small",
    f"{RUNS}: the format of the largest share x accuracy before training has the largest share after it in at least 0.8 of all",
)
def predicted(folder: Path) -> Finding:
    figures, right = {}, []
    for name, found in mixtures(folder).items():
        figures[name] = {word: [run[word] for run in found["seeds"]] for word in ("predicted", "winner")}
        right += [run["predicted"] == run["winner"] for run in found["seeds"]]
    share = sum(right) / len(right)
    return Finding(share >= 0.8, figures | {"predicted_right": share, "threshold": 0.8}, seeds=5)


@check("echo-chamber", "pass@16", "small", f"{RUNS}: pass@16 does not rise by more than 0.05 on average")
def broad(folder: Path) -> Finding:
    rises = []
    for found in mixtures(folder).values():
        first, last = looks(found)
        rises += [b["pass_at_k"]["16"] - a["pass_at_k"]["16"] for a, b in zip(first, last, strict=True)]
    rise = sum(rises) / len(rises)
    return Finding(rise <= 0.05, {"change": rise, "at_most": 0.05}, seeds=5)


@cache
def mixtures(folder: Path) -> dict[str, dict[str, Any]]:
    """The figures of the study, a mixture each."""
    found = {}
    for place, shares in enumerate(MIXTURES):
        result, _ = studies.run("echo-chamber", out=folder / f"study-{place}", shares=shares, seeds=5)
        found["/".join(map(str, shares))] = result.figures
    return found


def looks(figures: dict[str, Any]) -> tuple[list[dict], list[dict]]:
    """What was seen of each seed's policy before and after training."""
    return [run["looks"][0] for run in figures["seeds"]], [run["looks"][-1] for run in figures["seeds"]]
