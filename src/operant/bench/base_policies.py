"""How surely a recipe for base policies or teachers gets there: every text task, several seeds, on two kinds of matrix kernel."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

from operant.bench.harness import aligned, bench, start
from operant.worlds.text.tasks import TEXT_TASKS

# Kernels round differently, so a recipe that lives on one processor's rounding shows.
KERNELS = {"native": {}, "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}}


@dataclass(frozen=True)
class Recipe:
    """A bench of what makes models from scratch.

    Attributes:
        what: "base policy" or "teacher".
        tasks: text tasks, by the name behind the colon.
    """

    what: str
    tasks: tuple[str, ...] = tuple(TEXT_TASKS)
    unit = "updates"

    @property
    def about(self) -> str:
        return f"the {self.what} of every text task, made from scratch on one thread; seconds are the processor's"

    def measure(self, name: str, repeats: int, report: Callable[[str], None]) -> dict:
        """Makes `repeats` of them, seeds 0 on, for each task and kernel.

        Returns:
            {"rows": [{"task", "what", "kernel", "seeds": what `peers.operant_base_policies` prints of each}]}
        """
        rows = []
        arguments = ("-m", "operant.bench.peers.operant_base_policies", "--seeds", str(repeats), *(["--teacher"] if self.what == "teacher" else []))
        for task in self.tasks:
            for kernel, variables in KERNELS.items():
                with tempfile.TemporaryDirectory(prefix="operant-bench-") as cache:
                    said = start((*arguments, "--task", f"text:{task}"), name, threads=1, variables=variables | {"OPERANT_CACHE": cache})
                rows.append({"task": task, "what": self.what, "kernel": kernel, "seeds": [json.loads(line) for line in said.splitlines() if line[:1] == "{"]})
                report("  ".join(self._cells(rows[-1])))
        return {"rows": rows}

    def lines(self, result: dict) -> list[str]:
        head = ("task", "what", "kernel", "seeds in range", "pass@1", "updates, median / most", "seconds, median / most", "restarts")
        return ["", *aligned([head, *map(self._cells, result["rows"])])]

    def _cells(self, row: dict) -> tuple[str, ...]:
        made = [seed for seed in row["seeds"] if seed["failed"] is None]
        reached = f"{len(made)} of {len(row['seeds'])}"
        if not made:
            return row["task"], row["what"], row["kernel"], reached, "", "", "", ""
        scores, updates, seconds = ([seed[name] for seed in made] for name in ("pass@1", "updates", "seconds"))
        return (
            row["task"],
            row["what"],
            row["kernel"],
            reached,
            f"{min(scores):.2f} to {max(scores):.2f}",
            f"{statistics.median(updates):,.0f} / {max(updates):,}",
            f"{statistics.median(seconds):.0f} / {max(seconds):.0f}",
            str(sum(seed["restarts"] for seed in made)),
        )


@bench("base-policies")
def base_policies() -> Recipe:
    return Recipe("base policy")


@bench("teachers")
def teachers() -> Recipe:
    return Recipe("teacher")
