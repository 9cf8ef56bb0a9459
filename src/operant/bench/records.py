"""What benches have measured, by processor, and the table of it: `operant bench NAME --record` keeps a result, `operant bench --write FILE` writes the table.

Results are files in `results/`, shipped with the package: of each comparison the newest on each processor. The README's table is made of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from operant.bench.harness import RATES, Comparison, find, names, pace
from operant.core.errors import BadInput, RunFailed
from operant.core.files import write_atomic, write_marked

RESULTS = Path(__file__).parent / "results"
MARK = "operant bench --write"
HEAD = ("Work", "Processor", "Peer", "Peer's", "Operant's", "Ratio", "Aim", "")


def check(name: str) -> None:
    """Raises `BadInput` where a bench compares with no peer, so that there is nothing to record."""
    if not isinstance(find(name), Comparison):
        raise BadInput(f"--record: {name} compares with no peer, and the table holds ratios")


def record(result: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Keep the result of a comparison, in the place of an earlier one on the same processor; the file. Raises `RunFailed` where nothing can be written."""
    name = result["bench"]
    others = [each for each in recorded(name, folder) if each["machine"]["processor"] != result["machine"]["processor"]]
    path = folder / f"{name}.json"
    text = json.dumps(sorted([*others, result], key=lambda each: each["machine"]["processor"]), indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text + "\n")
    except OSError as error:
        raise RunFailed(f"the result of {name} could not be kept in {folder}: {error.strerror}") from error
    return path


def recorded(name: str, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The results that were kept of a bench."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else []


def markdown(folder: Path = RESULTS) -> str:
    """The table of all that is kept: a line for each of our settings that its bench still has and each processor, aims as they are now; and below it how each
    line was measured."""
    rows, notes = [HEAD, ("---",) * len(HEAD)], []
    for name in names():
        entry = find(name)
        if not isinstance(entry, Comparison):
            continue
        kept = recorded(name, folder)
        for ours in entry.ours:
            rows += [_row(entry, result, ours.label, ours.target) for result in kept if ours.label in result["ratio"]]
        notes += [_note(name, result) for result in kept]
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join([*lines, "", *notes]) + "\n"


def write_table(path: Path, folder: Path = RESULTS) -> None:
    """Put the table into a Markdown file, between its two marks. Raises `BadInput` as `write_marked`."""
    write_marked(path, MARK, markdown(folder))


def _row(entry: Comparison, result: dict[str, Any], label: str, target: float) -> tuple[str, ...]:
    key, beside, ratio = RATES[entry.basis], result["beside"][label], result["ratio"][label]
    unit = {"environment steps": "steps", "GRPO steps": "steps"}.get(entry.unit, entry.unit)
    version = result["versions"].get(entry.package)
    return (
        f"{entry.title}: {label.removeprefix('operant, ')}" if label != "operant" else entry.title,
        result["machine"]["processor"],
        f"{beside} ({version})" if version else beside,
        f"{pace(result['peers'][beside][key])} {unit}/s",
        f"{pace(result['ours'][label][key])} {unit}/s",
        f"{ratio:.2f}×",
        f"{target:g}×",
        "reached" if ratio >= target else "missed",
    )


def _note(name: str, result: dict[str, Any]) -> str:
    machine, repeats = result["machine"], result["repeats"]
    said = "one run" if repeats == 1 else f"medians of {repeats} runs"
    load = "load not recorded" if machine["load"] is None else f"load {machine['load']:.1f} before it"
    basis = "whole processes" if result["basis"] == "process" else "training alone"
    return f"- `{name}`, {machine['processor']}: {machine['cores']} cores, {result['date']}, {said}, {basis}, {load}."
