"""`operant check`: what is wrong with an environment, before anything is trained on it."""

from __future__ import annotations

from argparse import Namespace

from operant.cli.output import write, write_json
from operant.cli.parser import Command, Parser, add_json
from operant.cli.training import add_fields, read_fields, task_options
from operant.core.errors import BadInput

OF_RUNS = ("dtype", "max_evaluation_steps")  # options that change nothing of an environment


def _options() -> list:
    return [item for item in task_options(("gym",))["gym"] if item.name not in OF_RUNS]


def _arguments(parser: Parser) -> None:
    parser.add_argument("task", metavar="gym:ID", help="the environment; gym:MODULE:ID imports what registers it first, gym:MODULE:NAME is a function or class")
    parser.add_argument("--steps", type=int, default=1_000, metavar="N", help="random steps that are tried (default 1000)")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="what a step or a reset may take; making it twelve times as long (default 5)")
    add_fields(parser, "options of the task", _options())
    add_json(parser)


def _check(args: Namespace) -> int:
    if args.steps < 1 or not 0 < args.seconds < 1e6:
        raise BadInput("--steps is 1 or more, and --seconds above 0")
    scheme, _, name = args.task.partition(":")
    if scheme != "gym" or not name:
        raise BadInput(f"{args.task}: environments are checked, such as gym:CartPole-v1; problem sets and data are checked when a run begins")
    from operant.worlds.gym.examine import examine

    found = examine(name, steps=args.steps, seconds=args.seconds, **read_fields(args, _options()))
    if args.json:
        write_json({"task": args.task, "faults": found.faults, "notes": found.notes, "facts": found.facts})
    else:
        lines = [f"fault: {line}" for line in found.faults] + [f"note: {line}" for line in found.notes]
        lines += [f"{name}: {value}" for name, value in found.facts.items()]
        faults, notes = (f"{len(of)} {name}{'s' * (len(of) != 1)}" for of, name in ((found.faults, "fault"), (found.notes, "note")))
        sound = f"{args.task} breaks no rule: see the {notes} above" if found.notes else f"{args.task} is sound"
        write("\n".join([*lines, f"{args.task}: {faults}" if found.faults else sound]))
    return 1 if found.faults else 0


COMMANDS = (
    Command(
        "check",
        "Try an environment's rules: seeds, spaces, rewards, masks, copies, times. Exit code 1 where one is broken.",
        ("operant check gym:CartPole-v1", "operant check gym:Pendulum-v1 --rescale-action --steps 5000 --json"),
        _arguments,
        _check,
    ),
)
