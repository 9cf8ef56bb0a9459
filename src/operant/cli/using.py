"""`operant export` and `watch`: what people do with a trained policy."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from operant.cli.output import table, write, write_json
from operant.cli.parser import Command, Parser, add_json, one_of, whole
from operant.cli.training import add_stochastic, add_trust
from operant.loops.export import SUFFIXES
from operant.loops.progress import waiting


def _whose(parser: Parser) -> None:
    """The options that say which policy of a run is meant."""
    parser.add_argument("run", metavar="DIR", help="the run directory")
    parser.add_argument("--seed", type=whole(0), metavar="S", help="the seed whose policy it is (default: the run's first)")
    parser.add_argument("--policy", type=one_of("last", "best"), default="last", metavar="last|best", help="which of its kept policies (default last)")


def _export_arguments(parser: Parser) -> None:
    _whose(parser)
    parser.add_argument("--format", type=one_of(*SUFFIXES), metavar="onnx|torch", help="what to write (default: as --out ends; onnx takes the extra export)")
    parser.add_argument("--out", metavar="FILE", help="the file, .onnx or .pt2 (default: named after the run and the seed, here)")
    add_trust(parser)
    add_json(parser)


def _export(args: Namespace) -> int:
    from operant.core.errors import BadInput
    from operant.loops.runs import load

    run = load(args.run, trust=args.trust)
    seed = run.config["seed"] if args.seed is None else args.seed
    if args.out is None and args.format is None:
        raise BadInput(f"operant export needs --format onnx or torch, or --out FILE{' or '.join(SUFFIXES.values())}")
    out = args.out or f"{Path(args.run).resolve().name}-seed-{seed}{SUFFIXES[args.format]}"
    with waiting(f"writing {out}"):
        found = run.export(out, format=args.format, seed=seed, which=args.policy)
    if args.json:
        write_json(found)
        return 0
    rows = [(kind[:-1], _port(port)) for kind in ("inputs", "outputs") for port in found[kind]]
    write(f"{found['file']}: {found['method']} on {found['task']}, the {found['which']} policy of seed {seed}\n\n{table(rows)}")
    return 0


def _port(port: dict[str, Any]) -> str:
    return f"{port['name']} [{', '.join(map(str, port['shape']))}] {port['dtype']}"


def _watch_arguments(parser: Parser) -> None:
    _whose(parser)
    parser.add_argument("--episodes", type=whole(1), default=1, metavar="N", help="how many (default 1)")
    parser.add_argument("--draw", type=whole(0), default=1, metavar="S", help="which episodes, as --seed of evaluate (default 1)")
    add_stochastic(parser)
    parser.add_argument("--out", metavar="FILE", help="a .gif or .mp4 (default: a window; where there is no display, a .gif named after the run, here)")
    add_trust(parser)
    add_json(parser)


def _watch(args: Namespace) -> int:
    from operant.loops.runs import load

    run = load(args.run, trust=args.trust)
    seed = run.config["seed"] if args.seed is None else args.seed
    out = args.out if args.out is not None or _has_display() else f"{Path(args.run).resolve().name}-seed-{seed}.gif"
    with waiting(f"playing in {'a window' if out is None else out}"):
        episodes = run.watch(out, episodes=args.episodes, draw=args.draw, seed=seed, which=args.policy, stochastic=args.stochastic)
    found = {"run": args.run, "method": run.config["method"], "task": run.config["task"], "seed": seed, "policy": args.policy, "file": out}
    if args.json:
        write_json(found | {"episodes": episodes})
        return 0
    rows = [(f"{one['return']:.4g}", f"{one['steps']:,}{', cut there' * one['cut']}") for one in episodes]
    title = f"{found['method']} on {found['task']}: the {args.policy} policy of seed {seed}{' as it draws' * args.stochastic}"
    write(f"{title}\n\n{table(rows, ('return', 'steps'))}" + (f"\n\nseen in {out}" if out else ""))
    return 0


def _has_display() -> bool:
    return not sys.platform.startswith("linux") or bool(os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"})


COMMANDS = (
    Command(
        "export",
        "Write a policy as a file that other programs run: ONNX, or a program of torch.export.",
        ("operant export runs/pendulum --format onnx", "operant export runs/pendulum --format torch --seed 2 --policy best --out pendulum.pt2 --json"),
        _export_arguments,
        _export,
    ),
    Command(
        "watch",
        "See a policy play: in a window where there is a display, else in a GIF or MP4.",
        ("operant watch runs/pendulum", "operant watch runs/pendulum --episodes 3 --out pendulum.gif", "operant watch runs/pendulum --policy best --draw 7"),
        _watch_arguments,
        _watch,
    ),
)
