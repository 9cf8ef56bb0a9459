"""What a member on a Ray cluster costs over a plain process."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from operant.bench.harness import aligned, bench, require, start

FIGURES = {
    "plain": ("a plain process, s", 2),
    "member": ("a member on Ray, s", 2),
    "cluster": ("a cluster of this machine until its first member and from its last, s", 2),
    "member_mib": ("memory of a member beside its process, MiB", 0),
    "cluster_mib": ("memory of the cluster itself, MiB", 0),
}


@dataclass(frozen=True)
class Scale:
    """A bench of members."""

    about = "a short training as a process and as a member of `--cluster local`, one after the other; memory is what is not shared, at its most"
    unit = "members"

    def measure(self, name: str, repeats: int, report: Callable[[str], None]) -> dict:
        """All figures `repeats` times; the medians.

        Returns:
            {"figures": {"plain", "member", "cluster" (seconds), "member_mib", "cluster_mib"}, "repeated": [each one a repeat]}
        """
        require(name, ("ray",), "cluster")
        said = []
        for repeat in range(repeats):
            said.append(json.loads(start(("-m", "operant.bench.peers.operant_members"), name, threads=1).strip().splitlines()[-1]))
            report(f"a member {said[-1]['member']:.2f} s, a plain process {said[-1]['plain']:.2f} s (run {repeat + 1} of {repeats})")
        return {"figures": {key: statistics.median(each[key] for each in said) for key in FIGURES}, "repeated": said}

    def lines(self, result: dict) -> list[str]:
        figures = result["figures"]
        more = figures["member"] - figures["plain"]
        rows = [(label, f"{figures[key]:.{digits}f}") for key, (label, digits) in FIGURES.items()]
        return ["", *aligned([*rows, ("a member over a plain process, s", f"{more:.2f}")])]


@bench("scale")
def scale() -> Scale:
    return Scale()
