"""What a member on a Ray cluster costs over a plain process, what workers beside one run give it, and how long weights take to another process."""

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
CHEETAH = {
    "cheetah_alone": ("HalfCheetah, one process", 0),
    "cheetah_workers_2": ("HalfCheetah, --sample-workers 2", 0),
    "cheetah_workers_2_stale": ("HalfCheetah, --sample-workers 2 --staleness 1", 0),
}
"""The same on 8 copies of HalfCheetah, where MuJoCo is installed."""
ANSWERS = {
    "answers_alone": ("GRPO, one process", 0),
    "answers_workers_2": ("GRPO, --sample-workers 2", 0),
    "answers_workers_1_stale": ("GRPO, --sample-workers 1 --staleness 1", 0),
    "answers_workers_2_stale": ("GRPO, --sample-workers 2 --staleness 1", 0),
}
"""Answers a second of GRPO, 256 an iteration, of which each takes 5 ms to be judged."""
HAND_OVER = {"collective": "a collective (gloo)", "shared": "shared memory", "object_store": "Ray's object store"}
"""Seconds until another process has a copy of weights."""


@dataclass(frozen=True)
class Scale:
    """A bench of members and of workers."""

    about = (
        "a short training as a process and as a member of `--cluster local`, one after the other (memory is what is not shared, at its most), and environment "
        "steps a second of PPO on 8 environments whose steps take 5 ms each and on HalfCheetah, and answers a second of GRPO of which each takes 5 ms to be "
        "judged, by processes that sample; and how long 1, 10 and 100 MB of weights take to another process"
    )
    unit = "members, environment steps a second, and weights handed over"

    def measure(self, name: str, repeats: int, report: Callable[[str], None]) -> dict:
        """All figures `repeats` times; the medians.

        Returns:
            {"figures": {"plain", "member", "cluster" (seconds), "member_mib", "cluster_mib", where Ray is installed, and by the names of `WORKERS` steps a
            second, of `CHEETAH` where MuJoCo is, of `ANSWERS` answers a second, and seconds by "collective_1" and its like}, "repeated": [each one a repeat]}
        """
        ray = find_spec("ray") is not None
        if not ray:
            report("members are left out, for Ray is not installed: pip install 'operant[cluster]'")
        said = []
        for repeat in range(repeats):
            said.append(_said("operant_members", name) if ray else {})
            if ray:
                report(f"a member {said[-1]['member']:.2f} s, a plain process {said[-1]['plain']:.2f} s (run {repeat + 1} of {repeats})")
            said[-1] |= _said("operant_workers", name) | _said("operant_handover", name)
            steps = f"{said[-1]['workers_4']:,.0f} steps/s with 4 workers, {said[-1]['alone']:,.0f} with none"
            report(f"{steps} (run {repeat + 1} of {repeats})")
        return {"figures": {key: statistics.median(each[key] for each in said) for key in said[0]}, "repeated": said}

    def lines(self, result: dict) -> list[str]:
        figures = result["figures"]
        rows = [(label, f"{figures[key]:.{digits}f}") for key, (label, digits) in FIGURES.items() if key in figures]
        if rows:
            rows.append(("a member over a plain process, s", f"{figures['member'] - figures['plain']:.2f}"))
        for alone, labels, unit in (("alone", WORKERS, "steps"), ("cheetah_alone", CHEETAH, "steps"), ("answers_alone", ANSWERS, "answers")):
            some = {key: label for key, label in labels.items() if key in figures}
            rows += [(f"{label}, {unit}/s", f"{figures[key]:,.{digits}f} ({figures[key] / figures[alone]:.2f} ×)") for key, (label, digits) in some.items()]
        for way, label in HAND_OVER.items():
            sizes = [key.rpartition("_")[2] for key in figures if key.rpartition("_")[0] == way]
            if sizes:
                times = " / ".join(f"{1000 * figures[f'{way}_{size}']:.3g}" for size in sizes)
                rows.append((f"{' / '.join(sizes)} MB of weights by {label}, ms", times))
        return ["", *aligned(rows)]


def _said(peer: str, name: str) -> dict[str, float]:
    return json.loads(start(("-m", f"operant.bench.peers.{peer}"), name, threads=1).strip().splitlines()[-1])


@bench("scale")
def scale() -> Scale:
    return Scale()
