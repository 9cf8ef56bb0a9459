"""Signals: the first ends a run with its state saved, the second at once, whoever catches what; either way it goes on in the bits of one that never stopped."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from long_tier import in_turn, turns

import operant
from operant.cli.main import main
from operant.core.errors import Interrupted
from operant.worlds.text.world import TextWorld

SMALL = ("--steps", 512, "--every", 128, "--episodes", 1, "--threads", 1, "--hidden", "8,8", "--environments", 2, "--rollout-length", 16)
HERE = Path(__file__).parent  # processes find `stubborn` where they are started
TASK = "gym:stubborn:Stubborn-v0"
IN_SAMPLE, IN_EVALUATION = 200, 260  # steps of all environments: 128, an evaluation of 20, 128, another evaluation
PLACES = {
    f"{where}, {catches}": (place, catches)
    for where, place in (("sample", IN_SAMPLE), ("evaluation", IN_EVALUATION))
    for catches in ("Exception", "BaseException")
}


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} never came"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    child = start("train", "ppo", "--task", TASK, *SMALL, "--out", run, folder=HERE)
    assert child.wait() == 0, child.said
    return run


@pytest.mark.parametrize("where", turns(PLACES, "src/operant/core/", "src/operant/loops/runner.py", always=("evaluation, BaseException",)))
def test_a_second_signal_ends_the_run_whatever_its_environment_catches(where: str, whole: Path, start, tmp_path: Path):
    place, catches = PLACES[where]
    run, waits = tmp_path / "run", tmp_path / "waits"
    child = start("train", "ppo", "--task", TASK, *SMALL, "--out", run, folder=HERE, STUBBORN=waits, STUBBORN_AT=place, STUBBORN_CATCHES=catches)
    wait_for(waits)
    for number in (signal.SIGTERM, signal.SIGHUP):
        child.send(number)
        time.sleep(0.1)
    assert child.wait() == 130
    assert f"operant: error: stopped at once, what came behind the last checkpoint is lost; go on with: operant resume {run} --trust" in child.said
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] < 512
    child = start("resume", run, "--trust", folder=HERE)
    assert child.wait() == 0, child.said
    assert main(["diff", str(whole), str(run)]) == 0
    assert (run / "evaluations.jsonl").read_text() == (whole / "evaluations.jsonl").read_text()


class Catching:
    """A verifier in the process that sends its trainer two signals at its fifth answer, and catches what it can."""

    trusted = True

    def __init__(self, armed: bool):
        self.armed, self.calls = armed, 0

    def score(self, problem, completion: str) -> float:
        self.calls += 1
        if self.armed and self.calls == 5:
            try:
                for _ in range(2):
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(0.01)
            except Exception:
                return 1.0
        return float(len(completion) % 2)


def test_a_second_signal_passes_a_verifier(use_small_cache, tmp_path: Path):
    def small(armed: bool) -> tuple[TextWorld, dict]:
        return TextWorld("arithmetic", verifier=Catching(armed)), {"steps": 3, "every": 1, "threads": 1, "episodes": 1, "prompts": 2, "group_size": 2}

    world, options = small(False)
    whole = operant.train("grpo", world, out=tmp_path / "whole", **options)
    world, options = small(True)
    with pytest.raises(Interrupted, match="stopped at once"):
        operant.train("grpo", world, out=tmp_path / "run", **options)
    operant.resume(tmp_path / "run", task=small(False)[0])
    assert main(["diff", str(whole.path), str(tmp_path / "run")]) == 0


@in_turn("terminal closes", "src/operant/cli/main", "src/operant/loops/runner")
def test_a_terminal_that_closes_saves_the_run(whole: Path, process_environment, start, tmp_path: Path):
    """Hang-up is a signal and a terminal to which nothing can be written any more."""
    run, waits = tmp_path / "run", tmp_path / "waits"
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "operant", "train", "ppo", "--task", TASK, *map(str, SMALL), "--out", str(run)]
    path = os.pathsep.join([process_environment["PYTHONPATH"], str(HERE)])
    environment = {"TERM": "xterm", "PYTHONPATH": path, "STUBBORN": str(waits), "STUBBORN_AT": str(IN_SAMPLE), "STUBBORN_CATCHES": "Exception"}
    # The shell has the terminal, so that its end hangs up on all of them, also where nohup started the tests.
    shell = ["env", "--default-signal=HUP", "setsid", "--ctty", "--wait", *words]
    process = subprocess.Popen(shell, stdin=theirs, stdout=theirs, stderr=theirs, env=process_environment | environment)
    os.close(theirs)
    wait_for(waits)
    os.close(ours)
    time.sleep(0.2)
    pid = int((run / "lock").read_text().split()[1])
    os.kill(pid, signal.SIGTERM)  # it waits in its environment: the second signal
    assert process.wait(60) == 130
    assert start("resume", run, "--trust", folder=HERE).wait() == 0
    assert main(["diff", str(whole), str(run)]) == 0


@in_turn("six trainings", "src/operant/core/run", "src/operant/core/files", "src/operant/loops/run")
def test_six_trainings_into_one_directory(start, process_environment, tmp_path: Path):
    """One wins, the others are told in one line and write nothing."""
    run = tmp_path / "deep" / "run"
    words = [sys.executable, str(HERE / "race.py"), "6", "train", "ppo", "--task", "gym:CartPole-v1", *map(str, SMALL), "--out", str(run)]
    done = subprocess.run(words, capture_output=True, text=True, env=process_environment)
    answers = json.loads(done.stdout)
    assert sorted(code for code, _ in answers) == [0, 2, 2, 2, 2, 2], answers
    for code, said in answers:
        if code == 2:
            assert len(said.splitlines()) == 1 and str(run) in said and ("is being written by another process" in said or "already holds a run" in said), said
    alone = tmp_path / "alone"
    assert start("train", "ppo", "--task", "gym:CartPole-v1", *SMALL, "--out", alone).wait() == 0
    assert main(["diff", str(alone), str(run)]) == 0
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(32, 513, 32))
