"""Help: every command and method has it, its examples parse, and a method's hyper-parameters are options."""

from __future__ import annotations

import re
import shlex

import pytest

from operant.cli.main import COMMANDS, overview, parse
from operant.cli.training import OF_KINDS, example_task, method_parser, type_name
from operant.core.registry import hyperparameters, methods
from operant.worlds import SCHEMES


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


WORLDS = {"gym": "--frame-stack", "data": "--environment", "text": "--max-new-tokens", "preferences": "--max-new-tokens", "tabular": "--concentrability"}


def shown(text: str) -> set[str]:
    """The kinds of tasks whose options a help text shows."""
    return set(re.findall(r"^(?:with --methods: )?options of (\w+) tasks", text, re.MULTILINE))


def told(text: str, option: str) -> bool:
    """Whether a help text explains an option."""
    return re.search(rf"^  {option} ", text, re.MULTILINE) is not None


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        ("train ppo", {"gym"}),
        ("tune td3", {"gym"}),
        ("train grpo", {"text"}),
        ("train dpo", {"preferences"}),
        ("train vi-lcb", {"tabular"}),
        ("train random", {"gym", "data"}),  # games have one of those of gym
        ("train random --task gym:CartPole-v1", {"gym"}),
        ("train random --task agents:spread", {"agents"}),
        ("train random --task=minari:x", {"data"}),
        ("train", set()),
        ("train --task gym:CartPole-v1", {"gym"}),
        ("tune --task text:sort", {"text"}),
        ("compare", set()),
        ("compare --task gym:CartPole-v1", {"gym"}),
        ("compare --methods ppo,random", {"gym"}),
        ("compare --methods grpo,rloo --task text:sort", {"text"}),
        ("compare --methods ppo,grpo", {"gym", "text"}),
    ],
)
def test_help_shows_the_options_of_the_tasks_that_are_meant(operant, words: str, kinds: set[str]):
    text = operant(*words.split(), "--help").out
    assert shown(text) == kinds
    for option in WORLDS.values():
        assert told(text, option) == any(WORLDS.get(kind) == option for kind in kinds), option
    assert told(text, "--max-evaluation-steps") == bool(kinds & {"gym", "data", "agents"})


@pytest.mark.parametrize(
    ("words", "has", "lacks"),
    [
        ("train ppo", ("--preset", "--from", "--steps"), ("--samples", "--tokens")),
        ("train mdpo", ("--from",), ("--preset", "--samples", "--tokens")),
        ("train grpo", ("--samples", "--tokens"), ("--preset", "--from")),
        ("train awm", ("--samples", "--tokens"), ("--preset", "--from")),
        ("train vi-lcb", ("--steps",), ("--samples", "--tokens", "--preset", "--from")),
        ("compare --methods ppo,trpo", ("--preset",), ("--samples", "--tokens")),
        ("train --task gym:CartPole-v1", ("--preset", "--from"), ("--samples",)),
        ("train", ("--preset", "--from", "--samples", "--tokens"), ()),
    ],
)
def test_help_leaves_out_what_no_such_run_takes(operant, words: str, has: tuple[str, ...], lacks: tuple[str, ...]):
    text = operant(*words.split(), "--help").out
    assert all(told(text, option) for option in has) and not any(told(text, option) for option in lacks)


def test_what_the_help_leaves_out_is_what_the_worlds_do_not_have():
    loaded = {scheme.kind: scheme.load() for scheme in SCHEMES.values()}
    assert set(OF_KINDS["--samples"]) == set(OF_KINDS["--tokens"]) == {kind for kind, world in loaded.items() if world.answers} - {"preferences"}
    assert set(OF_KINDS["--from"]) == {kind for kind, world in loaded.items() if world.acts} - {"tabular"}  # whose policies are tables


def test_what_the_help_leaves_out_is_refused_in_words_of_its_own(operant):
    assert "--samples counts what policy gradients draw" in operant("train", "ppo", "--task", "gym:CartPole-v1", "--samples", 5).err
    assert "has no option 'environment'" in operant("train", "random", "--task", "gym:CartPole-v1", "--environment", "x").err


def test_help_is_given_whatever_else_is_typed(operant):
    for words in (("--lr", 3), ("--task", "nothing"), ("--steps", "many")):
        assert operant("train", "ppo", *words, "--help").code == 0


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
