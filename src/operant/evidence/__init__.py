"""Claims and their checks: `claims()` lists them, `run(key)` tests one, `recorded(key)` is what was measured.

Each claim is a module `operant.evidence.<family>.<method>` with a function marked by `@claim`. The claim, its test bed, its baseline and its threshold stand
in that file and are fixed before it is run. Results are files in `results/`, shipped with the package: the table of methods is made from them.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operant.core.errors import RunFailed
from operant.core.files import write_atomic
from operant.core.index import Register

VERDICTS = ("reproduced", "partly", "not reproduced")
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        verdict: one of `VERDICTS`.
        figures: numbers by name, with intervals and thresholds, ready for JSON.
        seeds: how many seeds stand behind them.
    """

    verdict: str
    figures: dict[str, Any]
    seeds: int


@dataclass(frozen=True)
class Claim:
    """A claim about one method.

    Attributes:
        key: the method's key.
        claim: one sentence, with the threshold.
        check: `(directory) → Finding`; runs go into the directory.
    """

    key: str
    claim: str
    check: Callable[[Path], Finding]


_claims: Register[Claim] = Register("evidence", "claim", "`operant evidence --list` lists what there is")


def claim(key: str, text: str):
    """Register a check of a method's claim."""

    def register(check: Callable[[Path], Finding]) -> Callable[[Path], Finding]:
        _claims.entries[key] = Claim(key, text, check)
        return check

    return register


def claims() -> dict[str, Claim]:
    """All claims by method key."""
    return _claims.all()


def get_claim(key: str) -> Claim:
    """The claim of a method (see `Register.get`)."""
    return _claims.get(key)


def run(key: str, *, write: Path | None = RESULTS) -> dict[str, Any]:
    """Test one claim; its result, which is also written to `write`/KEY.json (None: not written).

    Raises:
        BadInput: no claim of that key.
    """
    entry = get_claim(key)
    from operant.core.run import machine

    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix=f"operant-evidence-{key}-") as folder:
        finding = entry.check(Path(folder))
    result = {
        "key": key,
        "claim": entry.claim,
        "verdict": finding.verdict,
        "figures": finding.figures,
        "seeds": finding.seeds,
        "seconds": round(time.perf_counter() - started, 1),
        "command": f"operant evidence {key}",
        "commit": _commit(),
        "base_policy": base_policies(entry.claim),
    } | machine()
    if write is not None:
        try:
            write_atomic(write / f"{key}.json", json.dumps(result, indent=1, default=lambda number: number.item()) + "\n")
        except OSError as error:
            raise RunFailed(f"the result of {key} ({result['verdict']}) could not be kept in {write}: {error.strerror}") from error
    return result


def base_policies(claim: str) -> dict[str, Any]:
    """The base policies that a claim's runs started from, by the text tasks that it names: {"text:…": {"recipe": version, "pass@1"}}; the check has made them.

    In records of recipe 1, pass@1 is what was measured before training, on held-out problems as training runs are evaluated.
    """
    from operant.loops.base_policy import made_base_policy
    from operant.worlds import make_world

    found = {task: made_base_policy(make_world(task)) for task in sorted(set(re.findall(r"text:[a-z]+(?:-[a-z]+)*", claim)))}
    return {task: made for task, made in found.items() if made is not None}


def _commit() -> str | None:
    """The commit of the checkout that the package is run from; None where it is no checkout."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def recorded(key: str) -> dict[str, Any] | None:
    """What was measured for a method, None where nothing was."""
    path = RESULTS / f"{key}.json"
    return json.loads(path.read_text()) if path.exists() else None


def verdict(passed: list[bool]) -> str:
    """ "reproduced" where every part holds, "partly" where some do."""
    return "reproduced" if all(passed) else "partly" if any(passed) else "not reproduced"
