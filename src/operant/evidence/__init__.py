"""Claims and their checks: `claims()` lists them, `run(key)` tests one, `recorded(key)` is what was measured.

Each claim is a module `operant.evidence.<family>.<method>` of functions marked by `@check`. What a check says, its test bed, its baseline and its threshold
stand there and are fixed before it is run. Results are files in `results/`, shipped with the package: the table of methods is made from them.

A record holds each check with what it says, its tier, whether it holds (None: not measured, or, of a record made before claims were lists of checks, not told
apart), its figures and the index of the run of `operant evidence` that measured it; `runs` say when and on what, and the digest of the code (`sources`).
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from operant.core.commands import command_line, importing
from operant.core.errors import BadInput, RunFailed, unknown
from operant.core.files import read_json, write_atomic
from operant.core.index import Register, check_texts, declared
from operant.core.registry import imported_files
from operant.core.schema import CLAIM, require
from operant.core.sources import closure, digest, texts

VERDICTS = ("reproduced", "partly", "not reproduced")
Tier = Literal["exact", "small", "real"]
TIERS: dict[Tier, str] = {
    "exact": "computed, not estimated; runs with the tests",
    "small": "trained or sampled within minutes, on test beds of our own",
    "real": "trained on what others publish: MuJoCo, OGBench, beside another library",
}
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        holds: whether what it says is so.
        figures: numbers by name, with intervals and thresholds, ready for JSON.
        seeds: how many seeds of training or sampling stand behind them; 0 where nothing was drawn.
    """

    holds: bool
    figures: dict[str, Any]
    seeds: int = 0


@dataclass(frozen=True)
class Check:
    """One part of a claim.

    Attributes:
        name: what it is called within its claim.
        says: one sentence, with the threshold.
        tier: see `TIERS`.
        measure: `(directory) → Finding`; runs go into the directory, which is the same for all checks of one sitting.
        theorem: the statement that it checks, where that is a rate, a bound or an identity somebody proved, in a few words; empty elsewhere.
    """

    name: str
    says: str
    tier: Tier
    measure: Callable[[Path], Finding]
    theorem: str = ""


@dataclass(frozen=True)
class Claim:
    """What is claimed of one method, a study or a peer: its checks by name, in their order."""

    key: str
    checks: dict[str, Check] = field(default_factory=dict)

    @property
    def module(self) -> str:
        return next(iter(self.checks.values())).measure.__module__


_claims: Register[Claim] = Register("evidence", "claim", "`operant evidence --list` lists what there is", decorator="check", once=False)


def check(key: str, name: str, tier: Tier, says: str, *, theorem: str = ""):
    """Register a check of a claim (see `Check`). Those with a theorem are in the table of `operant study bounds`."""

    def register(measure: Callable[[Path], Finding]) -> Callable[[Path], Finding]:
        _claims.check_key(key, measure.__module__)
        check_texts(f"check of {key}", name=name, says=says)
        if tier not in TIERS:
            raise unknown(f"tier of check {name!r} of {key}:", str(tier), TIERS)
        entry = _claims.entries.setdefault(key, Claim(key))
        known = entry.checks.get(name)
        if known is not None and known.measure.__qualname__ != measure.__qualname__:
            raise BadInput(f"check {name!r} of {key} is there twice: by {known.measure.__qualname__} and by {measure.__qualname__}")
        entry.checks[name] = Check(name, says, tier, measure, theorem)
        return measure

    return register


def claims() -> dict[str, Claim]:
    """All claims by method key."""
    return _claims.all()


def get_claim(key: str) -> Claim:
    """The claim of a method (see `Register.get`)."""
    return _claims.get(key)


def chosen(key: str, names: Collection[str] = (), tier: str | None = None) -> list[Check]:
    """The checks of a claim that have one of these names (of none: all) and are of this tier.

    Raises:
        BadInput: no claim of that key, no check of a name or tier.
    """
    entry = get_claim(key)
    for name in names:
        if name not in entry.checks:
            raise unknown(f"check of {key}", name, entry.checks, f"`operant evidence {key} --list` lists them")
    found = [each for each in entry.checks.values() if (not names or each.name in names) and tier in (None, each.tier)]
    if not found:
        raise BadInput(f"{key} has no such check of tier {tier}: its checks are {', '.join(f'{each.name} ({each.tier})' for each in entry.checks.values())}")
    return found


