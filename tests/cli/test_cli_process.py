"""What only a process of its own shows: exit codes, signals, closed pipes, terminals, faults, and how soon it answers."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from operant.cli.main import main

CARTPOLE = ("--task", "gym:CartPole-v1", "--threads", "1")


def test_help_answers_without_pytorch(environment):
    code = "import sys; from operant.cli.main import main; main(sys.argv[1:]); print('torch' in sys.modules, 'numpy' in sys.modules)"
    for words in (["--help"], ["train", "--help"], ["report", "--help"], ["--version"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment, check=True)
        assert done.stdout.splitlines()[-1] == "False False", words


def test_exit_codes_of_the_module(command, environment, tmp_path: Path):
    done = subprocess.run([*command, "train", "ppo", "--task", "gym:CartPol-v1", "--json"], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "CartPole-v1" in done.stderr
    assert "CartPole-v1" in json.loads(done.stdout)["error"]
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_says_how_to_go_on_and_ends_in_the_same_bits(start, tmp_path: Path):
    words = ("train", "ppo", *CARTPOLE, "--steps", "10240", "--every", "5120", "--episodes", "1", "--hidden", "8,8")
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    process = start(*words, "--out", stopped, "--json")
    deadline = time.monotonic() + 60
    while not (stopped / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send(signal.SIGINT)
    assert process.wait(60) == 130
    out, err = process.told, process.said
    assert err.splitlines()[-1].startswith("operant: error: stopped at step ") and f"operant resume {stopped}" in err.splitlines()[-1]
    assert json.loads(out.splitlines()[-1])["error"] in err
    assert not (stopped / "result.json").exists()
    assert main(["resume", str(stopped)]) == 0
    assert main([*words, "--out", str(whole)]) == 0
    assert main(["diff", str(stopped), str(whole)]) == 0


@pytest.mark.parametrize("words", [("tasks",), ("train", "--help"), ("tasks", "--json")], ids=" ".join)
def test_a_reader_that_goes_away_is_no_error(command, environment, words):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*command, *words], stdout=writing, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_training_goes_on_when_nobody_reads_its_progress(start, tmp_path: Path):
    reading, writing = os.pipe()
    os.close(reading)
    words = ("train", "ppo", *CARTPOLE, "--steps", "1024", "--episodes", "1", "--out", str(tmp_path / "run"))
    process = start(*words, stdout=writing, stderr=writing)
    os.close(writing)
    assert process.wait() == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["steps"] == 1024


def test_a_terminal_gets_a_live_display_and_standard_output_stays_clean(start, tmp_path: Path):
    ours, theirs = pty.openpty()
    words = ("train", "ppo", *CARTPOLE, "--steps", "4096", "--episodes", "2", "--out", str(tmp_path / "run"), "--json")
    process = start(*words, stderr=theirs, TERM="xterm-256color", COLUMNS=150)
    os.close(theirs)
    screen = b""
    while True:
        try:
            block = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not block:
            break
        screen += block
    os.close(ours)
    assert process.wait() == 0
    out = process.told
    assert json.loads(out)["steps"] == 4096 and out.count("\n") == 1
    text = screen.decode()
    assert "\x1b[2K" in text and "ppo on gym:CartPole-v1: train" in text and "4,096 of 4,096" in text and "steps/s" in text
    assert "return " in text and "loss/value" in text


def test_a_fault_is_one_line_and_a_report(operant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*args, **kwargs):
        return {}["a key\nthat is not there"]

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("operant.loops.runs.train", broken)
    answer = operant("train", "ppo", *CARTPOLE, "--json")
    assert answer.code == 1 and answer.err.count("\n") == 1
    (report,) = tmp_path.glob("operant-fault-*.txt")
    assert "KeyError" in answer.err and str(report) in answer.err and str(report) in answer.json["error"]
    text = report.read_text()
    assert "Traceback" in text and "operant train ppo --task gym:CartPole-v1" in text and "torch" in text


def test_a_failed_run_is_told_without_a_report(operant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from operant.core.errors import RunFailed

    def failing(*args, **kwargs):
        raise RunFailed("the loss is not finite")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("operant.loops.runs.train", failing)
    answer = operant("train", "ppo", *CARTPOLE)
    assert (answer.code, answer.out, answer.err) == (1, "", "operant: error: the loss is not finite\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("data", "make", "ogbench:pointmaze-medium-navigate-v0"),
            "nothing was kept, start again with: operant data make ogbench:pointmaze-medium-navigate-v0",
        ),
        (("train", "ppo", "--task", "gym:CartPole-v1", "--out", "x"), "before anything was kept; start again with: operant train ppo --task gym"),
    ],
)
def test_an_interruption_at_once(operant, monkeypatch: pytest.MonkeyPatch, words, says):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("operant.worlds.data.collect.make_dataset", interrupted)
    monkeypatch.setattr("operant.loops.runs.train", interrupted)
    answer = operant(*words)
    assert answer.code == 130 and says in answer.err and answer.err.count("\n") == 1
