"""A short training as a process, and as members of a cluster, one at a time. Prints {"plain", "member", "cluster", "member_mib", "cluster_mib"}."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
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


def run(*words: str) -> tuple[float, list[float], float, float]:
    """Seconds of a command, and of each of its members; the most that a member had beside its process, and that the cluster had besides, MiB."""
    member = cluster = 0.0
    said: list[tuple[float, str]] = []
    with tempfile.TemporaryDirectory(prefix="operant-bench-") as folder:
        command = [sys.executable, "-m", "operant", *TRAIN, *words, "--out", str(Path(folder) / "run")]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        reader = threading.Thread(target=lambda: said.extend((time.perf_counter(), line) for line in process.stderr))
        reader.start()
        while process.poll() is None:
            of = processes()
            beside = next((pid for pid, (_, words) in of.items() if "operant.cli.children" in words and folder in words), None)
            if beside is not None:
                inner = set(below(of[beside][0], of))
                member = max(member, memory([beside, of[beside][0]]))
                cluster = max(cluster, memory([pid for pid in below(process.pid, of) if pid != process.pid and pid not in inner]))
            time.sleep(0.1)
        taken = time.perf_counter() - began
        reader.join()
        if process.returncode:
            raise SystemExit("".join(line for _, line in said)[-2000:])
    begun = {line.partition(":")[0]: at for at, line in said if ": begun, log in" in line}
    return taken, [at - begun[line.partition(":")[0]] for at, line in said if line.endswith(": done\n")], member, cluster


def main() -> None:
    plain = statistics.median(run()[0] for _ in range(MEMBERS))
    taken, members, member_mib, cluster_mib = run("--seeds", str(MEMBERS), "--cluster", "local", "--jobs", "1")
    found = {"plain": plain, "member": statistics.median(members), "cluster": taken - sum(members)}
    print(json.dumps(found | {"member_mib": member_mib, "cluster_mib": cluster_mib}))


if __name__ == "__main__":
    main()
