"""`operant tune`: a search for hyper-parameters."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operant.cli.members import add_place_options, finish, opened, out_folder, training_member, wanted
from operant.cli.output import table, write, write_json
from operant.cli.parser import Command, Parser, add_json, whole
from operant.cli.training import RESERVED, add_run_options, both, fields_of, option, parse_method, run_options
from operant.core.commands import command_line, importing
from operant.core.errors import BadInput
from operant.core.registry import imported_files
from operant.core.terminal import note
from operant.loops.progress import training

if TYPE_CHECKING:
    from operant.loops.tuning import Attempt, Trains, Tuned

SHOWN = 10  # of the best trials
REPORTED = 5


def _arguments(parser: Parser) -> None:
    parser.usage = "operant tune METHOD --task TASK [option …]"
    parser.add_argument("method", metavar="METHOD", help="a key of `operant methods`")
    _options(parser)


def _options(parser: Parser) -> None:
    parser.add_argument("--task", required=True, metavar="TASK", help="scheme:name, or a bare known name: see `operant tasks`")
    parser.add_argument("--trials", type=whole(1), default=20, metavar="N", help="how many settings are tried (default 20)")
    parser.add_argument("--search", metavar="NAME,…", help="hyper-parameters to search (default: all that have a range and are not set)")
    words = "a range in the place of its own: LOW:HIGH, LOW:HIGH:log or A|B|C; may be given for several"
    parser.add_argument("--range", action="append", default=[], metavar="NAME=RANGE", help=words)
    add_run_options(parser, "of each trial: ")
    add_place_options(parser, "", "trials that are proposed together, and train", "1")
    parser.add_argument("--out", metavar="DIR", help="the folder of the trials' runs (default: a new one under runs/); one that is there is gone on with")
    add_json(parser)


def _tune(args: Namespace) -> int:
    from operant.loops.tuning import tune

    given = run_options(args)
    if "track" in given:
        raise BadInput("--track: the runs of a search are not logged elsewhere; train its winner with --track")
    ranges = dict(item.partition("=")[::2] for item in args.range)
    out = out_folder(args.out, f"tune-{args.method}")
    given = {"seeds": 3} | given
    with _trained(args, out, given) as trains:
        found = tune(
            args.method,
            args.task,
            trials=args.trials,
            search=None if args.search is None else [name.strip() for name in args.search.split(",") if name.strip()],
            ranges=ranges,
            out=out,
            say=note,
            watched=lambda place: training(f"trial {place + 1} of {args.trials}", loads=False),
            jobs=args.jobs or 1,
            trains=trains,
            **given,
            **args.hyperparameters,
        )
    report = _report(found)
    best, told = found.finished[0], {state: sum(trial.state == state for trial in found.trials) for state in ("done", "pruned", "failed")}
    if args.json:
        chosen = {"trial": best.number + 1, "score": best.score, "steps": found.steps(best), "hyperparameters": best.values, "run": str(found.run(best))}
        warnings = [found.unfair] * bool(found.unfair)
        write_json({"out": str(found.folder), "trials": told, "best": chosen, "command": command(found), "report": str(report), "warnings": warnings})
        return 0
    names = list(found.asked["ranges"])
    rows = [
        (str(trial.number + 1), f"{trial.score:.4g}", f"{found.steps(trial):,}", *(trial.values[name] for name in names)) for trial in found.finished[:SHOWN]
    ]
    counts = ", ".join(f"{count} {state}" for state, count in told.items() if count)
    seeds = f"{found.asked['seeds']} seed{'s' * (found.asked['seeds'] > 1)}"
    text = f"{args.method} on {found.asked['task']}: {len(found.trials)} trials of {seeds}, {counts}; the best ones\n\n"
    text += table(rows, ("trial", "score", "steps", *(name.replace("_", "-") for name in names)), right=(0, 1, 2))
    if found.unfair:
        text += f"\n\nwarning: {found.unfair}"
    write(f"{text}\n\nthe report of the best {min(REPORTED, len(found.finished))} is in {report}\nits seeds chose the winner; with others:\n{command(found)}")
    return 0


@contextmanager
def _trained(args: Namespace, folder: Path, given: dict[str, Any]) -> Iterator[Trains | None]:
    """What trains trials, in processes of their own; None where this process does."""
    if not wanted(args):
        yield None
        return
    with opened(args, folder) as place:

        def trains(attempts: list[Attempt]) -> list[str | None]:
            of, keys = {}, [f"trial-{attempt.number + 1}" for attempt in attempts]
            for key, attempt in zip(keys, attempts, strict=True):
                own = args.hyperparameters | {f"{args.method}.{name}": text for name, text in attempt.values.items()}
                of[key] = training_member(key, attempt.path, args.method, attempt.configured, given, own), attempt
            members = [member for member, attempt in of.values() if not attempt.look()]
            failed = finish(place, members, None, lambda member: of[member.key][1].look())
            return [failed.get(key) for key in keys]

        yield trains


def command(found: Tuned) -> str:
    """The training of a search's winner with seeds that did not choose it."""
    from operant.core.registry import get_method
    from operant.worlds import kind_of

    asked, entry = found.asked, get_method(found.asked["method"])
    owned = both(fields_of(entry), {kind_of(asked["task"])}) | RESERVED
    words = ["--task", asked["task"], f"--{asked['budget']['unit']}", asked["budget"]["amount"], "--seeds", 10, "--seed", asked["seed"] + asked["seeds"]]
    for name, value in asked["settings"].items():
        words += [option(name), value]
    for name, value in found.finished[0].values.items():
        words += [option(name, entry.key * (name in owned)), value]
    return command_line("train", entry.key, *importing(imported_files()), *words)


def _report(found: Tuned) -> Path:
    """The report of the best trials, with curves."""
    from operant.evaluate.records import load_run
    from operant.evaluate.report import write_report

    return write_report([load_run(found.run(trial)) for trial in found.finished[:REPORTED]], found.folder / "report.html")


COMMANDS = (
    Command(
        "tune",
        "Search for a method's hyper-parameters on a task: trials of several seeds, of which the poor ones end early.",
        (
            "operant tune ppo --task gym:CartPole-v1 --trials 30 --steps 50000",
            "operant tune td3 --task gym:Pendulum-v1 --steps 10000 --search learning-rate,gamma --batch-size 128 --out runs/tuned",
            "operant tune sac-v2 --task gym:HalfCheetah-v5 --trials 64 --jobs 16 --cluster auto --cpus 2 --out runs/searched",
            "operant tune ppo --task gym:CartPole-v1 --range learning-rate=1e-4:1e-2:log --range hidden=32,32|64,64|256",
        ),
        _arguments,
        _tune,
        parse_method,
        _options,
    ),
)
