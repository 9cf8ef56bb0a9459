"""`operant methods`, `tasks`, `show` and `presets`: what there is, and what was measured of it."""

from __future__ import annotations

import inspect
import math
import textwrap
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from operant.cli.output import table, write, write_json
from operant.cli.parser import Command, Parser, add_json
from operant.core.errors import BadInput, nearest
from operant.core.files import given_path, write_file
from operant.core.registry import value_text

if TYPE_CHECKING:
    from operant.core.registry import Method
    from operant.studies import Study

TRY = {
    "gym": "ppo",
    "ogbench": "iql",
    "data": "iql",
    "minari": "iql",
    "text": "grpo",
    "file": "grpo --model DIR --verifier numeric",
    "reasoning-gym": "grpo --model DIR",
    "preferences": "dpo",
    "sequences": "grpo",
    "generative": "awm",
    "agents": "mappo",
    "tabular": "value-iteration",
    "tabular:rock-paper-scissors": "cfr",
}
"""A method, and what else it takes, to try on each kind of task, and on those that begin with one of which that method is not."""


def status(entry: Method | Study) -> str:
    """How a method or study stands: the verdict that was recorded of its claim, `baseline` where it claims nothing, or `untested`."""
    from operant import evidence

    recorded = evidence.recorded(entry.key)
    return recorded["verdict"] if recorded is not None else "baseline" if getattr(entry, "baseline", False) else "untested"


def row(entry: Method) -> dict[str, str]:
    """A method as `operant methods --json` lists it."""
    found = {"key": entry.key, "name": entry.name, "family": entry.family, "paper": entry.paper, "spine": entry.spine, "status": status(entry)}
    return found | {"fails": failed(entry.key)}


def failed(key: str) -> list[str]:
    """The checks of a claim that were measured and do not hold."""
    from operant import evidence

    return [each["name"] for each in (evidence.recorded(key) or {"checks": []})["checks"] if each["holds"] is False]


def standing(entry: Method | Study) -> str:
    """How a method or study stands, and what of its claim does not hold: `partly: pass@1, entropy fail`."""
    return told(status(entry), entry.key)


SHORT = 120  # letters of a check's sentence in a report


def told(verdict: str, key: str, *, whole: bool = False) -> str:
    """A verdict with the checks that fail, by their names or, as a `whole`, by their sentences, and how many were measured where not all were."""
    from operant import evidence

    names, record = failed(key), evidence.recorded(key)
    said = [f"{', '.join(names)} fail{'s' * (len(names) == 1)}"] if names and not whole else []
    if whole and names:
        missed = (textwrap.shorten(each["says"], SHORT, placeholder=" …") for each in record["checks"] if each["holds"] is False)
        said.append(f"does not hold: {'; '.join(missed)}")
    if record is not None and (measured := evidence.measured(record)) < len(record["checks"]):
        said.append(f"{measured} of {len(record['checks'])} checks measured")
    return verdict + (f": {'; '.join(said)}" if said else "")


def standings() -> dict[str, str]:
    """What was measured of the claim of each method that has evidence: `partly: does not hold: PPO holds the pole up`."""
    from operant import evidence
    from operant.core.index import declared

    return {key: told(evidence.recorded(key)["verdict"], key, whole=True) for key in declared("methods", "method") if evidence.recorded(key) is not None}


INTERVALS = "[low, high] is a 95 % interval of the mean of the middle half of the seeds; of a return its ends may lie beyond what the task can give."

HOLDS = {True: "holds", False: "fails", None: "untested"}


def check_text(each: dict[str, Any]) -> str:
    """A recorded check in one line: `pass@1 fails: text:arithmetic, …: loss 0.025, threshold 0.01`."""
    from operant.evidence import figures_text

    figures = figures_text(each.get("figures"))
    return f"{each['name']} {HOLDS[each['holds']]}: {each['says']}" + (f": {figures}" if figures else "")


