"""One verifier scoring the same answers again and again. Prints {"start", "memory_mib", "per_second", "processor_ms"}: seconds until it was ready, the most
that one of its processes had in memory then, answers a second, and the processor's time an answer (of all processes)."""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from pathlib import Path


def length(problem, completion: str) -> float:
    """The callable that is measured."""
    return float(len(completion))


FUNCTION = "Here it is:\n```python\ndef f(x):\n    return 2 * x\n```"
WORK = {
    "callable": ("operant.bench.peers.operant_verifiers:length", {}, "x" * 200),
    "regex": ("regex", {}, "x" * 200),
    "tests": ("python-tests", {"tests": ["assert f(1) == 2", "assert f(2) == 4"]}, FUNCTION),
    "program": ("python-tests", {"tests": [["3\n", "6\n"]]}, "print(2 * int(input()))"),
    "slow": ("python-tests", {"tests": [["3\n", "6\n"]]}, "import time\ntime.sleep(0.1)\nprint(2 * int(input()))"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=WORK, required=True)
    parser.add_argument("--answers", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    given = parser.parse_args()

    from operant.worlds.text.builtin_verifiers import make_verifier
    from operant.worlds.text.tasks import Problem
    from operant.worlds.text.verifiers import scorer

    verifier, metadata, completion = WORK[given.work]
    problem = Problem("?", ".*", metadata)
    begin = time.perf_counter()
    pool = scorer(make_verifier(verifier), workers=given.workers)
    found = {"start": time.perf_counter() - begin, "memory_mib": _memory_of_children()}
    pool.score([(problem, completion)] * given.workers)
    begin, before = time.perf_counter(), time.process_time()
    verdicts = pool.score([(problem, completion)] * given.answers)
    found |= {"per_second": given.answers / (time.perf_counter() - begin)}
    assert all(verdict.value > 0 for verdict in verdicts), verdicts[0]
    pool.close()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    found["processor_ms"] = 1000 * (time.process_time() - before + children.ru_utime + children.ru_stime) / given.answers
    print(json.dumps(found))


def _memory_of_children() -> float:
    """The most that a process below this one has in memory, in MiB."""
    family, most = {os.getpid()}, 0
    for _ in range(8):  # generations
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if int(Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1]) in family and int(entry) not in family:
                    family.add(int(entry))
                    most = max(most, int(Path("/proc", entry, "statm").read_text().split()[1]))
            except OSError:
                continue
    return most * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()
