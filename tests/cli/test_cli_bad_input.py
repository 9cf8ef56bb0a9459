"""Bad input: exit code 2, one line that names the nearest valid value, and nothing is created."""

from __future__ import annotations

from pathlib import Path

import pytest

CARTPOLE = ("--task", "gym:CartPole-v1")

CASES = [
    (("trian",), "unknown command 'trian': did you mean train"),
    (("data", "mak"), "did you mean data make?"),
    (("data",), "operant data make"),
    (("--verison",), "did you mean --version"),
    (("--json", "methods"), "write it after"),
    (("train",), "METHOD and --task"),
    (("train", "ppo"), "needs --task; for example: operant train ppo --task gym:CartPole-v1"),
    (("train", "iql"), "operant train iql --task ogbench:"),
    (("train", "pppo", *CARTPOLE), "unknown method 'pppo': did you mean ppo"),
    (("train", "ppo", "--task", "gym:CartPol-v1"), "CartPole-v1"),
    (("train", "ppo", "--task", "CartPol-v1"), "CartPole-v1"),
    (("train", "ppo", "--task", "gmy:CartPole-v1"), "did you mean gym"),
    (("train", "iql", *CARTPOLE), "iql trains on tasks of kind data; gym:CartPole-v1 is of kind gym"),
    (("train", "sac-v2", *CARTPOLE), "CartPole-v1"),
    (("train", "ppo", *CARTPOLE, "--steps", "-5"), "--steps: -5 is too small; it must be 1 or more"),
    (("train", "ppo", *CARTPOLE, "--steps", "abc"), "--steps: 'abc' is not a whole number; it must be 1 or more"),
    (("train", "ppo", *CARTPOLE, "--steps", "nan"), "'nan' is not a whole number"),
    (("train", "ppo", *CARTPOLE, "--steps", "1.5"), "'1.5' is not a whole number"),
    (("train", "ppo", *CARTPOLE, "--steps", "1e400"), "--steps: 1e400 is too large"),
    (("train", "ppo", *CARTPOLE, "--steps"), "--steps: expected one argument"),
    (("train", "ppo", *CARTPOLE, "--seeds", "0"), "--seeds: 0 is too small; it must be 1 or more"),
    (("train", "ppo", *CARTPOLE, "--seed", "-1"), "--seed: -1 is too small; it must be 0 or more"),
    (("train", "ppo", *CARTPOLE, "--keep", "1"), "--keep: 1 is too small; it must be 2 or more"),
    (("train", "ppo", *CARTPOLE, "--device", "cud"), "did you mean cuda"),
    (("train", "ppo", *CARTPOLE, "--track", "tensorbord"), "did you mean tensorboard"),
    (("train", "ppo", *CARTPOLE, "--learning-rat", "3"), "unknown option '--learning-rat' of operant train ppo: did you mean --learning-rate"),
    (("train", "ppo", *CARTPOLE, "--step", "3"), "did you mean --steps"),
    (("train", "ppo", *CARTPOLE, "--learning_rate", "fast"), "learning_rate = 'fast' is not a number"),
    (("train", "ppo", *CARTPOLE, "--learning-rate=nan"), "--learning-rate nan is not a number; the default is 0.0003"),
    (("train", "ppo", *CARTPOLE, "--hidden", "64,wide"), "hidden = 'wide' is not an integer"),
    (("train", "ppo", *CARTPOLE, "--anneal", "maybe"), "anneal = 'maybe' is not true or false"),
    (("train", "ppo", *CARTPOLE, "more"), "unexpected argument 'more'"),
    (("resume", "nowhere"), "no run at nowhere"),
    (("evaluate", "nowhere"), "no run at nowhere"),
    (("evaluate", "nowhere", "--policy", "bst"), "did you mean best"),
    (("compare",), "needs run directories"),
    (("compare", "nowhere"), "nowhere"),
    (("compare", "nowhere", "--out", "table.pdf"), "table.html"),
    (("compare", "nowhere", "--seeds", "3"), "--seeds goes with --methods"),
    (("compare", "--methods", "ppo,random"), "--methods needs --task"),
    (("compare", "--methods", "ppo,ppo", *CARTPOLE), "name each method once"),
    (("compare", "--methods", "ppo,iql", *CARTPOLE), "iql trains on tasks of kind data"),
    (("report", "nowhere"), "needs --out"),
    (("report", "nowhere", "--out", "r.html"), "nowhere"),
    (("diff", "nowhere"), "operant diff"),
    (("diff", "nowhere", "elsewhere"), "no run at nowhere"),
    (("show", "pppo"), "did you mean ppo"),
    (("show",), "operant show needs METHOD; for example: operant show ppo"),
    (("methods", "--jsn"), "did you mean --json"),
    (("bench",), "either a name or --list"),
    (("bench", "ppo-cartpol"), "did you mean ppo-cartpole"),
    (("bench", "ppo-cartpole", "--repeats", "0"), "--repeats: 0 is too small; it must be 1 or more"),
    (("data", "make", "ogbench:pointmaze-medium-navigat-v0"), "pointmaze-medium-navigate-v0"),
    (("data", "make", "ogbench:pointmaze-medium-navigate-v0", "--steps", "0"), "--steps: 0 is too small"),
]


@pytest.mark.parametrize(("words", "says"), CASES, ids=[" ".join(words) for words, _ in CASES])
def test_one_line_and_exit_code_2(operant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str):
    monkeypatch.chdir(tmp_path)
    answer = operant(*words)
    assert answer.code == 2
    assert answer.out.count("\n") == ("--json" in words)
    assert answer.err.startswith("operant: error: ") and answer.err.count("\n") == 1 and answer.err.endswith("\n")
    assert says in answer.err
    assert list(tmp_path.iterdir()) == []


def test_with_json_the_error_is_an_object_as_well(operant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    answer = operant("train", "ppo", *CARTPOLE, "--seeds", "0", "--json")
    assert answer.code == 2
    assert answer.json == {"error": "--seeds: 0 is too small; it must be 1 or more"}
    assert answer.err == "operant: error: --seeds: 0 is too small; it must be 1 or more\n"


def test_a_run_is_never_written_over(operant, runs):
    answer = operant("train", "ppo", *CARTPOLE, "--steps", 1024, "--out", runs[0])
    assert answer.code == 2 and f"operant resume {runs[0]}" in answer.err
    answer = operant("report", runs[0], "--out", runs[0])
    assert answer.code == 2 and "is a directory" in answer.err
