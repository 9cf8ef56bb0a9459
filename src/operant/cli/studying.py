"""`operant study`: a paper's measurement on a task and model of one's own."""

from __future__ import annotations

import typing
from argparse import Namespace
from typing import TYPE_CHECKING

from operant.cli.output import table, write, write_json
from operant.cli.parser import Command, Parser, add_json, asks_help, normalize
from operant.cli.training import metavar, option, type_name
from operant.core.registry import value_text
from operant.core.terminal import note

if TYPE_CHECKING:
    from operant.studies import Study

_DEST = "option "  # before a field's name in the namespace, where it can be no other option's


def _arguments(parser: Parser) -> None:
    parser.usage = "operant study [NAME [option …]]"
    parser.add_argument("name", nargs="?", metavar="NAME", help="what to do: without it, the studies are listed")
    add_json(parser)


def _parse(command: Command, argv: list[str]) -> Namespace:
    """Find the study first, for the options are its own."""
    words = normalize(argv)
    place = next((index for index, word in enumerate(words) if not word.startswith("-") or word == "-"), None)
    if place is None or place and words[:place] != ["--json"]:
        parser = command.parser()
        parser.epilog += "\n\nEach study has options of its own: operant study NAME --help"
        return parser.read(words)
    from operant.studies import get_study, outlined_study

    key = words.pop(place)
    if asks_help(words) and (entry := outlined_study(key)) is not None:
        return study_parser(entry).read(["--help"])
    entry = get_study(key)
    args = study_parser(entry).read(words)
    args.name = entry.key
    return args


def study_parser(entry: Study) -> Parser:
    """The parser of `operant study NAME`, with the study's options."""
    from operant.core.registry import hyperparameters

    parser = Parser(f"operant study {entry.key}", entry.doc, (f"operant study {entry.key}", f"operant study {entry.key} --out runs/{entry.key} --json"))
    parser.usage = f"operant study {entry.key} [option …]"
    parser.add_argument("--out", metavar="DIR", help="a new folder for study.json, the figures and what is trained (default: one under runs/)")
    add_json(parser)
    group = parser.add_argument_group(f"options of {entry.key} ({entry.paper})")
    for item in hyperparameters(entry.options):
        words = f"{item.help} ({type_name(item.type)}, default {value_text(item.default)})".strip().replace("%", "%%")
        flag = {"nargs": "?", "const": "true"} if bool in (item.type, *typing.get_args(item.type)) else {}
        group.add_argument(option(item.name), dest=_DEST + item.name, metavar=metavar(item.type), help=words, **flag)
    return parser


def _study(args: Namespace) -> int:
    from operant import studies

    if args.name is None:
        known = studies.studies().values()
        if args.json:
            write_json([{"key": entry.key, "paper": entry.paper, "summary": entry.summary} for entry in known])
        else:
            rows = [(entry.key, entry.paper, entry.summary) for entry in known]
            write(table(rows, ("key", "paper", "study")) + "\n\noptions of one: operant study NAME --help")
        return 0
    given = {name.removeprefix(_DEST): value for name, value in vars(args).items() if name.startswith(_DEST) and value is not None}
    found, result = studies.run(args.name, out=args.out, say=note, **given)
    if args.json:
        write_json(result)
    else:
        blocks = [f"{item.title}\n\n{table(item.rows, item.head)}" for item in found.tables]
        written = ", ".join(("study.json", *result["plots"]))
        write("\n\n".join([*blocks, f"written to {result['folder']}: {written}"]))
    return 0


COMMANDS = (
    Command(
        "study",
        "Do a study: a paper's measurement, on a task and model of your own.",
        ("operant study", "operant study limit-of-rlvr --run runs/mine --samples 256"),
        _arguments,
        _study,
        _parse,
    ),
)
