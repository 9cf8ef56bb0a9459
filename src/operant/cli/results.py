"""`operant compare`, `report` and `diff`: what finished runs say."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operant.cli.catalogue import standings
from operant.cli.comparing import parse_compare
from operant.cli.drawing import draw, regret_curves, state_map, strategy
from operant.cli.members import PLACE_OPTIONS, add_place_options, checked_here, opened, out_folder, run_members, training_member, unfinished, wanted
from operant.cli.output import write, write_json
from operant.cli.parser import Command, Parser, add_json
from operant.cli.training import add_trust, run_options
from operant.core.errors import BadInput
from operant.core.files import check_target, given_path, write_file
from operant.core.terminal import note
from operant.loops.progress import training, waiting

if TYPE_CHECKING:
    from operant.evaluate.records import Run

FORMATS = (".html", ".json", ".svg", ".txt")


def _compare_arguments(parser: Parser) -> None:
    parser.add_argument("runs", nargs="*", metavar="DIR", help="run directories; the first method of a task is what the others are measured against")
    parser.add_argument("--methods", metavar="A,B", help="train these first, in this order, and compare them; with --help, their hyper-parameters are listed")
    parser.add_argument("--task", metavar="TASK", help="with --methods: what they are trained on")
    add_place_options(parser, "with --methods: ", "runs")
    kinds = "a .html, .json or .txt file for the comparison, or .svg for its learning curves"
    parser.add_argument("--out", metavar="PATH", help=f"{kinds}; with --methods: a directory for runs and report.html")
    add_json(parser)


def _compare(args: Namespace) -> int:
    if args.methods is None:
        if given := [name for name in ("task", *PLACE_OPTIONS) if getattr(args, name) is not None]:
            raise BadInput(f"--{given[0]} goes with --methods; for example: operant compare --methods ppo,random --task gym:CartPole-v1")
        if not args.runs:
            raise BadInput("operant compare needs run directories, or --methods and --task; for example: operant compare runs/a runs/b")
        out = given_path(args.out, "--out") if args.out is not None else None
        if out is not None and out.suffix not in FORMATS:
            raise BadInput(f"--out {out}: the name must end with {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, as in {out.with_suffix('.html')}")
        if out is not None:
            check_target(out)
        paths = [Path(path) for path in args.runs]
    else:
        paths = _train_all(args)
        out = paths[0].parent / "report.html"
    return tell(paths, out, args.json)


def tell(paths: list[Path], out: Path | None, as_json: bool) -> int:
    """Compare runs, on standard output and in a file of one of `FORMATS`."""
    from operant.evaluate.compare import compare
    from operant.evaluate.records import load_run
    from operant.evaluate.report import curves_figure, write_report

    runs = [load_run(path) for path in paths]
    comparison = compare(runs)
    found = comparison.to_dict() | {"out": None if out is None else str(out)}
    if out is not None and out.suffix == ".html":
        write_report(runs, out, standings())
    elif out is not None:
        made = {".json": lambda: json.dumps(comparison.to_dict(), indent=1), ".svg": lambda: curves_figure(comparison), ".txt": comparison.to_text}
        write_file(out, made[out.suffix]().rstrip() + "\n")
    if as_json:
        write_json(found)
    else:
        write(comparison.to_text() + (f"\n\nwritten to {out}" if out is not None else ""))
    return 0


def _train_all(args: Namespace) -> list[Path]:
    """Train each method of `--methods` in a directory of its own, after everything has been checked for all of them."""
    from operant.loops.configuration import configure_run
    from operant.loops.runs import resume, train
    from operant.loops.track import check_trackers

    members: dict[str, dict[str, str]] = args.members
    if args.runs:
        raise BadInput(f"{args.runs[0]}: give run directories or --methods, not both")
    if args.task is None:
        raise BadInput("--methods needs --task; for example: operant compare --methods ppo,random --task gym:CartPole-v1")
    folder = out_folder(args.out, "compare")
    apart, given = wanted(args), run_options(args)
    check_trackers(tuple(given.get("track", ())))
    configured = {key: configure_run(key, args.task, hyperparameters=options, **checked_here(args, given)) for key, options in members.items()}
    check_target(folder / "report.html")
    waiting = unfinished(folder, {key: config for key, (config, _, _) in configured.items()})
    if apart and waiting:
        with opened(args, folder) as place:
            of = [training_member(key, folder / key, key, configured[key], given, members[key]) for key in waiting]
            run_members(place, of, args.jobs)
    for key in () if apart else waiting:
        with training(f"{key} on {args.task}") as listener:
            if (folder / key / "run.json").exists():
                resume(folder / key, trust=True, listener=listener)  # what it names was just named
            else:
                train(key, args.task, out=folder / key, listener=listener, **given, **members[key])
    return [folder / key for key in members]


def _report_arguments(parser: Parser) -> None:
    parser.add_argument("runs", nargs="+", metavar="DIR", help="run directories, compared where there are several")
    parser.add_argument("--out", required=True, metavar="FILE", help="the HTML file to write; it needs nothing beside it")
    add_trust(parser)
    add_json(parser)


def _report(args: Namespace) -> int:
    from operant.evaluate.records import load_run
    from operant.evaluate.report import write_report

    out = given_path(args.out, "--out")
    check_target(out)
    runs = [load_run(path) for path in args.runs]
    with waiting("making the report"):
        undrawn = [draw(run, args.trust, args.imports or ()) for run in runs]
        of_tables = [_computed(run, args.trust) for run in runs]
    for run, why in zip(runs, undrawn, strict=True):
        if why:
            note(f"no video of {run.path}: {why}")
    drawn = [replace(load_run(run.path), undrawn=why, **of) for run, why, of in zip(runs, undrawn, of_tables, strict=True)]
    out = write_report(drawn, out, standings())
    if args.json:
        write_json({"report": str(out), "runs": args.runs})
    else:
        write(f"the report is in {out}")
    return 0


def _computed(run: Run, trust: bool) -> dict[str, Any]:
    """What is computed of a finite MDP's run, as fields of it; what cannot be is told, and stops no report."""
    try:
        return {"states": state_map(run, trust), "strategy": strategy(run, trust), "regret": regret_curves(run)}
    except BadInput as error:
        note(f"no map and no regret of {run.path}: {error}")
        return {}


