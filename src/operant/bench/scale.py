"""What a member on a Ray cluster costs over a plain process, and what workers beside one run give it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from operant.bench.harness import aligned, bench, start

FIGURES = {
    "plain": ("a plain process, s", 2),
    "member": ("a member on Ray, s", 2),
    "cluster": ("a cluster of this machine until its first member and from its last, s", 2),
    "member_mib": ("memory of a member beside its process, MiB", 0),
    "cluster_mib": ("memory of the cluster itself, MiB", 0),
}
WORKERS = {
    "alone": ("one process", 0),
    "workers_1": ("--sample-workers 1", 0),
    "workers_2": ("--sample-workers 2", 0),
    "workers_4": ("--sample-workers 4", 0),
    "workers_1_stale": ("--sample-workers 1 --staleness 1", 0),
    "workers_4_stale": ("--sample-workers 4 --staleness 1", 0),
}
"""Environment steps a second of PPO on 8 environments whose steps take 5 ms each."""


@dataclass(frozen=True)
class Scale:
    """A bench of members and of workers."""

    about = (
        "a short training as a process and as a member of `--cluster local`, one after the other (memory is what is not shared, at its most), and environment "
        "steps a second of PPO on 8 environments whose steps take 5 ms each, by processes that sample"
    )
    unit = "members, and environment steps a second"

    def measure(self, name: str, repeats: int, report: Callable[[str], None]) -> dict:
        """All figures `repeats` times; the medians.

        Returns:
            {"figures": {"plain", "member", "cluster" (seconds), "member_mib", "cluster_mib", where Ray is installed, and by the names of `WORKERS` steps a
            second}, "repeated": [each one a repeat]}
        """
        ray = find_spec("ray") is not None
        if not ray:
            report("members are left out, for Ray is not installed: pip install 'operant[cluster]'")
        said = []
        for repeat in range(repeats):
            said.append(_said("operant_members", name) if ray else {})
            if ray:
                report(f"a member {said[-1]['member']:.2f} s, a plain process {said[-1]['plain']:.2f} s (run {repeat + 1} of {repeats})")
            said[-1] |= _said("operant_workers", name)
            steps = f"{said[-1]['workers_4']:,.0f} steps/s with 4 workers, {said[-1]['alone']:,.0f} with none"
            report(f"{steps} (run {repeat + 1} of {repeats})")
        return {"figures": {key: statistics.median(each[key] for each in said) for key in said[0]}, "repeated": said}

    def lines(self, result: dict) -> list[str]:
        figures = result["figures"]
        rows = [(label, f"{figures[key]:.{digits}f}") for key, (label, digits) in FIGURES.items() if key in figures]
        if rows:
            rows.append(("a member over a plain process, s", f"{figures['member'] - figures['plain']:.2f}"))
        alone = figures["alone"]
        rows += [(f"{label}, steps/s", f"{figures[key]:,.{digits}f} ({figures[key] / alone:.2f} ×)") for key, (label, digits) in WORKERS.items()]
        return ["", *aligned(rows)]


def _said(peer: str, name: str) -> dict[str, float]:
    return json.loads(start(("-m", f"operant.bench.peers.{peer}"), name, threads=1).strip().splitlines()[-1])


@bench("scale")
def scale() -> Scale:
    return Scale()