def _methods_arguments(parser: Parser) -> None:
    parser.add_argument("--write", metavar="FILE", help="write the library's own methods as a Markdown page, as docs/methods.md is made")
    add_json(parser)


def _methods(args: Namespace) -> int:
    from operant.core.registry import methods

    entries = list(methods().values())
    if args.write is not None:
        write_file(given_path(args.write, "--write"), methods_page(entries))
    if args.json:
        write_json([row(entry) for entry in entries])
    elif args.write is not None:
        write(f"written to {args.write}")
    else:
        entries.sort(key=lambda entry: (entry.family, entry.key))
        rows = [(entry.key, entry.name, entry.family, entry.spine, ", ".join(entry.worlds), entry.paper, standing(entry)) for entry in entries]
        write(table(rows, ("key", "name", "family", "spine", "worlds", "paper", "status")) + "\n\nmore of one: operant show KEY")
    return 0


def methods_page(entries: list[Method]) -> str:
    """The Markdown page of the library's own methods, a table a family, and of its studies. Methods of other packages are left out."""
    from operant.studies import studies

    own = [entry for entry in entries if entry.build.__module__.startswith("operant.")]
    lines = [
        "# Methods",
        "",
        "Made by `operant methods --write docs/methods.md` from the registry and from what `operant evidence KEY` measured; do not edit it.",
        "",
        "Intervals in brackets: where the record of a figure names their level, those of [statistics.md](statistics.md); elsewhere 95 % percentile bootstrap",
        "intervals over the seeds, which are too narrow (at five seeds they cover 90 %). No threshold was changed when the interval was.",
        "",
        "A claim is a list of checks; each holds or fails. Status: `reproduced` where every one holds, `partly` where some do, else `not reproduced`;",
        "`baseline` claims nothing, `untested` has no evidence yet.",
        *_of_base_policies(own),
    ]
    for family in sorted({entry.family for entry in own}):
        lines += ["", f"## {family}", "", "| Key | Method | Paper | Loop | Worlds | Status | Checks and figures |", "|---|---|---|---|---|---|---|"]
        for entry in sorted((entry for entry in own if entry.family == family), key=lambda entry: entry.key):
            worlds = ", ".join(entry.worlds)
            lines.append(_page_row(f"`{entry.key}`", entry.name, _paper_link(entry.paper), entry.spine, worlds, standing(entry), _measured(entry.key)))
    lines += ["", "## Studies", "", "What `operant study KEY` does.", "", "| Key | Study | Paper | Status | Checks and figures |", "|---|---|---|---|---|"]
    lines += [_page_row(f"`{entry.key}`", entry.summary, _paper_link(entry.paper), standing(entry), _measured(entry.key)) for entry in studies().values()]
    return "\n".join(lines) + "\n"


def _of_base_policies(entries: list[Method]) -> list[str]:
    """Which recipe made the base policies that the records of these methods and of the studies started from: a paragraph, or nothing."""
    from operant import evidence
    from operant.loops.base_policy import WarmUp
    from operant.studies import studies

    had: dict[int, list[str]] = {}
    for key in sorted({entry.key for entry in entries} | set(studies())):
        for version in {made["recipe"] for run in (evidence.recorded(key) or {"runs": []})["runs"] for made in run["base_policy"].values()}:
            had.setdefault(version, []).append(f"`{key}`")
    said = [f"recipe {version} for {', '.join(keys)}" for version, keys in sorted(had.items())]
    return ["", f"Records on `text:` tasks began from base policies made by {'; '.join(said)}. Now they are made by recipe {WarmUp().version}."] if said else []


def _page_row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _measured(key: str) -> str:
    """The checks and the figures that were recorded, empty where none were."""
    from operant import evidence

    return "<br>".join(map(check_text, (evidence.recorded(key) or {"checks": []})["checks"]))


def _paper_link(paper: str) -> str:
    return f"[{paper}](https://arxiv.org/abs/{paper.removeprefix('arXiv:')})" if paper.startswith("arXiv:") else paper


