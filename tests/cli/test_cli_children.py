"""`compare --jobs`: its trainings end with it, whatever ends it, and lose nothing."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from long_tier import turns

RESTS_ON = ("src/operant/cli/children.py", "src/operant/cli/main.py", "src/operant/loops/runner.py")
WORDS = ("--task", "sequences:target", "--steps", "2000000", "--jobs", "2")


def alive(pid: int) -> bool:
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("name", turns(["SIGTERM", "SIGHUP", "SIGKILL"], *RESTS_ON, always=("SIGKILL",)))
def test_the_trainings_of_a_comparison_end_with_it(name: str, start, tmp_path: Path):
    number = signal.Signals[name]
    out = tmp_path / "out"
    process = start("compare", "--methods", "grpo", *WORDS, "--out", out)
    run = out / "grpo"
    deadline = time.monotonic() + 120
    while not (run / "metrics.jsonl").exists():
        assert not process.ended and time.monotonic() < deadline, [path.read_text() for path in out.glob("*.log")]
        time.sleep(0.02)
    child = int((run / "lock").read_text().split()[1])
    process.send(number)
    code = process.wait(60)
    while alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (run / "checkpoints" / "last" / "manifest.json").exists()  # the first signal saves
    assert "state saved; go on with: operant resume" in (out / "grpo.log").read_text()
    if number != signal.SIGKILL:
        assert code == 130
        assert process.said.splitlines()[-1].startswith("operant: error: interrupted, each run's state saved; go on with: operant compare --methods grpo ")
