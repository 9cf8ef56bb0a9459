"""`--processes`: several processes train one run, on the command line and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli.conftest import Operant

from operant.core.errors import BadInput
from operant.loops.configuration import check_processes, configure_run

PATIENT = 600  # seconds: two processes import all that they need, on a machine that may be busy
WORDS = ("--task", "text:arithmetic", "--threads", "1", "--episodes", "4", "--prompts", "4", "--group-size", "4")


def numbers(run: Path, name: str) -> list[float]:
    return [json.loads(line)[name] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_goes_on_with_more_processes_and_with_one_again(start, operant: Operant, use_small_cache: Path, tmp_path: Path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert operant("train", "grpo", *WORDS, "--steps", 6, "--every", 2, "--out", whole).code == 0
    assert operant("train", "grpo", *WORDS, "--steps", 2, "--every", 2, "--out", run).code == 0
    together = start("resume", run, "--steps", 4, "--processes", 2, "--json")
    assert together.wait(PATIENT) == 0, together.said
    assert json.loads(together.told.splitlines()[-1])["steps"] == 4
    assert json.loads((run / "run.json").read_text())["processes"] == 2
    assert operant("resume", run, "--steps", 6).code == 0
    assert "processes" not in json.loads((run / "run.json").read_text())
    losses = [name for name in json.loads((whole / "metrics.jsonl").read_text().splitlines()[0]) if name.startswith("loss/")]
    for name in (*losses, "gradient_norm", "reward", "length"):
        assert numbers(run, name) == pytest.approx(numbers(whole, name), rel=1e-3, abs=1e-5), name


def test_a_process_that_is_killed_ends_the_run_in_one_line(start, tmp_path: Path):
    run = tmp_path / "run"
    process = start("train", "grpo", *WORDS, "--steps", 100_000, "--every", 2, "--out", run, "--processes", 2)
    deadline = time.monotonic() + PATIENT
    while not (run / "checkpoints" / "last").exists():
        assert not process.ended and time.monotonic() < deadline, process.said
        time.sleep(0.05)
    first = int((run / "lock").read_text().split()[1])
    other = next(pid for pid in siblings(first) if pid != first)
    os.kill(other, signal.SIGKILL)
    assert process.wait(PATIENT) == 1
    line = process.said.splitlines()[-1]
    assert line == f"operant: error: process 1 of 2 was ended by SIGKILL, and the run with it; go on with: operant resume {run} --processes 2"
    assert sum("error" in line for line in process.said.splitlines()) == 1

    process = start("resume", run, "--processes", 2)
    before = len(numbers(run, "step"))
    while len(numbers(run, "step")) < before + 2:
        assert not process.ended and time.monotonic() < deadline + PATIENT, process.said
        time.sleep(0.05)
    process.send(signal.SIGTERM)
    assert process.wait(PATIENT) == 130
    assert process.said.splitlines()[-1].endswith(f"state saved; go on with: operant resume {run} --processes 2")


def siblings(pid: int) -> list[int]:
    """The processes that have the same parent as this one."""
    parent = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1]
    return [int(child) for child in Path("/proc", parent, "task", parent, "children").read_text().split()]


@pytest.mark.parametrize(
    ("method", "task", "line"),
    [
        ("ppo", "gym:CartPole-v1", "--processes 2 spreads a language model over processes: gym:CartPole-v1 trains small networks of all its seeds in one"),
        ("grpo", "sequences:target", "--processes 2 spreads a language model over processes: sequences:target trains small networks"),
        ("majority", "text:arithmetic", "--processes 2: majority has no updates whose rows could be split"),
    ],
)
def test_what_cannot_be_split_is_refused_in_one_line(method: str, task: str, line: str):
    config, world, spine = configure_run(method, task, steps=4)
    with pytest.raises(BadInput) as refused:
        check_processes(spine, world, config | {"processes": 2})
    assert str(refused.value).startswith(line)


def test_a_run_of_python_objects_is_refused():
    config, world, spine = configure_run("grpo", "text:arithmetic", steps=4)
    with pytest.raises(BadInput, match="each process makes the run from its run.json: verifier is a Python object"):
        check_processes(spine, world, config | {"processes": 2, "not_resumable": "verifier is a Python object: give it as module:function"})


def test_a_refusal_is_said_once_and_leaves_nothing(start, tmp_path: Path):
    process = start("train", "grpo", *WORDS, "--learning-rate", "-1", "--processes", 2, "--out", tmp_path / "run")
    assert process.wait(PATIENT) == 2
    assert [line for line in process.said.splitlines() if "error" in line] == process.said.splitlines()[-1:]
    assert not (tmp_path / "run").exists()


def test_as_many_processes_as_were_started(operant: Operant, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    answer = operant("train", "grpo", *WORDS, "--processes", 2)
    assert (answer.code, answer.err) == (2, "operant: error: --processes 2: 4 were started with this one (WORLD_SIZE); leave it out\n")


WAITS = """
import sys, time
from datetime import timedelta
import torch
from operant.core import ranks

ranks.PATIENCE = timedelta(seconds=3)
ranks.join()
with ranks.together():
    ranks.add(torch.ones(1))
    if ranks.rank() == 1:
        time.sleep(3_600)
    try:
        ranks.add(torch.ones(1))
    except RuntimeError as error:
        print(error)
        ranks.end(0 if ranks.lost(error) else 1)
"""


def test_a_process_that_does_not_answer_is_given_up(process_environment: dict[str, str], tmp_path: Path):
    environment = process_environment | {"WORLD_SIZE": "2", "OPERANT_RANKS": str(tmp_path), "GLOO_SOCKET_IFNAME": "lo"}
    first, other = (subprocess.Popen([sys.executable, "-c", WAITS], env=environment | {"RANK": rank}) for rank in "01")
    try:
        assert first.wait(timeout=PATIENT) == 0
    finally:
        other.kill()
        other.wait()