EXTRAS = {"atari": "gym:ALE/Pong-v5", "minatar": "gym:MinAtar/Breakout-v1", "minigrid": "gym:MiniGrid-DoorKey-5x5-v0", "box2d": "gym:LunarLander-v3"}


def _tasks_arguments(parser: Parser) -> None:
    add_json(parser)


def _tasks(args: Namespace) -> int:
    from operant.worlds import SCHEMES, task_names

    names = task_names()
    if args.json:
        write_json([{"task": name, "about": about} for name, about in names.items()])
        return 0
    blocks: dict[tuple[str, str], list[str]] = {}
    for name, about in names.items():
        blocks.setdefault((name.partition(":")[0], about), []).append(name)
    lines = []
    for (scheme, about), members in blocks.items():
        twin = next((suffix for others in blocks.values() if (suffix := _suffix(others, members))), None)
        shown = [f"each of the above with {twin}: {members[0]}"] if twin else fold_names(members)
        lines.append(f"{scheme}: {about}")
        lines += textwrap.wrap("   ".join(shown), 116, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)
        example = SCHEMES[scheme].example
        task = example if example in members else members[0]
        lines.append(f"  try: operant train {TRY.get(task, TRY[scheme])} --task {task}")
    listed = {scheme for scheme, _ in blocks}
    extras = ", ".join(f"{task} ({extra})" for extra, task in EXTRAS.items())
    lines += ["", *textwrap.wrap(f"Also tasks: any Gymnasium id that is registered (gym:ID), by an extra such as {extras}, and", 116)]
    lines += [f"  operant train {TRY[scheme]} --task {entry.example}" for scheme, entry in SCHEMES.items() if scheme not in listed]
    write("\n".join(lines) + "\nevery name: operant tasks --json")
    return 0


def _suffix(names: list[str], others: list[str]) -> str:
    """What `others` append to each of `names`, empty where they are not the same names with one ending."""
    ending = others[0].removeprefix(names[0])
    return ending if ending != others[0] and others == [name + ending for name in names] else ""


def fold_names(names: list[str], most: int = 8) -> list[str]:
    """Names as they are, or where there are more than `most` as patterns for a shell, `maze-{small,large}-v0`.

    Names of as many parts between hyphens make a pattern where they are all combinations of the parts that they have at each place.
    """
    if len(names) <= most:
        return names
    shapes: dict[int, list[list[str]]] = {}
    for name in names:
        parts = name.split("-")
        shapes.setdefault(len(parts), []).append(parts)
    folded = []
    for rows in shapes.values():
        places = [list(dict.fromkeys(parts)) for parts in zip(*rows, strict=True)]
        if math.prod(map(len, places)) == len(rows):
            folded.append("-".join(map(_pattern, places)))
        else:
            folded += ["-".join(parts) for parts in rows]
    return folded


def _pattern(parts: list[str]) -> str:
    """`a`, or `{a,b}` of several, behind the scheme that all have."""
    if len(parts) == 1:
        return parts[0]
    schemes = {part.rpartition(":")[0] for part in parts}
    scheme = f"{schemes.pop()}:" if len(schemes) == 1 and all(":" in part for part in parts) else ""
    return f"{scheme}{{{','.join(part.removeprefix(scheme) for part in parts)}}}"


def _show_arguments(parser: Parser) -> None:
    parser.add_argument("method", metavar="METHOD", help="a key of `operant methods`")
    add_json(parser)


