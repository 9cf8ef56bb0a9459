"""`--sample-workers`: runs of processes that are killed, hang and go on with others; what is refused."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from cli.conftest import Operant

PATIENT = 300  # seconds
WORDS = ("ppo", "--task", "gym:CartPole-v1", "--threads", "1", "--episodes", "2", "--environments", "4", "--rollout-length", "16", "--hidden", "16")


def metrics(run: Path) -> list[dict]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def below(parent: int) -> list[int]:
    return [int(child) for child in Path("/proc", str(parent), "task", str(parent), "children").read_text().split()]


def workers_of(pid: int) -> list[int]:
    """The processes two below one: those that its server forked."""
    return [inner for child in below(pid) for inner in below(child)]


def until(condition, process) -> None:
    deadline = time.monotonic() + PATIENT
    while not condition():
        assert not process.ended and time.monotonic() < deadline, process.said
        time.sleep(0.05)


def test_a_run_goes_on_with_other_workers_and_with_none_in_the_same_bits(start, operant: Operant, tmp_path: Path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert operant("train", *WORDS, "--steps", 384, "--every", 64, "--out", whole).code == 0
    process = start("train", *WORDS, "--steps", 128, "--every", 64, "--out", run, "--sample-workers", 2)
    assert process.wait(PATIENT) == 0, process.said
    assert json.loads((run / "run.json").read_text())["sample_workers"] == 2
    process = start("resume", run, "--steps", 256, "--sample-workers", 4)
    assert process.wait(PATIENT) == 0, process.said
    assert json.loads((run / "run.json").read_text())["sample_workers"] == 4
    assert operant("resume", run, "--steps", 384, "--sample-workers", 0).code == 0
    assert "sample_workers" not in json.loads((run / "run.json").read_text())
    assert metrics(run) == metrics(whole)
    for name in ("evaluations.jsonl", "policies/last/seed-0/policy.safetensors"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_worker_that_is_killed_ends_the_run_in_one_line_and_it_goes_on_in_the_same_bits(start, tmp_path: Path):
    """Sampling and learning overlap, so that chunks that were collected ahead are lost or kept with the rest."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    words = (*WORDS, "--steps", 2560, "--every", 256, "--sample-workers", 2, "--staleness", 2)
    process = start("train", *words, "--out", whole)
    assert process.wait(PATIENT) == 0, process.said
    process = start("train", *words, "--out", run)
    until((run / "checkpoints" / "last").exists, process)
    os.kill(workers_of(process.pid)[1], signal.SIGKILL)
    assert process.wait(PATIENT) == 1, process.said
    line = process.said.splitlines()[-1]
    assert line.startswith("operant: error: sample worker ") and " of 2 was ended by SIGKILL, and the run with it" in line
    assert line.endswith(f"what came behind its last checkpoint is lost; go on with: operant resume {run}")
    assert sum("error" in line for line in process.said.splitlines()) == 1

    process = start("resume", run)
    before = len(metrics(run))
    until(lambda: len(metrics(run)) > before, process)
    workers = workers_of(process.pid)
    for pid in [*workers, *below(process.pid), process.pid]:  # as whoever ends a job does; the state is saved, with what is under way
        os.kill(pid, signal.SIGTERM)
    assert process.wait(PATIENT) == 130, process.said
    assert process.said.splitlines()[-1].endswith(f"state saved; go on with: operant resume {run}")
    deadline = time.monotonic() + PATIENT
    while any(Path("/proc", str(pid)).exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    process = start("resume", run, "--sample-workers", 1)
    assert process.wait(PATIENT) == 0, process.said
    assert metrics(run) == metrics(whole)
    assert max(row["staleness"] for row in metrics(whole)) == 2


OWN = """
import os

from gymnasium.envs.classic_control import CartPoleEnv


class Own(CartPoleEnv):
    def __init__(self):
        if "BREAKS" in os.environ:
            raise OSError("no licence")
        super().__init__()
"""


def test_an_environment_beside_the_command_goes_on_too_and_a_run_that_cannot_go_on_stays_as_it_was(start, tmp_path: Path):
    """A resumed run imports the file of the module, to which no path leads."""
    (tmp_path / "beside_me.py").write_text(OWN)
    words = ("ppo", "--task", "gym:beside_me:Own", *WORDS[3:], "--steps", 64, "--out", "run", "--sample-workers", 2)
    process = start("train", *words, folder=tmp_path)
    assert process.wait(PATIENT) == 0, process.said
    process = start("resume", "run", "--steps", 128, "--trust", folder=tmp_path)
    assert process.wait(PATIENT) == 0, process.said
    before = (tmp_path / "run" / "run.json").read_bytes(), (tmp_path / "run" / "result.json").read_bytes()
    process = start("resume", "run", "--steps", 192, "--trust", folder=tmp_path, BREAKS=1)
    assert process.wait(PATIENT) > 0 and "no licence" in process.said
    assert ((tmp_path / "run" / "run.json").read_bytes(), (tmp_path / "run" / "result.json").read_bytes()) == before


def test_workers_end_with_a_trainer_that_is_killed(start, tmp_path: Path):
    run = tmp_path / "run"
    process = start("train", *WORDS, "--steps", 10_000_000, "--out", run, "--sample-workers", 2, "--staleness", 1)
    until(lambda: (run / "metrics.jsonl").exists(), process)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    process.send(signal.SIGKILL)
    assert process.wait(PATIENT) == -signal.SIGKILL
    deadline = time.monotonic() + PATIENT
    while any(Path("/proc", str(pid)).exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((*WORDS, "--sample-workers", 5), "--sample-workers 5: 1 seeds × 4 environments can be split over at most 4"),
        ((*WORDS, "--staleness", 1), "--staleness 1 needs processes that sample while this one learns: give --sample-workers 1 or more"),
        ((*WORDS, "--sample-workers", 1, "--truncate-importance", 1), "--truncate-importance 1.0: weights that are not behind need none"),
        ((*WORDS, "--sample-workers", 1, "--staleness", 1, "--truncate-importance", 0), "--truncate-importance 0.0: it must be a number above 0"),
        (("stream-q", "--task", "gym:CartPole-v1", "--sample-workers", 2), "what this method learns from is gathered by the process that trains"),
        (("grpo", "--task", "sequences:target", "--sample-workers", 2), "--sample-workers 2: sequences:target is sampled by the process that trains"),
        (("sac-v2", "--task", "gym:Pendulum-v1", "--sample-workers", 1, "--staleness", 1), "--staleness 1: this method draws what it learns from"),
        ((*WORDS, "--sample-on", "auto"), "--sample-on auto: it says where workers are; give --sample-workers 1 or more"),
        ((*WORDS, "--sample-workers", 1, "--sample-on", ""), "--sample-on '': the address of a Ray cluster"),
        ((*WORDS, "--sample-workers", 1, "--sample-on", "auto", "--seeds", 2, "--cluster", "auto"), "--sample-on: the workers of a member are on its node"),
        ((*WORDS, "--sample-workers", 1001), "--sample-workers 1001: it must be at most 1,000"),
    ],
)
def test_what_workers_cannot_do_is_refused_in_one_line(operant: Operant, words: tuple, line: str, tmp_path: Path):
    done = operant("train", *words, "--out", tmp_path / "run")
    assert done.code == 2 and line in done.err and not (tmp_path / "run").exists()
