"""`operant bench`, `operant data make` and `operant model import`."""

from __future__ import annotations

import re
from argparse import Namespace

from operant.cli.output import table, write, write_json
from operant.cli.parser import Command, Parser, add_json, whole
from operant.core.commands import command_line
from operant.core.errors import BadInput
from operant.core.files import given_path
from operant.core.terminal import note
from operant.loops.progress import counting


def _bench_arguments(parser: Parser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="the bench to run, or a set of them (control)")
    parser.add_argument("--list", action="store_true", help="list the benches")
    parser.add_argument("--repeats", type=whole(1), default=3, metavar="N", help="runs of each side, of which the median counts (default 3)")
    parser.add_argument("--record", action="store_true", help="keep the result with the package, from where the README's table is made")
    parser.add_argument("--write", metavar="FILE", help="write the table of all that is kept into a Markdown file, between its marks")
    add_json(parser)


def _bench(args: Namespace) -> int:
    from operant import bench
    from operant.bench import records

    if [args.list, args.name is not None, args.write is not None].count(True) != 1:
        raise BadInput(f"operant bench takes one of a name, --list and --write FILE; names: {', '.join(bench.names())}")
    if args.write is not None:
        records.write_table(given_path(args.write, "--write"))
        write(f"written to {args.write}")
        return 0
    if args.list:
        benches = {name: bench.find(name) for name in bench.names()}
        if args.json:
            write_json([{"bench": name, "about": entry.about, "unit": entry.unit} for name, entry in benches.items()])
        else:
            write(table([(name, entry.about) for name, entry in benches.items()], ("bench", "about")))
        return 0
    names = bench.SETS.get(args.name, (args.name,))
    for name in names if args.record else ():
        records.check(name)
    for name in names:
        found = bench.run(name, args.repeats, note)
        if args.record:
            note(f"kept in {records.record(found)}")
        if args.json:
            write_json(found)
        else:
            write(bench.table(found))
    return 0


def _data_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the data set, for example ogbench:pointmaze-medium-navigate-v0")
    parser.add_argument("--steps", type=whole(1), default=100_000, metavar="N", help="how many transitions (default 100000)")
    parser.add_argument("--seed", type=whole(0), default=0, metavar="S", help="what every draw comes from (default 0)")
    parser.add_argument("--out", metavar="FILE", help="the .npz file to write (default: in the cache, where the task of that name finds it)")
    add_json(parser)


def _data(args: Namespace) -> int:
    from operant.worlds.data.collect import make_dataset

    with counting(f"making {args.name}", "steps") as progress:
        path = make_dataset(args.name, steps=args.steps, seed=args.seed, out=args.out, progress=progress)
    if args.json:
        write_json({"data": str(path), "name": args.name, "steps": args.steps, "seed": args.seed})
    else:
        # the data have goals and no reward: the task that relabels them is what IQL learns from
        task = re.sub(r"^(?:ogbench:)?(.*?)(?:-singletask.*)?-v0$", r"ogbench:\1-singletask-v0", args.name)
        of = ("iql", "--task", task) if args.out is None else ("bc", "--task", f"data:{path}")
        write(f"the data are in {path}\nnext: {command_line('train', *of)}")
    return 0


def _import_arguments(parser: Parser) -> None:
    parser.add_argument("file", metavar="PATH.gguf", help="the model's file")
    parser.add_argument("--out", metavar="DIR", required=True, help="the folder to write, in the Hugging Face format; it must not exist")
    parser.add_argument("--chat-template", metavar="FILE", help="a Jinja template that takes the place of the file's own")
    add_json(parser)


def _import(args: Namespace) -> int:
    try:
        from operant.worlds.text.gguf import import_gguf
    except ImportError as error:
        raise BadInput("a language model needs transformers: pip install 'operant[gguf]'") from error
    path = import_gguf(args.file, args.out, args.chat_template, note)
    if args.json:
        write_json({"model": str(path), "from": args.file})
    else:
        trained = command_line("train", "grpo", "--task", "file:PROBLEMS.jsonl", "--model", path, "--lora-rank", 16, "--max-new-tokens", 64)
        write(f"the model is in {path}\nnext: {trained}")
    return 0


COMMANDS = (
    Command(
        "bench",
        "Run a side-by-side measurement with a peer library: whole processes in turn, medians.",
        ("operant bench --list", "operant bench ppo-cartpole --repeats 5 --json", "operant bench ppo-cartpole --record", "operant bench --write README.md"),
        _bench_arguments,
        _bench,
    ),
    Command(
        "data make",
        "Make an offline data set with the library's own collector.",
        ("operant data make ogbench:pointmaze-medium-navigate-v0 --steps 100000 --seed 0",),
        _data_arguments,
        _data,
    ),
    Command(
        "model import",
        "Turn a GGUF file (llama.cpp's) into a folder that --model takes.",
        ("operant model import SmolLM2-135M-Instruct.Q4_1.gguf --out models/smollm2",),
        _import_arguments,
        _import,
    ),
)
