"""The options of `operant compare --methods`: those of `operant train`, for all methods at once, and for one of them as `--METHOD.NAME`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from operant.cli.parser import Command, Parser, asks_help, normalize
from operant.cli.training import (
    RESERVED,
    add_fields,
    add_run_options,
    add_task_options,
    both,
    check_task_kind,
    check_task_name,
    fields_of,
    hide_run_options,
    kinds_of,
    plain_names,
    read_fields,
    task_options,
)
from operant.core.errors import BadInput
from operant.worlds import TASK

if TYPE_CHECKING:
    from operant.core.registry import Hyperparameter, Method


def parse_compare(command: Command, argv: list[str]) -> Namespace:
    """Find the methods first, for their hyper-parameters are options too."""
    words = normalize(argv)
    entries = _methods(words)
    parser = command.parser()
    if not entries:
        parser.epilog += "\n\nWith --methods A,B the options of A and B, and of their tasks, are there too: operant compare --methods A,B --help lists them"
        trained = add_training(parser, [], kinds_of(words, ()))
        args = parser.read(words)
        if args.methods is None and (given := next((name for name in trained if getattr(args, name) is not None), None)) is not None:
            name = given.rpartition(" ")[2].lstrip("-").replace("_", "-")
            raise BadInput(f"--{name} goes with --methods; for example: operant compare --methods ppo,random --task gym:CartPole-v1")
        return args
    for entry in entries:
        check_task_kind(entry.key, entry.worlds, words)
    worlds = {kind for entry in entries for kind in entry.worlds}
    common = [kind for kind in entries[0].worlds if all(kind in entry.worlds for entry in entries)]
    kinds, fields = kinds_of(words, common or worlds), _shared(entries)
    add_training(parser, entries, kinds)
    if asks_help(words):
        return parser.read(["--help"])
    args = parser.read(plain_names(words, [entry.key for entry in entries], fields, kinds))
    shared, optional = both(fields, kinds), [item for items in task_options(worlds).values() for item in items]
    args.options = read_fields(args, [item for item in optional if item.name not in fields])
    args.options |= read_fields(args, [item for item in optional if item.name in shared], TASK)
    of_all = read_fields(args, [item for name, item in fields.items() if name not in shared | RESERVED])
    args.members = {}
    for entry in entries:
        own = fields_of(entry)
        given = {name: text for name, text in of_all.items() if name in own} | read_fields(args, own.values(), entry.key)
        clash = both(own, kinds)
        args.members[entry.key] = {f"{TASK}.{name}" if name in own else name: text for name, text in args.options.items()}
        args.members[entry.key] |= {f"{entry.key}.{name}" if name in clash | RESERVED else name: text for name, text in given.items()}
    return args


def add_training(parser: Parser, entries: list[Method], kinds: Collection[str]) -> list[str]:
    """Add what is trained with, and the options of some methods; the names under which a namespace holds it all.

    Args:
        entries: the methods; of none, the options of all kinds of tasks are added alone.
        kinds: of worlds whose options count.
    """
    before = {action.dest for action in parser._actions}
    add_run_options(parser, "with --methods: ")
    fields = _shared(entries)
    shared = both(fields, kinds)
    add_task_options(parser, {kind for entry in entries for kind in entry.worlds} or None, kinds, fields, "with --methods: ")
    if entries:
        hide_run_options(parser, kinds, [entry.key for entry in entries])
        of_all = [item for name, item in fields.items() if name not in shared | RESERVED]
        add_fields(parser, "hyper-parameters of every method that has one of the name", of_all)
        for entry in entries:
            add_fields(parser, f"hyper-parameters of {entry.key} alone", fields_of(entry).values(), entry.key)
    return [action.dest for action in parser._actions if action.dest not in before]


def _methods(words: list[str]) -> list[Method]:
    """The methods that `--methods` names. Raises `BadInput` for one that is unknown, or named twice."""
    text = next((after for word, after in zip(words, words[1:], strict=False) if word == "--methods"), None)
    text = next((word.partition("=")[2] for word in words if word.startswith("--methods=")), text)
    if text is None:
        return []
    from operant.core.registry import get_method, outlined_method

    keys = [key.strip() for key in text.split(",") if key.strip()]
    if len(set(keys)) < len(keys) or not keys:
        raise BadInput(f"--methods {text}: name each method once, as in --methods ppo,random")
    if asks_help(words):
        return [outlined_method(key) or get_method(key) for key in keys]
    check_task_name(words)
    return [get_method(key) for key in keys]


def _shared(entries: list[Method]) -> dict[str, Hyperparameter]:
    """The hyper-parameters of some methods by name, each as the first method that has it describes it, its default where all agree."""
    found: dict[str, Any] = {}
    for entry in entries:
        for name, item in fields_of(entry).items():
            found.setdefault(name, item)
    return found
