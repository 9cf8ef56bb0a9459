"""Help: every command and method has it, its examples parse, and a method's hyper-parameters are options."""

from __future__ import annotations

import re
import shlex

import pytest

from operant.cli.main import COMMANDS, overview, parse
from operant.cli.training import example_task, method_parser, type_name
from operant.core.registry import hyperparameters, methods


def examples_in(text: str) -> list[str]:
    """The command lines that a help text shows."""
    lines = text.partition("examples:\n")[2].splitlines()
    return [line.strip() for line in lines if line.startswith("  operant ")]


def accepts(line: str) -> bool:
    words = shlex.split(line)
    assert words[0] == "operant"
    return parse(words[1:])[0].name in COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_examples_that_parse(operant, name: str):
    answer = operant(*name.split(), "--help")
    assert answer.code == 0 and answer.err == ""
    assert COMMANDS[name].summary in answer.out and "--json" in answer.out
    shown = examples_in(answer.out)
    assert shown == list(COMMANDS[name].examples) and shown
    assert all(accepts(line) for line in shown)


@pytest.mark.parametrize("key", methods())
def test_every_method_lists_its_hyperparameters_with_type_default_and_help(operant, key: str):
    entry = methods()[key]
    answer = operant("train", key, "--help")
    assert answer.code == 0 and entry.doc.splitlines()[0] in answer.out
    words = " ".join(answer.out.split())
    letters = words.replace(" ", "")  # long words may be broken at their hyphens
    for item in hyperparameters(entry.hyperparameters):
        assert f"--{item.name.replace('_', '-')} " in words
        assert item.help and f"{item.help}({type_name(item.type)},default".replace(" ", "") in letters
    assert all(accepts(line) for line in examples_in(answer.out))


def test_the_overview_names_every_command(operant):
    for words in ((), ("--help",), ("-h",)):
        answer = operant(*words)
        assert answer.code == 0 and answer.out == overview() + "\n"
    assert all(re.search(rf"^  {name} ", answer.out, re.MULTILINE) for name in COMMANDS)
    assert operant("data", "--help").out == operant("data", "make", "--help").out
    assert re.fullmatch(r"operant \d+\.\d+\.\d+\n", operant("--version").out)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--learning-rate", "1e-3"), {"learning_rate": "1e-3"}),
        (("--learning_rate=1e-3",), {"learning_rate": "1e-3"}),
        (("--learning-rate", "-1e-3"), {"learning_rate": "-1e-3"}),
        (("--hidden", "32,16", "--anneal"), {"hidden": "32,16", "anneal": "true"}),
        (("--anneal", "false", "--gamma=0.9"), {"gamma": "0.9", "anneal": "false"}),
        ((), {}),
    ],
)
def test_hyperparameters_are_read_in_every_spelling(words, expected):
    for place in (0, 1):  # METHOD first, or after options with values
        line = ["--task", "gym:CartPole-v1"] * place + ["ppo"] + ["--task", "gym:CartPole-v1"] * (1 - place)
        _, args = parse(["train", *line, *words])
        assert args.method == "ppo" and args.hyperparameters == expected


def test_whole_numbers_may_be_written_as_people_write_them():
    for text in ("100000", "100_000", "1e5", "1.0e5"):
        assert parse(["train", "ppo", "--task", "gym:CartPole-v1", "--steps", text])[1].steps == 100_000


def test_every_method_has_options_that_do_not_clash_with_those_of_train():
    for entry in methods().values():
        method_parser(entry, entry.worlds)


@pytest.mark.parametrize("key", methods())
def test_the_example_of_a_method_is_a_task_that_it_takes(key: str):
    from operant.worlds import make_world

    entry = methods()[key]
    task = example_task(entry)
    if task.startswith("gym:"):
        assert make_world(task).action.kinds <= set(entry.actions)
