"""Killed at random moments (start-up, training, evaluation, the writing of checkpoints): the run goes on and ends in the bits of one that never
stopped."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from long_tier import turns

from operant.cli.main import main

RESTS_ON = ("src/operant/core/checkpoint.py", "src/operant/core/run.py", "src/operant/core/files.py", "src/operant/loops/runner.py")
MAZE = "ogbench:pointmaze-medium-navigate-singletask-v0"
SMALL = ("--hidden", "16,16")
RUNS = {
    "ppo": ("gym:CartPole-v1", 960, "--every", 64, "--seeds", 2, "--environments", 2, "--rollout-length", 16, *SMALL),
    "sac-v2": ("gym:Pendulum-v1", 600, "--every", 100, "--learning-starts", 50, "--batch-size", 8, *SMALL),
    "stream-ac": ("gym:Pendulum-v1", 3_000, "--every", 500, "--seeds", 2, *SMALL),
    "iql": (MAZE, 600, "--every", 200, "--seeds", 2, "--batch-size", 8, *SMALL),
    "bc": (MAZE, 800, "--every", 200, "--seeds", 2, "--batch-size", 8, *SMALL),
    "sft": ("text:arithmetic", 100, "--every", 50, "--batch-size", 4),
    "grpo": ("text:arithmetic", 4, "--every", 1, "--seeds", 2, "--prompts", 4, "--group-size", 4),
    "dpo": ("preferences:arithmetic", 400, "--every", 100, "--batch-size", 2),
    "reward-model": ("preferences:arithmetic", 400, "--every", 100, "--batch-size", 2),
}
KILLS = {"ppo": 4, "sac-v2": 3, "stream-ac": 3, "iql": 3, "bc": 3, "sft": 3, "grpo": 3, "dpo": 2, "reward-model": 2}


def words(method: str, out: Path, *, every: int | None = None) -> list[str]:
    task, steps, *rest = RUNS[method]
    if every is not None:
        rest[rest.index("--every") + 1] = every
    return [str(word) for word in ("train", method, "--task", task, "--steps", steps, "--threads", 1, "--episodes", 1, "--out", out, *rest)]


def rows(run: Path) -> int:
    try:
        return (run / "metrics.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def next_words(method: str, run: Path) -> list[str]:
    """What a person types after a kill: train again where there is no run yet, else resume."""
    if (run / "run.json").exists():
        return ["resume", str(run)]
    return words(method, run)


@pytest.mark.parametrize("method", turns(RUNS, *RESTS_ON, always=("ppo",)))
def test_a_killed_run_ends_in_the_same_bits(method: str, start, process_environment, tmp_path: Path):
    assert sum(KILLS.values()) == 26
    rng = random.Random(f"killed {method}")
    whole, run = tmp_path / "whole", tmp_path / "run"
    child = start(*words(method, whole))
    assert child.wait() == 0, child.said
    total = rows(whole)

    killed = 0
    if method == "ppo":  # of one method the first process has a whole start-up of its own, in which it may die
        process = subprocess.Popen(
            [sys.executable, "-m", "operant", *words(method, run)], env=process_environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        time.sleep(rng.uniform(0.2, 4.0))
        process.kill()
        process.wait()
        killed += 1
    moments = sorted(rng.uniform(0, 1) for _ in range(KILLS[method] - killed))
    for moment in moments:
        child = start(*next_words(method, run))
        deadline = time.monotonic() + 60
        while rows(run) < moment * total and (run / "result.json").exists() is False and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.05))
        child.send(signal.SIGKILL)
        killed += child.wait() == -signal.SIGKILL
    assert killed > KILLS[method] / 2  # a run that ends before its last moment is no failure, but most must be hit
    child = start(*next_words(method, run))
    assert child.wait() == 0, child.said
    assert main(["diff", str(whole), str(run)]) == 0
    assert rows(run) == total
    for log in ("evaluations.jsonl", "completions.jsonl"):
        assert (run / log).exists() == (whole / log).exists()
        if (run / log).exists():
            assert (run / log).read_text() == (whole / log).read_text()
    # nothing half-written is left
    assert sorted(os.listdir(run / "checkpoints")) == sorted(os.listdir(whole / "checkpoints"))
    assert [path.name for path in (run / "policies").rglob(".*")] == []


def test_a_terminated_run_saves_its_state_and_says_how_to_go_on(start, tmp_path: Path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert start(*words("ppo", whole, every=640)).wait() == 0
    child = start(*words("ppo", run, every=640), "--json")
    while rows(run) < 3:
        time.sleep(0.001)
    child.send(signal.SIGTERM)
    assert child.wait() == 130
    last = child.said.splitlines()[-1]
    assert last.startswith("operant: error: stopped at step ") and last.endswith(f"operant resume {run}")
    step = int(last.split()[5])
    assert (run / "checkpoints" / "last").resolve().name == f"step-{step:012d}" and step < 640
    assert start("resume", run).wait() == 0
    assert main(["diff", str(whole), str(run)]) == 0