def _diff_arguments(parser: Parser) -> None:
    parser.add_argument("runs", nargs=2, metavar="RUN", help="a run directory")
    add_json(parser)


def _diff(args: Namespace) -> int:
    difference = difference_of_runs(*map(Path, args.runs))
    if args.json:
        write_json({"runs": args.runs, "same": difference is None, "difference": difference})
    else:
        write("the final states are the same bits" if difference is None else f"the final states differ at {difference}")
    return 0 if difference is None else 1


def difference_of_runs(a: Path, b: Path) -> str | None:
    """Where the newest checkpoints' learners, and then the newest policies, of two runs first differ in a bit; None when they do not.

    Raises:
        BadInput: a path that is no run, or a run without a whole checkpoint.
    """
    from operant.core.checkpoint import first_difference
    from operant.core.run import RunDirectory

    states = []
    for path in (a, b):
        state, where, damaged = RunDirectory.open(path).checkpoints.load()
        for line in damaged:
            note(f"{line}; comparing {where.name}")
        states.append(state["learner"])
    return first_difference(states[0], states[1], "learner") or first_difference(_policies(a), _policies(b), "policies")


def _policies(run: Path) -> dict[str, dict]:
    """The arrays of a run's newest policies, by file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = run / "policies" / "last"
    found = {}
    for path in sorted(folder.rglob("*.safetensors")):
        try:
            found[str(path.relative_to(folder))] = load_file(path)
        except (OSError, SafetensorError) as error:
            raise BadInput(f"{path} cannot be read: {error}") from error
    return found


COMMANDS = (
    Command(
        "compare",
        "Set runs side by side: one row a task and method, with intervals over the seeds.",
        (
            "operant compare runs/a runs/b",
            "operant compare runs/a runs/b --out comparison.html",
            "operant compare --methods ppo,random --task gym:CartPole-v1 --seeds 8 --steps 100000 --out runs/ppo-or-random",
            "operant compare --methods grpo,rloo,dapo --task text:countdown --seeds 5 --samples 20000 --jobs 2 --out runs/which",
            "operant compare --methods ppo,sac-v2 --task gym:HalfCheetah-v5 --seeds 8 --cluster 10.0.0.1:6379 --cpus 2 --out runs/cheetah",
            "operant compare --methods grpo,rloo --task file:problems.jsonl --model ./my-model --verifier numeric --group-size 8 --rloo.learning-rate 1e-4",
        ),
        _compare_arguments,
        _compare,
        parse_compare,
    ),
    Command(
        "report",
        "Write one HTML file with the scores, curves, videos and completions of some runs.",
        ("operant report runs/a --out report.html", "operant report runs/a runs/b --out both.html --json"),
        _report_arguments,
        _report,
    ),
    Command(
        "diff",
        "Say whether two runs ended in the same bits: exit code 0 when they did, else 1 and what differs first.",
        ("operant diff runs/a runs/b",),
        _diff_arguments,
        _diff,
    ),
)
