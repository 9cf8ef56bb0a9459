"""A short training as a process, and as members of a cluster, one at a time. Prints {"plain", "member", "cluster", "member_mib", "cluster_mib"}."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

TRAIN = ("train", "grpo", "--task", "sequences:target", "--steps", "2", "--episodes", "1")
MEMBERS = 4


def processes() -> dict[int, tuple[int, str]]:
    """Parent and command line of each process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1]), words
        except OSError:
            continue
    return found


def memory(pids: Sequence[int]) -> float:
    """What processes have in memory that they do not share, and their parts of what they do, MiB."""
    total = 0
    for pid in pids:
        try:
            lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def below(root: int, of: dict[int, tuple[int, str]]) -> list[int]:
    """The processes below one, and itself."""
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += [pid for pid, (parent, _) in of.items() if parent == found[-1]]
    return found


def run(*words: str) -> tuple[float, float, float]:
    """Seconds of a command; the most that a member had beside its process, and that the cluster had besides, MiB."""
    member = cluster = 0.0
    with tempfile.TemporaryDirectory(prefix="operant-bench-") as folder, open(Path(folder) / "said", "w+") as said:
        command = [sys.executable, "-m", "operant", *TRAIN, *words, "--out", str(Path(folder) / "run")]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        while process.poll() is None:
            of = processes()
            beside = next((pid for pid, (_, words) in of.items() if "operant.cli.children" in words and folder in words), None)
            if beside is not None:
                own = [beside, of[beside][0]]
                inner = set(below(of[beside][0], of))
                member = max(member, memory(own))
                cluster = max(cluster, memory([pid for pid in below(process.pid, of) if pid != process.pid and pid not in inner]))
            time.sleep(0.1)
        taken = time.perf_counter() - began
        if process.returncode:
            said.seek(0)
            raise SystemExit(said.read()[-2000:])
    return taken, member, cluster


def main() -> None:
    plain, _, _ = run()
    there = ("--cluster", "local", "--jobs", "1")
    one, _, _ = run("--seeds", "1", *there)
    several, member_mib, cluster_mib = run("--seeds", str(MEMBERS), *there)
    member = (several - one) / (MEMBERS - 1)
    print(json.dumps({"plain": plain, "member": member, "cluster": one - member, "member_mib": member_mib, "cluster_mib": cluster_mib}))


if __name__ == "__main__":
    main()