def _show(args: Namespace) -> int:
    from operant import evidence
    from operant.cli.training import option, try_command, type_name
    from operant.core.registry import get_method, hyperparameters
    from operant.loops.presets import PRESETS

    entry = get_method(args.method)
    fields = hyperparameters(entry.hyperparameters)
    recorded = evidence.recorded(entry.key)
    source = inspect.getsourcefile(entry.build)
    if args.json:
        described = [{"name": item.name, "type": type_name(item.type), "default": item.default, "help": item.help} for item in fields]
        write_json(row(entry) | {"worlds": entry.worlds, "doc": entry.doc, "hyperparameters": described, "source": source, "evidence": recorded})
        return 0
    facts = [("family", entry.family), ("paper", entry.paper), ("loop", entry.spine), ("worlds", ", ".join(entry.worlds)), ("status", standing(entry))]
    facts += [("check", check_text(each)) for each in (recorded or {"checks": []})["checks"]]
    facts += [("source", source or "not in a file"), ("try", try_command(entry))]
    facts += [("preset", f"{preset.name}: {preset.command}") for preset in PRESETS if preset.method == entry.key]
    text = f"{entry.key}: {entry.name}\n\n{entry.doc}\n\n{table(facts)}"
    if "[" in " ".join(check_text(each) for each in (recorded or {"checks": []})["checks"]):
        text += f"\n\n{INTERVALS}"
    if fields:
        rows = [(option(item.name), type_name(item.type), value_text(item.default), item.help) for item in fields]
        text += f"\n\n{table(rows, ('hyper-parameter', 'type', 'default', ''))}"
    write(text)
    return 0


def _score_text(measured: dict[str, Any] | None) -> str:
    """A preset's recorded score: `-152.1 [-160.3, -140.2]`."""
    from operant.evidence import flat_figures

    return "not measured" if measured is None else flat_figures(measured["figures"])[0][1]


def _presets_arguments(parser: Parser) -> None:
    parser.add_argument("method", nargs="?", metavar="METHOD", help="of this method alone, with the command line that each one is")
    parser.add_argument("--task", metavar="TASK", help="of this task alone, gym:ID, with the command line that each one is")
    add_json(parser)


def _presets(args: Namespace) -> int:
    from operant import evidence
    from operant.core.registry import get_method
    from operant.loops.presets import PRESETS

    of_method = [preset for preset in PRESETS if args.method in (None, preset.method)]
    if not of_method:
        keys = ", ".join(dict.fromkeys(preset.method for preset in PRESETS))
        raise BadInput(f"there are no presets of {get_method(args.method).key}; there are some of {keys}")
    found = [preset for preset in of_method if args.task in (None, f"gym:{preset.task}", preset.task)]
    if not found:
        tasks = dict.fromkeys(f"gym:{preset.task}" for preset in of_method)
        raise BadInput(f"there are no presets{f' of {args.method}' * bool(args.method)} for {args.task}: {nearest(args.task, tasks)}")
    record = evidence.recorded("presets")
    measured = {} if record is None else {each["name"]: each for each in record["checks"] if each["holds"] is not None}
    if args.json:
        write_json([asdict(preset) | {"command": preset.command, "measured": measured.get(preset.pair, {}).get("figures")} for preset in found])
        return 0
    columns = {
        "preset": [preset.name for preset in found],
        "method": [preset.method for preset in found],
        "task": [preset.task for preset in found],
        "steps": [f"{preset.steps:,}" for preset in found],
        "our return": [_score_text(measured.get(preset.pair)) for preset in found],
        "from": [preset.source.partition(":")[0] for preset in found],
    }
    text = table(list(zip(*columns.values(), strict=True)), tuple(columns), right=(3,))
    text += "\n\n" + "\n".join(preset.command for preset in found) if args.method or args.task else "\n\nwhat each is: operant presets METHOD"
    write(text)
    return 0


COMMANDS = (
    Command(
        "methods",
        "List the methods, with the verdict on each one's claim.",
        ("operant methods", "operant methods --json", "operant methods --write docs/methods.md"),
        _methods_arguments,
        _methods,
    ),
    Command("tasks", "List the tasks that have names.", ("operant tasks", "operant tasks --json"), _tasks_arguments, _tasks),
    Command("show", "Describe a method: what it does, its hyper-parameters, evidence and source.", ("operant show ppo",), _show_arguments, _show),
    Command(
        "presets",
        "List the settings that somebody tuned for a method on a task, for --preset.",
        ("operant presets", "operant presets ppo", "operant presets --task gym:LunarLander-v3"),
        _presets_arguments,
        _presets,
    ),
)
