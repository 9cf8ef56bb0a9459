"""`operant compare --methods` takes what `operant train` takes, for all methods and for one."""

from __future__ import annotations

import json

import pytest

from operant.cli.main import parse

WORDS = ("compare", "--methods", "grpo,rloo,sft", "--task", "text:arithmetic")


@pytest.mark.parametrize(
    ("given", "members"),
    [
        ((), {"grpo": {}, "rloo": {}, "sft": {}}),
        (("--learning-rate", "1e-4"), dict.fromkeys(("grpo", "rloo", "sft"), {"learning_rate": "1e-4"})),
        (("--group-size", "8"), {"grpo": {"group_size": "8"}, "rloo": {"group_size": "8"}, "sft": {}}),
        (("--learning-rate=2", "--rloo.learning-rate=3"), {"grpo": {"learning_rate": "2"}, "rloo": {"learning_rate": "3"}, "sft": {"learning_rate": "2"}}),
        (("--model", "./m", "--max-new-tokens", "9", "--sft.batch_size", "2"), {"grpo": {}, "rloo": {}, "sft": {"batch_size": "2"}}),
    ],
)  # fmt: skip
def test_options_reach_the_methods_that_have_them(given, members):
    _, args = parse([*WORDS, *given])
    task = {"model": "./m", "max_new_tokens": "9"} if "--model" in given else {}
    assert args.members == {key: task | own for key, own in members.items()} and args.options == task


def test_methods_train_with_their_own_options(operant, tmp_path):
    words = ("--steps", 1024, "--seeds", 2, "--seed", 3, "--episodes", 2, "--threads", 1, "--out", tmp_path / "both")
    answer = operant("compare", "--methods", "ppo,random", "--task", "gym:CartPole-v1", "--ppo.epochs", 1, "--learning-rate", "1e-3", *words)
    assert answer.code == 0, answer.err
    config = json.loads((tmp_path / "both" / "ppo" / "run.json").read_text())
    assert (config["hyperparameters"]["epochs"], config["hyperparameters"]["learning_rate"], config["seed"], config["episodes"]) == (1, 1e-3, 3, 2)
    again = operant("compare", "--methods", "ppo,random", "--task", "gym:CartPole-v1", "--ppo.epochs", 2, "--learning-rate", "1e-3", *words)
    assert again.code == 2 and "another value of hyperparameters" in again.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("runs/x", "--model", "y"), "--model goes with --methods"),
        (("runs/x", "--seeds", "3"), "--seeds goes with --methods"),
        (("runs/x", "--jobs", "3"), "--jobs goes with --methods"),
        (("--methods", "ppo,random", "--ppo.lr", "3"), "did you mean --ppo.learning-rate"),
        (("--methods", "ppo,random", "--task", "gym:CartPole-v1", "--group-size", "3"), "unknown option '--group-size'"),
        (("--methods", "ppo,ddpx", "--task", "gym:CartPole-v1"), "unknown method 'ddpx'"),
        (("--methods", ",", "--task", "gym:CartPole-v1"), "name each method once"),
        (("--methods", "ppo,random", "--task", "gym:CartPole-v1", "--track", "nothing"), "unknown tracker"),
    ],
)
def test_what_does_not_fit_is_refused(operant, words, says):
    answer = operant("compare", *words)
    assert answer.code == 2 and says in answer.err and answer.err.count("\n") == 1