def run(key: str, names: Collection[str] = (), tier: str | None = None, *, results: Path = RESULTS) -> dict[str, Any]:
    """Test one claim, or some of its checks; its record, which is also written to `results`/KEY.json after each check.

    What the record there said of the other checks stays.

    Raises:
        BadInput: see `chosen`.
    """
    entry, asked = get_claim(key), chosen(key, names, tier)
    from operant.core.run import machine

    started, before = time.perf_counter(), recorded(key, results)
    narrowed = [word for name in names for word in ("--check", name)] + (["--tier", tier] if tier else [])
    command = command_line("evidence", key, *narrowed, *importing(imported_files()))
    of = {"command": command, "commit": _commit(), "sources": sources(key)} | machine()
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix=f"operant-evidence-{key}-") as folder:
        for each in asked:
            began = time.perf_counter()
            finding = each.measure(Path(folder))
            taken = round(time.perf_counter() - began, 1)
            found[each.name] = {"holds": bool(finding.holds), "figures": finding.figures, "seeds": finding.seeds, "seconds": taken}
            bases = base_policies("; ".join(each.says for each in asked if each.name in found))
            result = merged(entry, before, found, of | {"seconds": round(time.perf_counter() - started, 1), "base_policy": bases})
            _keep(result, results)
    return result


def _keep(record: dict[str, Any], results: Path) -> None:
    key = record["key"]
    try:
        results.mkdir(parents=True, exist_ok=True)
        write_atomic(results / f"{key}.json", json.dumps(record, indent=1, default=lambda number: number.item()) + "\n")
    except OSError as error:
        raise RunFailed(f"the result of {key} ({record['verdict']}) could not be kept in {results}: {error.strerror}") from error


def take_in(record: dict[str, Any], results: Path = RESULTS) -> dict[str, Any]:
    """What a record of another folder has measured, put into the one in `results`, which is given back."""
    key = record["key"]
    entry, found = get_claim(key), recorded(key, results)
    for index, of in enumerate(record["runs"]):
        measured = {each["name"]: each for each in record["checks"] if each["run"] == index}
        found = merged(entry, found, measured, of)
    _keep(found, results)
    return found


def merged(entry: Claim, before: dict[str, Any] | None, found: dict[str, dict[str, Any]], sitting: dict[str, Any]) -> dict[str, Any]:
    """A claim's record with what one sitting found, and what was recorded before of its other checks, where they said the same."""
    old = {} if before is None else {(each["name"], each["says"]): (each, before["runs"][each["run"]]) for each in before["checks"] if each["run"] is not None}
    runs: list[dict[str, Any]] = []
    checks = []
    for each in entry.checks.values():
        if each.name in found:
            body, of = found[each.name], sitting
        elif (each.name, each.says) in old:
            body, of = old[each.name, each.says]
        else:
            body, of = {"holds": None}, None
        if of is not None and of not in runs:
            runs.append(of)
        said = {"name": each.name, "says": each.says, "tier": each.tier}
        checks.append({**said, **{name: value for name, value in body.items() if name not in said}, "run": None if of is None else runs.index(of)})
    return {"key": entry.key, "verdict": verdict(checks), "checks": checks, "runs": runs}


def verdict(checks: Collection[dict[str, Any]]) -> str:
    """The whole verdict of checks: "reproduced" where every one holds, "partly" where some do; "untested" where none does and not all were measured."""
    held = [each["holds"] for each in checks]
    if all(held):
        return "reproduced"
    return "partly" if any(held) else "untested" if None in held else "not reproduced"


def measured(record: dict[str, Any]) -> int:
    """How many checks of a record were measured."""
    return sum(each["holds"] is not None for each in record["checks"])


