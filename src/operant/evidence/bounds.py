"""The table of theorems: every check of a rate, a bound or an identity that the claims of this library have, with its figure, its threshold and whether it
holds.

What is computed exactly is measured now, which takes a minute or two. What is sampled or trained is read from the records that the library ships, with the
commit that it was measured at, and "since changed" where the code that it rests on has changed since (`operant evidence KEY` measures it anew). A claim about
a rate is a fitted exponent, a claim about a bound a count of violations over random instances, a lower bound its construction: `operant evidence KEY --list`
has the sentence of each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operant import evidence
from operant.core.errors import unknown
from operant.core.registry import methods
from operant.studies import Say, StudyResult, Table, studies, study

THRESHOLD = re.compile(r"(^| )(at (most|least)|between|tolerance|needed|threshold|of)$")  # names of figures that a check is held against
SHOWN = 3  # figures of a check in the table; study.json has all
HOLDS = {True: "holds", False: "fails", None: "not measured"}


@dataclass(frozen=True)
class BoundsOptions:
    keys: tuple[str, ...] = ()  # of these methods and studies alone; none for all


def theorems() -> dict[str, list[evidence.Check]]:
    """The checks of theorems, by the key of their claim."""
    found = {key: [each for each in claim.checks.values() if each.theorem] for key, claim in evidence.claims().items()}
    return {key: checks for key, checks in found.items() if checks}


@study("bounds", paper="those of the claims", summary="The table of theorems: every rate, bound and identity that is checked, with its figure and its verdict")
def bounds(options: BoundsOptions, folder: Path, say: Say) -> StudyResult:
    known = theorems()
    for key in options.keys:
        if key not in known:
            raise unknown("claim with theorems", key, known)
    entries = methods() | studies()
    found: list[dict[str, Any]] = []
    for key in options.keys or sorted(known):
        for each in known[key]:
            if each.tier == "exact":
                say(f"{key}: {each.name}")
                finding = each.measure(folder)
                said = {"holds": bool(finding.holds), "figures": finding.figures, "measured": "now"}
            else:
                said = recorded(key, each)
            paper = entries[key].paper if key in entries else ""
            found.append({"theorem": each.theorem, "paper": paper, "key": key, "check": each.name, "tier": each.tier, "says": each.says} | said)
    rows = []
    for each in found:
        flat = with_intervals(evidence.flat_figures(each["figures"]) if each["figures"] else [])
        held = [pair for pair in flat if THRESHOLD.search(pair[0])]
        of = [pair for pair in flat if pair not in held]
        figure, threshold = (_joined(pairs) for pairs in (of, held))
        rows.append((each["theorem"], each["paper"], f"{each['key']} {each['check']}", figure, threshold, HOLDS[each["holds"]], each["measured"]))
    counts = {name: sum(HOLDS[each["holds"]] == name for each in found) for name in HOLDS.values()}
    head = ("theorem", "paper", "check", "figure", "threshold", "", "measured")
    title = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no theorem is checked"
    return StudyResult({"theorems": found, "counts": counts}, (Table(title, head, tuple(rows)),))


def recorded(key: str, each: evidence.Check) -> dict[str, Any]:
    """What the record says of a check: whether it holds, its figures, and when it was measured."""
    record = evidence.recorded(key) or {"checks": []}
    body = next((body for body in record["checks"] if (body["name"], body["says"]) == (each.name, each.says) and body["run"] is not None), None)
    if body is None:
        return {"holds": None, "figures": {}, "measured": f"operant evidence {key} --check {each.name}"}
    commit = record["runs"][body["run"]]["commit"]
    changed = evidence.freshness(key)[each.name] != "fresh"
    return {"holds": body["holds"], "figures": body["figures"], "measured": f"at {(commit or 'no commit')[:10]}{', since changed' * changed}"}


def with_intervals(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Figures of which `low` and `high` stand behind a third as one: `slope -0.99 [-1.00, -0.98]`."""
    found: list[tuple[str, str]] = []
    for name, value in pairs:
        of, _, last = name.rpartition(" ")
        if last == "high" and len(found) > 1 and found[-1][0].rpartition(" ")[2] == "low" and found[-2][0].rpartition(" ")[0] == of:
            (_, low), (point, middle) = found.pop(), found.pop()
            found.append((point, f"{middle} [{low}, {value}]"))
        else:
            found.append((name, value))
    return found


def _joined(pairs: list[tuple[str, str]]) -> str:
    said = [f"{name} {value}" if len(value) <= 40 else f"{name} …" for name, value in pairs[:SHOWN]]
    return ", ".join(said) + ", …" * (len(pairs) > SHOWN)
