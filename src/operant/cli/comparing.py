"""The options of `operant compare --methods`: those of `operant train`, for all methods at once, and for one of them as `--METHOD.NAME`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from operant.cli.parser import Command, Parser, normalize
from operant.cli.training import add_fields, add_run_options, check_task_name, fields_of, read_fields, task_options
from operant.core.errors import BadInput

if TYPE_CHECKING:
    from operant.core.registry import Hyperparameter, Method


def parse_compare(command: Command, argv: list[str]) -> Namespace:
    """Find the methods first, for their hyper-parameters are options too."""
    words = normalize(argv)
    entries = _methods(words)
    parser = command.parser()
    if not entries:
        parser.epilog += "\n\nWith --methods A,B the hyper-parameters of A and B are options too: operant compare --methods A,B --help lists them"
        trained = add_training(parser, [])
        args = parser.read(words)
        if args.methods is None and (given := next((name for name in trained if getattr(args, name) is not None), None)) is not None:
            name = given.rpartition(" ")[2].lstrip("-").replace("_", "-")
            raise BadInput(f"--{name} goes with --methods; for example: operant compare --methods ppo,random --task gym:CartPole-v1")
        return args
    add_training(parser, entries)
    args = parser.read(words)
    worlds = {kind for entry in entries for kind in entry.worlds}
    args.options = read_fields(args, [item for items in task_options(worlds).values() for item in items])
    shared = read_fields(args, _shared(entries).values())
    args.members = {}
    for entry in entries:
        own = fields_of(entry)
        given = {name: text for name, text in shared.items() if name in own}
        args.members[entry.key] = args.options | given | read_fields(args, own.values(), entry.key)
    return args


def add_training(parser: Parser, entries: list[Method]) -> list[str]:
    """Add what is trained with, and the options of some methods; the names under which a namespace holds it all."""
    before = {action.dest for action in parser._actions}
    add_run_options(parser, "with --methods: ")
    worlds = {kind for entry in entries for kind in entry.worlds} if entries else None
    for kind, items in task_options(worlds).items():
        add_fields(parser, f"with --methods: options of {kind} tasks", items)
    if entries:
        add_fields(parser, "hyper-parameters of every method that has one of the name", _shared(entries).values())
        for entry in entries:
            add_fields(parser, f"hyper-parameters of {entry.key} alone", fields_of(entry).values(), entry.key)
    return [action.dest for action in parser._actions if action.dest not in before]


def _methods(words: list[str]) -> list[Method]:
    """The methods that `--methods` names. Raises `BadInput` for one that is unknown, or named twice."""
    text = next((after for word, after in zip(words, words[1:], strict=False) if word == "--methods"), None)
    text = next((word.partition("=")[2] for word in words if word.startswith("--methods=")), text)
    if text is None:
        return []
    from operant.core.registry import get_method

    keys = [key.strip() for key in text.split(",") if key.strip()]
    if len(set(keys)) < len(keys) or not keys:
        raise BadInput(f"--methods {text}: name each method once, as in --methods ppo,random")
    check_task_name(words)
    return [get_method(key) for key in keys]


def _shared(entries: list[Method]) -> dict[str, Hyperparameter]:
    """The hyper-parameters of some methods by name, each as the first method that has it describes it, its default where all agree."""
    found: dict[str, Any] = {}
    for entry in entries:
        for name, item in fields_of(entry).items():
            found.setdefault(name, item)
    return found
