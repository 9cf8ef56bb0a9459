"""How many threads a run takes by itself."""

import os
import subprocess
import sys

import pytest

from operant.core import processor
from operant.loops.configuration import configure_run

CARTPOLE, PENDULUM = "gym:CartPole-v1", "gym:Pendulum-v1"


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "cores", lambda: 8)
    monkeypatch.setattr(processor, "waits_are_short", lambda: True)


@pytest.mark.parametrize(
    ("method", "task", "seeds", "threads", "settings"),
    [
        ("ppo", CARTPOLE, 1, 1, {}),
        ("dqn", CARTPOLE, 8, 1, {}),
        ("stream-q", CARTPOLE, 1, 1, {}),
        ("grpo", "sequences:target", 1, 1, {}),
        ("value-iteration", "tabular:chain", 1, 1, {}),
        ("sac-v2", PENDULUM, 1, 2, {}),  # 256 × 256 × 256 is 16.8 million
        ("sac-v2", PENDULUM, 3, 6, {}),
        ("sac-v2", PENDULUM, 1, 1, {"hidden": (64, 64)}),
        ("td3", PENDULUM, 1, 3, {"hidden": (400, 300)}),  # 256 × 400 × 300 is 30.7 million
        ("td3", PENDULUM, 40, 8, {}),
    ],
)
def test_wide_products_take_more_threads(eight_cores, method, task, seeds, threads, settings):
    assert configure_run(method, task, seeds=seeds, hyperparameters=settings)[0]["threads"] == threads


def test_those_that_are_given_stay(eight_cores):
    assert configure_run("sac-v2", PENDULUM, threads=5)[0]["threads"] == 5


def test_where_waits_are_long_there_is_one(monkeypatch):
    monkeypatch.setattr(processor, "waits_are_short", lambda: False)
    assert processor.fitting_threads(10**9) == 1


@pytest.mark.parametrize(("asked", "most"), [("1", 1), ("1,2", 1), ("100000", 100_000), ("", 100_000), ("many", 100_000)])
def test_cores_are_at_most_what_openmp_is_told(monkeypatch, asked, most):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert 1 <= processor.cores() <= min(most, os.cpu_count())


@pytest.mark.parametrize(("said", "most"), [("150000 100000", 1), ("50000 100000", 1), ("max 100000", 100_000), ("", 100_000)])
def test_a_containers_quota_counts(tmp_path, monkeypatch, said, most):
    (tmp_path / "cpu.max").write_text(said)
    monkeypatch.setattr(processor, "QUOTA", tmp_path / "cpu.max")
    bound = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    assert processor.usable_cores() == min(most, bound)


def test_several_processes_share_the_cores(eight_cores):
    assert [processor.fitting_threads(10**9, processes) for processes in (1, 2, 3, 16)] == [8, 4, 2, 1]


def said(code: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} | variables
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP is Linux's")
def test_threads_wait_shortly_where_pytorch_was_not_loaded_before():
    ask = "from operant.core.processor import waits_are_short; import os; print(waits_are_short(), os.environ.get('GOMP_SPINCOUNT'))"
    assert said("import operant; " + ask) == "True 2000"
    assert said("import torch, operant; " + ask) == "False None"
    assert said("import operant; " + ask, GOMP_SPINCOUNT="7") == "True 7"
    assert said("import operant; " + ask, OMP_WAIT_POLICY="active") == "False None"
    assert said("import operant; " + ask, OMP_WAIT_POLICY="passive") == "True None"
