"""Bad input: exit code 2, one line that names the nearest valid value, and nothing is created."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

import operant as api
from operant.core.errors import BadInput
from operant.loops.configuration import configure_run

CARTPOLE = ("--task", "gym:CartPole-v1")
PENDULUM = ("--task", "gym:Pendulum-v1")

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
    (("train", "sac", *PENDULUM), "or sac-v2 (SAC (auto-temperature), actions that are numbers)?"),
    (("train", "sac", *PENDULUM), "did you mean sac-discrete (SAC (discrete), actions that are one choice) or"),
    (("show", "dapp"), "did you mean dapo (DAPO)?"),
    (("train", "td3", *CARTPOLE), ": take ppo, dqn, sac-discrete, a2c, c51, "),
    (("train", "dqn", *PENDULUM), ": take ppo, sac-v2, td3, a2c, "),
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
    (("train", "ppo", *CARTPOLE, "--learning_rate", "fast"), "learning_rate = 'fast' is not a number: it must be above 0"),
    (("train", "dqn", *CARTPOLE, "--hindsight", "4.5"), "hindsight = '4.5' is not an integer: it must be at least 0"),
    (("train", "dqn", *CARTPOLE, "--hindsight", "nan"), "--hindsight nan is not a number: it must be at least 0; the default is 0"),
    (("train", "dqn", *CARTPOLE, "--hindsight", "9" * 20), f"hindsight = {'9' * 20}: it must be at most 1,000,000,000"),
    (("train", "ppo", *CARTPOLE, "--hindsight", "4"), "'--hindsight' of operant train ppo: others have it: sac-v2, td3, dqn, sac-discrete, c51, …"),
    (("train", "ppo", *CARTPOLE, "--clip", "1e300"), "clip = 1e+300: it must be at most 1.7e+38 in size"),
    (("train", "ppo", *CARTPOLE, "--clip", "inf"), "clip = inf: it must be a finite number, above 0"),
    (("train", "dqn", *CARTPOLE, "--hidden", "1000000000"), "in a layer of 1,000,000,000 takes"),
    (("train", "dqn", *CARTPOLE, "--batch-size", "1000000000"), "a batch of 1,000,000,000 takes"),
    (("train", "ppo", *CARTPOLE, "--learning-rate=nan"), "--learning-rate nan is not a number: it must be above 0; the default is 0.0003"),
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
    (("bench",), "one of a name, --list and --write FILE"),
    (("bench", "ppo-cartpol"), "did you mean ppo-cartpole"),
    (("bench", "ppo-cartpole", "--repeats", "0"), "--repeats: 0 is too small; it must be 1 or more"),
    (("data", "make", "ogbench:pointmaze-medium-navigat-v0"), "pointmaze-medium-navigate-v0"),
    (("data", "make", "ogbench:pointmaze-medium-navigate-v0", "--steps", "0"), "--steps: 0 is too small"),
]


PPO, SAC = ("train", "ppo", *CARTPOLE, "--steps", "1"), ("train", "sac-v2", "--task", "gym:Pendulum-v1", "--steps", "1")
TEXT, SEQUENCES = ("train", "grpo", "--task", "text:arithmetic", "--steps", "1"), ("train", "grpo", "--task", "sequences:target", "--steps", "1")
NO_COUNT = ("", "abc", "nan", "1e400", "0", "1.5", "\x1b[31m")
NO_NUMBER = ("", "abc", "nan", "-inf", "\x1b[31m")
LONG, DEEP, HALF = "a" * 300, "/".join(["d" * 100] * 60), "\ud800"

# A number that no option takes, for every option that is one.
for name in ("steps", "samples", "tokens", "seconds", "seeds", "threads", "every", "keep", "episodes"):
    CASES += [(("train", "ppo", *CARTPOLE, f"--{name}={value}"), f"--{name}") for value in NO_COUNT]
for name in ("environments", "rollout-length", "epochs", "minibatches", "workers", "max-evaluation-steps", "hidden"):
    CASES += [((*PPO, f"--{name}={value}"), name.replace("-", "_")) for value in NO_COUNT if value != "nan"]
for name in ("learning-rate", "gamma", "lam", "clip", "entropy-coefficient", "max-grad-norm"):
    CASES += [((*PPO, f"--{name}={value}"), name.split("-")[0]) for value in (*NO_NUMBER, "-1")]
for name in ("batch-size", "capacity", "learning-starts", "updates-per-step", "environments"):
    CASES += [((*SAC, f"--{name}={value}"), name.split("-")[0]) for value in (*NO_NUMBER, "0", "-1")]
for name in ("lora-rank", "max-new-tokens", "verifier-workers", "group-size", "prompts"):
    CASES += [((*TEXT, f"--{name}={value}"), name.split("-")[0]) for value in (*NO_NUMBER, "-1")]
for words, option in (
    (("data", "make", "ogbench:pointmaze-medium-navigate-v0"), "--steps"),
    (("bench", "ppo-cartpole"), "--repeats"),
    (("evaluate", "nowhere"), "--episodes"),
    (("compare", "--methods", "ppo,random", *CARTPOLE), "--jobs"),
    (("compare", "--methods", "ppo,random", *CARTPOLE), "--seeds"),
):
    CASES += [((*words, f"{option}={value}"), option) for value in ("", "abc", "nan", "0", "1e400")]

# More than a machine can hold, or than anybody can wait for.
CASES += [
    ((*PPO, "--seeds", "1000000000"), "at most 10,000"),
    ((*PPO, "--seeds", "10000", "--environments", "1000"), "nearest: --environments 100"),
    ((*PPO, "--steps", "1e18"), "--steps is given more than once"),
    (("train", "ppo", *CARTPOLE, "--steps", "1e18"), "--steps 1000000000000000000: it must be at most"),
    ((*PPO, "--epochs", "1e30"), "epochs"),
    ((*PPO, "--threads", "1000000"), "at most 1,024"),
    ((*PPO, "--episodes", "1000000000"), "nearest: --episodes 1000000"),
    ((*PPO, "--environments", "1000000000"), "nearest: --environments 1000000"),
    (("train", "sac-v2", "--task", "gym:Pendulum-v1", "--steps", "1", "--environments", "1000000000"), "nearest: --environments"),
    ((*PPO, "--rollout-length", "1000000000"), "of memory: take fewer --environments"),
    ((*PPO, "--environments", "100000", "--rollout-length", "1000000"), "of memory: take fewer --environments"),
    ((*PPO, "--hidden", "1000000,1000000"), "of memory: take narrower layers"),
    ((*PPO, "--hidden", "1000000000"), "of memory: take narrower layers"),
    ((*PPO, "--hidden", "64,,64"), "'' is not an integer"),
    ((*PPO, "--workers", "1000000"), "workers"),
    (("train", "sac-v2", *CARTPOLE), "sac-v2 takes continuous actions; gym:CartPole-v1 has discrete ones (Discrete(2)): take sac-discrete"),
    ((*SAC, "--hidden", "1000000,1000000"), "of memory: take narrower layers"),
    ((*SAC, "--batch-size", "1000000000"), "of memory: take a smaller --batch-size"),
    ((*SAC, "--n-step", "1000000000"), "of memory: take a smaller --n-step"),
    ((*SAC, "--batch-size", "1000000000000"), "at most 1,000,000,000"),
    ((*SAC, "--updates-per-step", "1e30"), "in (0, 10000]"),
    (("train", "sac-v2", "--task", "gym:Pendulum-v1", "--steps", "1e12", "--capacity", "1000000000", "--seeds", "100"), "at most --capacity"),
    ((*TEXT, "--group-size", "1000000000"), "of memory: take fewer prompts, a smaller group"),
    ((*TEXT, "--prompts", "1000000000"), "of memory: take fewer prompts"),
    ((*TEXT, "--max-new-tokens", "1000000000"), "1,000,000,000 tokens long takes"),
    ((*TEXT, "--lora-rank", "1000000"), "nearest:"),
    ((*TEXT, "--verifier-workers", "1000000000"), "in [1, 1000]"),
    ((*SEQUENCES, "--prompts", "1000000000"), "of memory: take fewer prompts"),
    ((*SEQUENCES, "--group-size", "1000000000"), "of memory: take fewer prompts"),
]

# Options of another method or kind of task, in pairs that contradict each other, or twice.
CASES += [((*PPO, name, "3"), f"unknown option '{name}'") for name in ("--model", "--lora-rank", "--verifier", "--group-size", "--capacity", "--teacher")]
CASES += [((*TEXT, name, "3"), f"unknown option '{name}'") for name in ("--environments", "--max-evaluation-steps", "--hidden", "--capacity")]
CASES += [((*SEQUENCES, name, "3"), name[2:].replace("-", "_")) for name in ("--model", "--lora-rank", "--max-new-tokens")]
CASES += [
    ((*SEQUENCES, "--verifier", "numeric"), "verifier"),
    ((*PPO, "--samples", "5"), "give one budget"),
    (("train", "ppo", *CARTPOLE, "--samples", "5"), "takes --steps or --seconds"),
    (("train", "ppo", *CARTPOLE, "--tokens", "5"), "takes --steps or --seconds"),
    ((*PPO, "--seconds", "5"), "give one budget"),
    ((*PPO, *CARTPOLE), "--task is given more than once"),
    ((*PPO, "--out", "a", "--out", "b"), "--out is given more than once"),
    ((*PPO, "--learning-rate", "1", "--learning_rate", "2"), "--learning-rate is given more than once"),
    (("evaluate", "nowhere", "--policy", "last", "--policy", "best"), "--policy is given more than once"),
    (("report", "nowhere", "--out", "a.html", "--out", "b.html"), "--out is given more than once"),
    ((*PPO, "--out=--"), "give a value"),
    (("train", "noisy-verifier", "--task", "sequences:target", "--steps", "1", "--false-positive", "0.9"), "false"),
    (("compare", "--methods", "ppo,random", *CARTPOLE, "--sac-v2.learning-rate", "1"), "unknown option"),
    (("compare", "--methods", "ppo,random", *CARTPOLE, "--ppo.learning-rate", "fast"), "learning_rate"),
    (("compare", "--methods", "ppo,random", "--task", "text:arithmetic"), "ppo trains on tasks of kind gym"),
    (("compare", "--methods", "grpo,rloo", *CARTPOLE), "gym:CartPole-v1 is of kind gym"),
    (("compare", "--methods", ",", *CARTPOLE), "name each method once"),
    (("compare", "--methods", "", *CARTPOLE), "name each method once"),
    (("compare", "--methods", "ppo;random", *CARTPOLE), "unknown method"),
    (("compare", "nowhere", "--methods", "ppo", *CARTPOLE), "not both"),
    (("compare", "nowhere", "--learning-rate", "1"), "unknown option"),
    (("compare", "nowhere", "--jobs", "2"), "--jobs goes with --methods"),
    (("resume", "nowhere", "elsewhere"), "unexpected argument"),
    (("evaluate", "nowhere", "elsewhere"), "unexpected argument"),
    (("diff", "nowhere", "b", "c"), "unexpected argument"),
    (("methods", "extra"), "unexpected argument"),
    (("tasks", "extra"), "unexpected argument"),
    (("study", "-"), "unknown study '-'"),
    (("study", "limit-of-rlv"), "did you mean limit-of-rlvr"),
    (("study", "--json", "nothing"), "unknown study"),
    (("evidence", "pppo"), "did you mean ppo"),
    (("model",), "operant model import"),
    (("model", "import", "text"), "needs --out"),
]

# Names of tasks, and paths: of every scheme and every command.
for scheme, key in (("gym", "ppo"), ("ogbench", "iql"), ("data", "bc"), ("minari", "bc"), ("text", "grpo"), ("file", "grpo"), ("sequences", "grpo")):
    bad = ("", "nowhere", "folder", "text", "text/x", "loop", "pipe", LONG, DEEP, HALF, "\0", "\x1b[31m", "~nosuchuser/x", "-", " ", "a\nb")
    CASES += [(("train", key, "--task", f"{scheme}:{name}", "--steps", "1"), "") for name in bad]
PATHS = ("", "nowhere", "folder", "text", "text/x", "loop", "pipe", LONG, DEEP, HALF, "a\0b", "\x1b[31m", ".")
for path in PATHS:
    CASES += [((command, path), "") for command in ("resume", "evaluate", "compare")]
    CASES += [(("report", path, "--out", "r.html"), ""), (("diff", path, path), ""), (("model", "import", path, "--out", "m"), "")]
    CASES += [((*TEXT, f"--verifier={path}"), "verifier"), (("study", "limit-of-rlvr", f"--run={path}"), "")]
for path in ("", "text/x", "loop/x", "pipe/x", LONG, DEEP, HALF, "a\0b"):
    CASES += [((*PPO, f"--out={path}"), ""), (("compare", "--methods", "ppo,random", *CARTPOLE, "--steps", "1", f"--out={path}"), "")]
    CASES += [(("methods", f"--write={path}"), ""), (("data", "make", "pointmaze-medium-navigate-v0", "--steps", "10", f"--out={path}"), "")]
    CASES += [(("study", "limit-of-rlvr", f"--run={path or 'x'}", f"--out={path}"), "")]
for path in ("folder", "pipe"):
    CASES += [(("methods", f"--write={path}"), path), (("data", "make", "pointmaze-medium-navigate-v0", "--steps", "10", f"--out={path}"), path)]


def make_files(folder: Path) -> list[Path]:
    """What the paths of `CASES` name: a text, a folder with a file, a link to itself, a pipe."""
    (folder / "text").write_text("hello")
    (folder / "folder").mkdir()
    (folder / "folder" / "file").write_text("hello")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    return sorted(folder.rglob("*"))


def assert_refused(answer, says: str, *, json: bool = False):
    assert answer.code == 2, answer
    assert answer.out.count("\n") == json
    assert answer.err.startswith("operant: error: ") and answer.err.count("\n") == 1 and answer.err.endswith("\n"), answer.err
    assert says in answer.err
    assert "\x1b" not in answer.err


@pytest.mark.parametrize(("words", "says"), CASES, ids=[f"{place} {ascii(' '.join(words))[:100]}" for place, (words, _) in enumerate(CASES)])
def test_one_line_and_exit_code_2(operant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str):
    cache = tmp_path / "cache"
    monkeypatch.setenv("OPERANT_CACHE", str(cache))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(cache / "minari"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    before = make_files(work)
    assert_refused(operant(*words), says, json="--json" in words)
    assert sorted(work.rglob("*")) == before
    assert not cache.exists()


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


ROW = json.dumps({"prompt": "a", "answer": "1", "split": "train"})
TEST_ROW = json.dumps({"prompt": "b", "answer": "1", "split": "test"})
PROBLEMS = {
    "bytes": (bytes(range(256)), "is not text in UTF-8"),
    "empty": (b"", "has no rows"),
    "blank lines": (b"\n \n", "has no rows"),
    "one row": (ROW, "the same prompt"),
    "one prompt": (ROW + "\n" + ROW.replace('"1"', '"2"'), "the same prompt"),
    "one row many times": ("\n".join([ROW] * 9), "the same prompt"),
    "no training row": (TEST_ROW + "\n" + TEST_ROW.replace('"b"', '"c"'), "no training rows"),
    "no test row": (ROW + "\n" + ROW.replace('"a"', '"c"'), "no test rows"),
    "a list": (f"[{ROW}]", "line 1 is no object but a list"),
    "a number": ("5", "line 1 is no object but a number"),
    "text": ("hello", "line 1 is not JSON"),
    "a comma behind each row": (f"{ROW},\n{TEST_ROW}", "line 1 is not JSON"),
    "rows over lines": (json.dumps(json.loads(ROW), indent=1), "line 1 is not JSON"),
    "other keys": ('{"question": "a", "answer": "1"}', "has no 'prompt'"),
    "no answer": ('{"prompt": "a"}', "has no 'answer'"),
    "an answer that is true": ('{"prompt": "a", "answer": true}', "'answer' is true or false; it must be a string"),
    "a prompt that is null": ('{"prompt": null, "answer": "1"}', "'prompt' is null"),
    "a prompt of messages": ('{"prompt": [{"role": "user"}], "answer": "1"}', "'prompt' is a list"),
    "an empty prompt": ('{"prompt": " ", "answer": "1"}', "the prompt is empty"),
    "another split": (ROW.replace("train", "val"), "'split' is 'val'"),
    "a split that is a number": (ROW.replace('"train"', "1"), "'split' is a number"),
    "half a character in a prompt": (ROW.replace('"a"', '"\\ud800"') + "\n" + TEST_ROW, "line 1 holds half a character (a lone surrogate, \\ud800)"),
    "half a character in a key": (ROW.replace('"split"', '"\\udc00": 1, "split"') + "\n" + TEST_ROW, "line 1 holds half a character"),
    "an escape in a key": ('{"\\u001b[31m": 1}', "has no 'prompt'"),
    "brackets": ("[" * 100_000, "line 1 is not JSON"),
    "objects": ('{"prompt":' * 100_000, "line 1 is not JSON"),
    "a huge number": ('{"prompt": "a", "answer": "1", "n": ' + "9" * 10_000 + "}", "line 1 is not JSON"),
    "UTF-16": ((ROW + "\n" + TEST_ROW).encode("utf-16"), "is not text in UTF-8"),
    "Latin-1": (ROW.replace('"a"', '"é"').encode("latin-1"), "is not text in UTF-8"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_file_of_problems_that_is_none(operant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(tmp_path)
    content, says = PROBLEMS[name]
    Path("rows.jsonl").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert_refused(operant("train", "grpo", "--task", "file:rows.jsonl", "--steps", 1), says)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_device_or_a_pipe_is_never_replaced(operant, runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.html", "a.json", "a.txt"):
        os.mkfifo(name)
    for words in (("report", runs[0], "--out", "a.html"), *(("compare", *runs, "--out", name) for name in ("a.html", "a.json", "a.txt"))):
        assert_refused(operant(*words), "is a device or a pipe: name a file")
    assert all(path.is_fifo() for path in tmp_path.iterdir())


def test_bad_input_about_a_run_that_is_there(operant, runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    run = str(runs[0])
    for words, says in (
        (("compare", run, "--out", ""), "--out ''"),
        (("report", run, "--out", ""), "--out ''"),
        (("report", run, "--out", LONG), "too long"),
        (("compare", run, "--out", f"{LONG}.html"), "too long"),
        (("evaluate", run, "--episodes", "1000000000"), "nearest: --episodes"),
        (("study", "limit-of-rlvr", "--run", run), "is of kind gym"),
        (("train", "ppo", *CARTPOLE, "--out", f"{run}/result.json"), "is a file"),
        (("diff", run, str(runs[0].parent)), "it has no run.json"),
        (("resume", str(runs[0].parent)), "it has no run.json; it holds the runs"),
    ):
        assert_refused(operant(*words), says)
        assert list(tmp_path.iterdir()) == []


PYTHON = [
    *((lambda value=value: api.train(value, "gym:CartPole-v1", steps=1, progress=False)) for value in (5, None, b"ppo", ["ppo"], object())),
    *(
        (lambda value=value: api.train("ppo", value, steps=1, progress=False))
        for value in (5, None, b"gym", [], {"a": np.zeros(3)}, np.zeros(3), object())
    ),
    *(
        (lambda name=name, value=value: api.train("ppo", "gym:CartPole-v1", **{"steps": 1, "progress": False, name: value}))
        for name in ("seeds", "seed", "steps", "threads", "every", "keep", "episodes")
        for value in ("3", True, 1.5, float("nan"), [], object(), -1, 10**30, np.zeros(2))
    ),
    *((lambda value=value: api.train("ppo", "gym:CartPole-v1", seconds=value, progress=False)) for value in ("3", True, 0, float("nan"), float("inf"), [])),
    *((lambda value=value: api.train("ppo", "gym:CartPole-v1", steps=1, out=value)) for value in (3, b"x", [], "", "a\0b", HALF, LONG)),
    *((lambda value=value: api.train("ppo", "gym:CartPole-v1", steps=1, device=value)) for value in (3, None, "gpu", [])),
    *((lambda value=value: api.train("ppo", "gym:CartPole-v1", steps=1, track=value)) for value in (3, "wandb", [3], None)),
    *((lambda value=value: api.train("ppo", "gym:CartPole-v1", steps=1, listener=value)) for value in (3, "x")),
    *(
        (lambda name=name, value=value: api.train("ppo", "gym:CartPole-v1", steps=1, progress=False, **{name: value}))
        for name in ("learning_rate", "epochs", "environments", "hidden", "gamma")
        for value in (None, {}, object(), b"1", lambda step: 1, complex(1, 1), float("nan"), np.array([1.0, 2.0]))
    ),
    *((lambda value=value: api.train("ppo", "gym:CartPole-v1", steps=1, hidden=value)) for value in ((), (1.5,), (None,), ((1,),), (0,), (True,))),
    lambda: api.train("ppo", "gym:CartPole-v1", steps=1, learning_rat=1),
    *(
        (lambda name=name: api.train("grpo", "text:arithmetic", steps=1, progress=False, **{name: 5.5}))
        for name in ("model", "lora_rank", "dtype", "chat")
    ),
    *(
        (lambda call=call, value=value: getattr(api, call)(value))
        for call in ("load", "resume")
        for value in (3, None, b"x", "", "nowhere", LONG, HALF, "a\0b")
    ),
]
PYTHON_OF_A_RUN = [
    *((lambda run, value=value: run.evaluate(episodes=value)) for value in ("3", True, 0, 1.5, 10**10, [])),
    *((lambda run, value=value: run.evaluate(episodes=1, seed=value)) for value in ("x", -1, 1.5, None)),
    *((lambda run, value=value: run.evaluate(which=value)) for value in ("bst", 3, None, [])),
    *((lambda run, value=value: run.load_policy(seed=value)) for value in (5, "x", 1.5, [])),
    *((lambda run, value=value: run.policy(value)) for value in ("x", None, 5, np.zeros(3), {"a": 1}, object())),
]


@pytest.mark.parametrize("place", range(len(PYTHON)))
def test_from_python(place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput) as error:
        PYTHON[place]()
    assert "\n" not in str(error.value).strip()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda run: run.policy(np.zeros(4), seed=1.0), "seed=1.0: it must be a whole number, 0 or more"),
        (lambda run: run.load_policy(seed="0"), "seed='0': it must be a whole number, 0 or more"),
        (lambda run: run.load_policy(seed=7), "has seeds 0 to 1, not 7"),
        (lambda run: run.policy(np.zeros(4), step=-1), "step=-1: it must be 0 or more"),
        (lambda run: run.policy(np.zeros(4), stochastic="no"), "stochastic='no': True or False"),
        (lambda run: run.player(stochastic=1), "stochastic=1: True or False"),
        (lambda run: run.player(draw=-1), "draw=-1: it must be 0 or more"),
        (lambda run: run.evaluate(episodes=1, stochastic=None), "stochastic=None: True or False"),
        (lambda run: run.evaluate(episodes="3"), "episodes='3': it must be a whole number, 1 or more"),
        (lambda run: run.watch("x.gif", stochastic="yes"), "stochastic='yes': True or False"),
    ],
)
def test_an_argument_is_refused_by_its_name_in_python(runs, ask, said: str):
    with pytest.raises(BadInput, match=re.escape(said)):
        ask(api.load(runs[0]))


@pytest.mark.parametrize("place", range(len(PYTHON_OF_A_RUN)))
def test_a_run_from_python(place: int, runs):
    with pytest.raises(BadInput):
        PYTHON_OF_A_RUN[place](api.load(runs[0]))


def test_trust_is_yes_or_no(runs):
    with pytest.raises(BadInput, match="trust"):
        api.load(runs[0], trust="no").world  # noqa: B018


REFUSED = [
    ("sac-v2", "gym:CartPole-v1"),
    ("dqn", "gym:Pendulum-v1"),
    ("grpo", "gym:CartPole-v1"),
    ("ppo", "ogbench:pointmaze-medium-navigate-singletask-v0 --environment Pendulum-v1"),
    ("iql", "text:arithmetic"),
    ("ppo", "sequences:target"),
    ("ppo", "tabular:chain"),
    ("ppo", "agents:spread"),
    ("grpo", "generative:mixture"),
    ("sft", "preferences:arithmetic"),
]


@pytest.mark.parametrize(("method", "words"), REFUSED)
def test_what_is_advised_is_not_refused(operant, use_small_cache, method: str, words: str):
    answer = operant("train", method, "--task", *words.split())
    named = answer.err.partition(": take ")[2].partition(", …")[0].strip().split(", ")
    assert answer.code == 2 and all(named), answer.err
    for other in named:
        configure_run(other, words.split()[0])
