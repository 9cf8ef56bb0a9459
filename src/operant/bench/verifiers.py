"""How fast answers are scored in child processes, and what it costs to start."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from operant.bench.harness import aligned, bench, start

# What is scored (`peers.operant_verifiers`), how many answers, and by how many workers.
ROWS = (
    ("a callable", "callable", 5000, 1),
    ("regex", "regex", 5000, 1),
    ("python-tests, two assertions", "tests", 200, 1),
    ("python-tests, a program", "program", 200, 1),
    ("python-tests, a program of 0.1 s", "slow", 40, 1),
    ("python-tests, a program of 0.1 s", "slow", 40, 4),
)


@dataclass(frozen=True)
class Verifiers:
    """A bench of verifiers in child processes."""

    about = "answers scored in child processes; the start is until the first judge waits, its memory that of its largest process"
    unit = "answers"

    def measure(self, name: str, repeats: int, report: Callable[[str], None]) -> dict:
        """Each row `repeats` times; the medians.

        Returns:
            {"rows": [{"work", "workers", "per_second", "processor_ms" (an answer, of all processes), "start" (seconds), "memory_mib"}]}
        """
        rows = []
        for label, work, answers, workers in ROWS:
            arguments = ("-m", "operant.bench.peers.operant_verifiers", "--work", work, "--answers", str(answers), "--workers", str(workers))
            said = [json.loads(start(arguments, name, threads=1).strip().splitlines()[-1]) for _ in range(repeats)]
            rows.append({"work": label, "workers": workers} | {key: statistics.median(each[key] for each in said) for key in said[0]})
            report("  ".join(self._cells(rows[-1])))
        return {"rows": rows}

    def lines(self, result: dict) -> list[str]:
        head = ("", "workers", "answers/s", "processor ms an answer", "start, s", "MiB")
        return ["", *aligned([head, *map(self._cells, result["rows"])])]

    def _cells(self, row: dict) -> tuple[str, ...]:
        return row["work"], str(row["workers"]), f"{row['per_second']:,.0f}", f"{row['processor_ms']:.2f}", f"{row['start']:.2f}", f"{row['memory_mib']:.0f}"


@bench("verifiers")
def verifiers() -> Verifiers:
    return Verifiers()