def sources(key: str) -> str:
    """The digest of the code that a claim's record rests on: its file, the files of the methods and studies that it names, and all that they import.

    The frame of claims itself (this module) is left out.
    """
    module = get_claim(key).module
    named = declared("methods", "method") | declared("studies", "study")
    return digest(closure([module, *(named[name] for name in {key, *texts(module)} & named.keys())], without={__name__}))


def freshness(key: str, results: Path = RESULTS) -> dict[str, str]:
    """How each check of a claim stands to the code: "fresh"; "changed" since it was measured; "unknown", of a record that has no digest; "untested"."""
    record, now = recorded(key, results), sources(key)
    found = dict.fromkeys(get_claim(key).checks, "untested")
    for each in [] if record is None else record["checks"]:
        if each["run"] is not None and each["name"] in found:
            had = record["runs"][each["run"]]["sources"]
            found[each["name"]] = "unknown" if had is None else "fresh" if had == now else "changed"
    return found


def of_family(family: str, tier: str | None = None) -> dict[str, list[str]]:
    """The checks of the claims of a family, by key.

    Args:
        family: a folder of this package, as methods have it: "online".
        tier: checks of this tier alone.

    Raises:
        BadInput: no claim is of that family.
    """
    families = {key: entry.module.removeprefix(f"{__name__}.").partition(".")[0] for key, entry in claims().items()}
    if family not in families.values():
        raise unknown("family of claims", family, set(families.values()))
    asked = {key: [each.name for each in get_claim(key).checks.values() if tier in (None, each.tier)] for key, its in families.items() if its == family}
    return {key: names for key, names in asked.items() if names}


def due(asked: Mapping[str, Collection[str]], results: Path = RESULTS) -> dict[str, list[str]]:
    """Of checks by key, those that are not recorded of the code as it is."""
    found = {}
    for key, names in asked.items():
        how = freshness(key, results)
        found[key] = [name for name in names if how[name] != "fresh"]
    return {key: names for key, names in found.items() if names}


def base_policies(claim: str) -> dict[str, Any]:
    """The base policies that a claim's runs started from, by the tasks that it names: {"text:…": {"recipe": version, "pass@1"}}; the check has made them.

    In records of recipe 1, pass@1 is what was measured before training, on held-out problems as training runs are evaluated.
    """
    from operant.loops.base_policy import made_base_policy
    from operant.worlds import make_world

    named = sorted(set(re.findall(r"(?:text|preferences):[a-z]+(?:-[a-z]+)*", claim)))
    found = {task: made_base_policy(make_world(task).base_world()) for task in named}
    return {task: made for task, made in found.items() if made is not None}


def figures_text(figures: Any) -> str:
    """The figures of an evidence in one line: `CartPole-v1 return 498.2 [490.1, 500], CartPole-v1 steps 99328`."""
    return ", ".join(f"{name} {value}" for name, value in flat_figures(figures)) if figures else ""


def flat_figures(value: Any, name: str = "") -> list[tuple[str, str]]:
    """The figures of an evidence as names and texts, an interval beside what it is of."""
    if isinstance(value, dict) and {"iqm", "low", "high"} <= set(value):  # a score object: one figure with its interval, and what stands beside it
        interval = "" if value["low"] is None else f" [{_number(value['low'])}, {_number(value['high'])}]"
        rest = {key: item for key, item in value.items() if key not in ("name", "iqm", "low", "high", "level", "per_seed")}
        return [(f"{name} {value.get('name', 'IQM')}".strip(), _number(value["iqm"]) + interval), *flat_figures(rest, name)]
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in flat_figures(item, f"{name} {key}".strip().replace("_", " "))]
    if isinstance(value, list):
        return [(name, " / ".join(_number(item) for item in value))]
    return [(name, _number(value))]


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _commit() -> str | None:
    """The commit of the checkout that the package is run from; None where it is no checkout."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def recorded(key: str, results: Path = RESULTS) -> dict[str, Any] | None:
    """What was measured of a claim, None where nothing was. Raises `BadInput` for a file that is no record."""
    path = results / f"{key}.json"
    return require(read_json(path), CLAIM, path) if path.exists() else None
