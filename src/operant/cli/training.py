"""`operant train`, `resume` and `evaluate`."""

from __future__ import annotations

import re
import typing
from argparse import Namespace
from collections.abc import Callable, Collection, Iterable
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any

from operant.cli.members import CLUSTERS, PLACE_OPTIONS, add_place_options, checked_here, opened, out_folder, run_members, training_member, unfinished, wanted
from operant.cli.output import score_text, strategy_table, table, write, write_json
from operant.cli.parser import Command, Parser, add_json, asks_help, normalize, one_of, whole
from operant.cli.processes import launch, launches
from operant.core import ranks
from operant.core.commands import command_line, evaluating, importing, run_command
from operant.core.errors import BadInput
from operant.core.files import check_target
from operant.core.index import declared
from operant.core.registry import value_text
from operant.core.terminal import note
from operant.loops.presets import NAMES, PRESETS
from operant.loops.progress import speed_text, stages, training, waiting

if TYPE_CHECKING:
    from operant.core.registry import Hyperparameter, Method
    from operant.loops.runs import Run

LARGE, LONG = 0.2, 1.0  # of a run's time, and seconds: evaluations that take more than both are told of


def _train_arguments(parser: Parser) -> None:
    parser.usage = "operant train METHOD --task TASK [option …]"
    parser.add_argument("method", metavar="METHOD", help="what to train: a key of `operant methods`")
    _train_options(parser)


def _train_options(parser: Parser) -> None:
    parser.add_argument("--task", required=True, metavar="TASK", help="scheme:name, or a bare known name: see `operant tasks`")
    add_run_options(parser)
    parser.add_argument("--from", dest="start_from", metavar="RUN", help="begin from the policies of another run, and of the same method from its critics too")
    parser.add_argument("--out", metavar="DIR", help="the run directory (default: a new one under runs/); with --jobs or --cluster a folder of one run a seed")
    add_place_options(parser, "each seed a run of its own: ", "runs", besides=" and --sample-workers")
    add_processes(parser)
    add_sample_workers(parser, "0", "default: on this machine")
    words = "updates that the weights which act may be behind those that learn, so that both go on at the same time (default 0: each waits for the other)"
    parser.add_argument("--staleness", type=whole(0), metavar="K", help=f"with --sample-workers: {words}")
    words = "weigh what older weights did, or vLLM drew, by its ratio to it, so much at the most (default: the ratio is the method's matter)"
    parser.add_argument("--truncate-importance", type=float, metavar="C", help=f"with --staleness, or --engine vllm: {words}")
    words = "compute the losses of updates by code of torch.compile, which is kept for the next run (on a processor it has not paid)"
    parser.add_argument("--compile", action="store_true", default=None, help=words)
    words = "capture updates on a GPU, of text the drawing of a token, once, and replay them without Python between their kernels"
    parser.add_argument("--cuda-graphs", action="store_true", default=None, help=words)
    add_json(parser)


def add_sample_workers(parser: Parser, default: str, where: str) -> None:
    """The options by which processes beside the one that trains sample."""
    words = "processes beside this one that act in the environments, or draw answers, for it; bits are those of any number of them; it is for every method, "
    words += "resume may change it, and where a method has --workers, a setting for the same, give one of the two"
    parser.add_argument("--sample-workers", type=whole(0), metavar="N", help=f"{words} (default {default})")
    parser.add_argument("--sample-on", metavar="ADDRESS", help=f"with --sample-workers: on the nodes of a Ray cluster, {CLUSTERS} ({where})")


def add_processes(parser: Parser) -> None:
    """The option by which several processes train one run."""
    words = "processes that train this one run, each with its share of the model and of every batch: one for each GPU (default 1)"
    parser.add_argument("--processes", type=whole(1), metavar="N", help=words)


RUN_OPTIONS = ("seeds", "seed", "steps", "samples", "tokens", "seconds", "device", "threads", "every", "keep", "episodes", "track", "preset")
SAMPLING_OPTIONS = ("sample_workers", "staleness", "truncate_importance", "sample_on")
EXECUTION_OPTIONS = ("compile", "cuda_graphs")
_OTHERS = ("method", "task", "out", "policy", "start_from", "from", "processes", "progress", "listener", "json", "import", "help")
RESERVED = {*RUN_OPTIONS, *SAMPLING_OPTIONS, *EXECUTION_OPTIONS, *PLACE_OPTIONS, *_OTHERS}
"""Names that mean the run's own, in `operant train` and `operant.train`; a method's hyper-parameter of such a name is `METHOD.NAME`."""


def add_run_options(parser: Parser, when: str = "") -> None:
    """The options of a training that no method and no task owns: `RUN_OPTIONS`.

    Args:
        when: begins each help.
    """

    def add(name: str, kind: Callable[[str], Any], metavar: str, words: str) -> None:
        parser.add_argument(name, type=kind, metavar=metavar, help=when + words)

    add("--seeds", whole(1), "N", "how many seeds are trained (default 1)")
    add("--seed", whole(0), "S", "the first seed; the others follow it (default 0)")
    add("--steps", whole(1), "N", "steps a seed, in the task's unit (default: the task's, or the method's)")
    add("--samples", whole(1), "N", "instead of --steps: answers that a seed draws in training (text, sequences)")
    add("--tokens", whole(1), "N", "instead of --steps: tokens that a seed draws in training (text, sequences)")
    add("--seconds", whole(1), "N", "instead of --steps: seconds that a seed trains")
    add("--device", one_of("auto", "cpu", "cuda"), "auto|cpu|cuda", "where networks are (default auto)")
    add("--threads", whole(1), "N", "threads of PyTorch (by default 1, and more where wide networks, batches and many seeds pay for them)")
    add("--every", whole(1), "N", "steps, or what the budget counts, between two evaluations and checkpoints (default: a tenth)")
    add("--keep", whole(2), "N", "how many of the newest checkpoints stay (default 2, the least)")
    add("--episodes", whole(1), "N", "episodes, or problems, of an evaluation (default: the task's)")
    add("--preset", one_of(*NAMES), "NAME", f"settings that somebody tuned for this method on this task, of {', '.join(NAMES)}; what is given besides wins")
    parser.add_argument("--track", action="append", metavar="NAME", help=f"{when}log to tensorboard or wandb as well; may be given twice")


OF_KINDS = {
    **dict.fromkeys(("--samples", "--tokens"), ("text", "sequences", "generative")),  # where answers are drawn
    "--from": ("gym", "data", "agents"),  # where networks act on observations
    "--preset": ("gym",),
    "--processes": ("text", "preferences"),
    **dict.fromkeys(("--sample-workers", "--staleness"), ("gym", "data", "text")),
    "--truncate-importance": ("gym", "data", "text"),
    "--compile": ("gym", "data", "agents"),
    "--cuda-graphs": ("gym", "data", "agents", "text"),
}
"""Options of a run that tasks of some kinds alone take."""


def hide_run_options(parser: Parser, kinds: Collection[str], keys: Collection[str] = ()) -> None:
    """Leave out of the help what no task of these kinds, and none of these methods, takes of a run's options."""
    parser.hide([name for name, takes in OF_KINDS.items() if not set(takes) & set(kinds)])
    if keys and not any(preset.method in keys for preset in PRESETS):
        parser.hide(["--preset"])


def run_options(args: Namespace) -> dict[str, Any]:
    """What was given of them, as `operant.train` takes it."""
    return {name: value for name in (*RUN_OPTIONS, *SAMPLING_OPTIONS, *EXECUTION_OPTIONS) if (value := getattr(args, name, None)) is not None}


def parse_method(command: Command, argv: list[str]) -> Namespace:
    """The arguments of a command that trains one method: find the method first, for the other options are its own."""
    words = normalize(argv)
    takes_value = [word.startswith("--") and "=" not in word and word not in ("--json", "--help") for word in words]
    place = next((index for index, word in enumerate(words) if not word.startswith("-") and not (index and takes_value[index - 1])), None)
    if place is None:
        parser, kinds = command.parser(), kinds_of(words, ())
        if kinds:
            hide_run_options(parser, kinds)
            add_task_options(parser, kinds, kinds, ())
        parser.epilog += f"\n\nEach method has options of its own: operant {command.name} METHOD --help"
        return parser.read(words)  # the help, or what is missing
    from operant.core.registry import get_method, outlined_method

    key = words.pop(place)
    if (entry := outlined_method(key)) is not None:
        if asks_help(words):
            return method_parser(entry, kinds_of(words, entry.worlds), command).read(["--help"])
        _check_names(command, entry, words)  # before PyTorch is imported: a slip is answered at once
    with stages(lambda line: None if "--json" in words else note(line)) as begin:
        begin("loading PyTorch")
        entry = get_method(key)
    check_task_kind(entry.key, entry.worlds, words)
    kinds = kinds_of(words, entry.worlds)
    args = method_parser(entry, kinds, command).read(plain_names(words, [entry.key], fields_of(entry), kinds))
    args.method = entry.key
    args.hyperparameters = {}
    for owner, items in named_fields(entry, kinds):
        before = f"{owner}." * bool(owner)
        args.hyperparameters |= {before + name: text for name, text in read_fields(args, items, owner).items()}
    return args


def kinds_of(words: list[str], worlds: Collection[str]) -> Collection[str]:
    """The kinds of worlds whose options count: that of the task that the words name with its scheme, of several that a method trains in; else all of these.

    Args:
        worlds: of a method; empty where none is named yet.
    """
    from operant.worlds import SCHEMES

    scheme = SCHEMES.get((task_word(words) or "").partition(":")[0])
    return (scheme.kind,) if scheme is not None and (scheme.kind in worlds or not worlds) else worlds


def check_task_kind(key: str, worlds: Collection[str], words: list[str]) -> None:
    """Raise `BadInput` where a method does not train on the kind of task that the words name, whatever options of it they have."""
    from operant.worlds import SCHEMES

    task = task_word(words)
    scheme = SCHEMES.get((task or "").partition(":")[0])
    if scheme is not None and scheme.kind not in worlds and not asks_help(words):
        from operant.core.registry import get_method
        from operant.loops.configuration import check_kind

        check_kind(get_method(key), task, scheme.kind)


def both(own: Collection[str], kinds: Collection[str]) -> set[str]:
    """Names that hyper-parameters and options of kinds of tasks have in common: they are typed with their owner, `--METHOD.NAME` or `--task.NAME`."""
    return {item.name for items in task_options(kinds).values() for item in items} & set(own)


def named_fields(entry: Method, kinds: Collection[str]) -> list[tuple[str, list[Hyperparameter]]]:
    """A method's hyper-parameters and its tasks' options, by the owner in their names: none, where a name is one's alone.

    Args:
        kinds: of worlds whose options count where names are alike.
    """
    from operant.worlds import TASK

    own, optional = fields_of(entry), [item for items in task_options(entry.worlds).values() for item in items]
    shared = both(own, kinds)
    return [
        ("", [item for item in own.values() if item.name not in shared | RESERVED]),
        (entry.key, [item for item in own.values() if item.name in shared | RESERVED]),
        ("", [item for item in optional if item.name not in own]),
        (TASK, [item for item in optional if item.name in shared]),
    ]


def plain_names(words: list[str], keys: list[str], own: Collection[str], kinds: Collection[str]) -> list[str]:
    """The words with `--METHOD.NAME` and `--task.NAME` as `--NAME` where nothing else has the name. Raises `BadInput` for a plain name that both have.

    Args:
        keys: of the methods; with several, what is one's own keeps its owner.
        own: names of their hyper-parameters.
        kinds: of worlds whose options count.
    """
    from operant.worlds import TASK, both_have

    shared, optional = both(own, kinds), {item.name for items in task_options().values() for item in items} - set(own)
    found = []
    for word in words:
        head, equals, value = word.partition("=")
        owner, dot, rest = head.removeprefix("--").rpartition(".")
        name = rest.replace("-", "_")
        if word.startswith("--") and not dot and name in shared:
            raise BadInput(both_have(keys[0] if len(keys) == 1 else "METHOD", name))
        mine = owner == TASK and name in optional or [owner] == keys and name in own and name not in RESERVED
        found.append(f"--{rest}{equals}{value}" if word.startswith("--") and dot and mine and name not in shared else word)
    return found


def _check_names(command: Command, entry: Method, words: list[str]) -> None:
    """Look at the names of options and of the task's scheme."""
    from operant.core.registry import named_of_others

    check_task_kind(entry.key, entry.worlds, words)
    kinds = kinds_of(words, entry.worlds)
    parser = method_parser(entry, kinds, command)
    known = [name for action in parser._actions for name in action.option_strings]
    for word in plain_names(words, [entry.key], fields_of(entry), kinds):
        if word.startswith("--") and (name := word.partition("=")[0]) not in known:
            parser.reject_option(name, known, named_of_others)
    check_task_name(words)


def check_task_name(words: list[str]) -> None:
    """Look at the name of the task, before PyTorch is imported too."""
    from operant.core.registry import packages_from_outside
    from operant.worlds import check_name, check_scheme

    if (task := task_word(words)) is not None:
        outside = packages_from_outside() or any(word.partition("=")[0] == "--import" for word in words)
        (check_scheme if outside else check_name)(task)


def task_word(words: list[str]) -> str | None:
    """What `--task` names; None where there is none."""
    task = next((after for word, after in zip(words, words[1:], strict=False) if word == "--task"), None)
    return next((word.partition("=")[2] for word in words if word.startswith("--task=")), task)


_DEST = "hyperparameter "  # before a field's name in the namespace, where it can be no other option's


def fields_of(entry: Method) -> dict[str, Hyperparameter]:
    """A method's hyper-parameters by name."""
    from operant.core.registry import hyperparameters

    return {item.name: item for item in hyperparameters(entry.hyperparameters)}


def task_options(worlds: Collection[str] | None = None) -> dict[str, list[Hyperparameter]]:
    """The options of kinds of tasks, of all or of some, by the kind; one that several kinds share stands with the first."""
    from operant.core.registry import hyperparameters
    from operant.worlds import world_options

    found: dict[str, list[Hyperparameter]] = {}
    for kind, options in world_options().items():
        if worlds is None or kind in worlds:
            before = {item.name for items in found.values() for item in items}
            found[kind] = [item for item in hyperparameters(options) if item.name not in before]
    return found


def add_task_options(parser: Parser, worlds: Collection[str] | None, kinds: Collection[str], own: Collection[str], when: str = "") -> None:
    """The options of tasks, a group for each kind that counts. Those of other kinds are read too, and not told of in the help.

    Args:
        worlds: kinds of tasks that are trained on; all of None.
        kinds: of these, those that count.
        own: names of hyper-parameters.
        when: begins each title.
    """
    from operant.worlds import TASK

    shown, shared = task_options(kinds), both(own, kinds)
    for kind, items in shown.items():
        add_fields(parser, f"{when}options of {kind} tasks", [item for item in items if item.name not in own])
        add_fields(parser, f"{when}options of {kind} tasks whose names hyper-parameters have too", [item for item in items if item.name in shared], TASK)
    named = {item.name for items in shown.values() for item in items} | set(own)
    others = [item for items in task_options(worlds).values() for item in items if item.name not in named]
    add_fields(parser, "", others)
    parser.hide([option(item.name) for item in others])


def add_fields(parser: Parser, title: str, items: Iterable[Hyperparameter], owner: str = "") -> None:
    """An option for each field of a dataclass, in a group of its own.

    Args:
        owner: the method that they are of, where that stands in their names: `--OWNER.NAME`.
    """
    group = parser.add_argument_group(title)
    for item in items:
        words = f"{item.help} ({type_name(item.type)}, default {value_text(item.default)})".strip().replace("%", "%%")
        flag = {"nargs": "?", "const": "true"} if bool in (item.type, *typing.get_args(item.type)) else {}
        group.add_argument(option(item.name, owner), dest=_DEST + option(item.name, owner), metavar=metavar(item.type), help=words, **flag)


def read_fields(args: Namespace, items: Iterable[Hyperparameter], owner: str = "") -> dict[str, str]:
    """What was given of such options, as it was typed."""
    given = {item: text for item in items if (text := getattr(args, _DEST + option(item.name, owner))) is not None}
    for item, text in given.items():
        if "nan" in re.split(r"[\s,()\[\]]+", text.lower()):
            must = "" if item.range is None else f": it must be {item.range}"
            raise BadInput(f"{option(item.name, owner)} {text} is not a number{must}; the default is {value_text(item.default)}")
    return {item.name: text for item, text in given.items()}


def method_parser(entry: Method, kinds: Collection[str], command: Command | None = None) -> Parser:
    """The parser of `operant train METHOD`, with the method's hyper-parameters and the options of its tasks.

    Args:
        kinds: of worlds whose options count.
        command: another one that trains a method.
    """
    examples = [try_command(entry), try_command(entry, "--seeds", 8, "--seed", 100, "--out", "runs/mine", "--json")]
    fields = fields_of(entry)
    if fields:
        item = next((item for item in fields.values() if item.name == "learning_rate"), next(iter(fields.values())))
        examples.append(try_command(entry, option(item.name, entry.key * (item.name in both(fields, kinds) | RESERVED)), value_text(item.default)))
    command = TRAIN if command is None else command
    examples = examples if command is TRAIN else [f"operant {command.name} {example.split(' ', 2)[2]}" for example in examples[:1]]
    parser = Parser(f"operant {command.name} {entry.key}", entry.doc, tuple(examples))
    parser.usage = f"operant {command.name} {entry.key} --task TASK [option …]"
    command.options(parser)
    hide_run_options(parser, kinds, [entry.key])
    shared = both(fields, kinds)
    add_task_options(parser, entry.worlds, kinds, fields)
    title = f"hyper-parameters of {entry.key} ({entry.paper})"
    add_fields(parser, title, [item for name, item in fields.items() if name not in shared | RESERVED])
    add_fields(parser, f"{title} whose names others have too", [item for name, item in fields.items() if name in shared | RESERVED], entry.key)
    return parser


def option(name: str, owner: str = "") -> str:
    """A hyper-parameter's option on the command line, of one method among several where an owner is named."""
    return f"--{owner}{'.' * bool(owner)}{name.replace('_', '-')}"


def example_task(entry: Method) -> str:
    """A task that a method can train on. Raises `BadInput` where it names one of a kind that is none."""
    from operant.worlds import SCHEMES, check_scheme

    if entry.example is not None:
        check_scheme(entry.example)
        return entry.example
    if entry.worlds[0] == "gym" and "discrete" not in entry.actions:
        return "gym:Pendulum-v1"
    return SCHEMES[{"data": "ogbench"}.get(entry.worlds[0], entry.worlds[0])].example


def try_command(entry: Method, *words: object) -> str:
    """A command line that trains a method on such a task, with the file that brings the method, where one does."""
    from operant.core.registry import own_file

    file = own_file(entry.build.__module__)
    return command_line("train", entry.key, *importing([] if file is None else [file]), "--task", example_task(entry), *words)


def metavar(kind: Any) -> str:
    """What stands for a value in help: choices as they are typed."""
    name = type_name(kind)
    return name if "|" in name else name.upper()


def type_name(kind: Any) -> str:
    """A hyper-parameter's type in words: `float`, `int,…`, `true|false`, `a|b`, `float|none`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, UnionType):
        return "|".join("none" if item is NoneType else type_name(item) for item in arguments)
    if origin is typing.Literal:
        return "|".join(map(str, arguments))
    if origin is tuple:
        return f"{type_name(arguments[0])},…"
    return {bool: "true|false", int: "int", float: "float", str: "text", Any: "name"}.get(kind, "python object")


def _train(args: Namespace) -> int:
    if wanted(args):
        return _train_apart(args)
    if launches(args.processes):
        return launch(args.words, args.processes)
    from operant.loops.runs import train

    with training(f"{args.method} on {args.task}", loads=not args.json) as listener:
        run = train(
            args.method,
            args.task,
            out=args.out,
            start_from=args.start_from,
            listener=listener,
            **run_options(args),
            **args.hyperparameters,
        )
    return _tell(run, args.json)


def _train_apart(args: Namespace) -> int:
    """Train each seed in a process of its own, after everything has been checked for all of them."""
    from operant.cli.results import tell
    from operant.loops.configuration import configure_run
    from operant.loops.track import check_trackers

    if args.start_from is not None:
        raise BadInput("--from hands the policies of one run to the seeds of another: it goes without --jobs and --cluster")
    if args.processes is not None:
        raise BadInput("--processes spreads one run over a machine: it goes without --jobs and --cluster")
    given = run_options(args)
    check_trackers(tuple(given.get("track", ())))
    seeds, first = given.pop("seeds", 1), given.pop("seed", 0)
    folder = out_folder(args.out, args.method)
    configured = configure_run(args.method, args.task, seed=first, hyperparameters=args.hyperparameters, **checked_here(args, given))
    config, world, spine = configured
    check_target(folder / "report.html")
    configs = {f"seed-{seed}": config | {"seed": seed} for seed in range(first, first + seeds)}
    waiting = unfinished(folder, configs)
    if waiting:
        with opened(args, folder) as place:
            of = [
                training_member(key, folder / key, args.method, (configs[key], world, spine), given | {"seed": configs[key]["seed"]}, args.hyperparameters)
                for key in waiting
            ]
            run_members(place, of, args.jobs)
    return tell([folder / key for key in configs], folder / "report.html", args.json)


def _tell(run: Run | None, as_json: bool) -> int:
    if ranks.started_as() > 0:  # the first process tells
        return 0
    if as_json:
        write_json(run.result)
    else:
        write(result_text(run.result, run.config))
    return 0


def result_text(result: dict[str, Any], config: dict[str, Any]) -> str:
    """A finished run's result for a person: the score, each seed, pass@k, the collapse report, and what to do next.

    Args:
        config: what the run's run.json says.
    """
    from operant.evaluate.collapse import change_text, collapse_rows
    from operant.worlds import kind_of

    seeds, score = result["seeds"], result["score"]
    title = f"{result['method']} on {result['task']}: {seeds} seed{'s' * (seeds > 1)} of {result['steps']:,} steps in {result['seconds']:,.1f} s"
    rows = [(f"{score['name']} (IQM)", score_text(score))]
    rows += [(f"{name} (IQM)", score_text(measured)) for name, measured in result.get("measures", {}).items()]
    if "base" in result:
        rows.append(("before training", score_text(result["base"])))
    if seeds > 1:
        rows += [(f"seed {config['seed'] + index}", f"{value:.4g}") for index, value in enumerate(score["per_seed"])]
    if "pass_at_k" in result:
        base, changes = result["pass_at_k"].get("base", {}), result.get("collapse", {}).get("pass_at_k", {})
        for k, value in result["pass_at_k"]["policy"].items():
            before = f", before training {base[k]:.3f}" if k in base else ""
            rows.append((f"pass@{k}", f"{value:.3f}{before}" + (f": {change_text(changes[k])}" if k in changes else "")))
    if "collapse" in result:
        lines = result["collapse"]["diagnoses"] or ["no sign of collapse"]
        rows += [*collapse_rows(result["collapse"]), *(("" if place else "diagnosis", line) for place, line in enumerate(lines))]
    if result["steps_per_second"]:  # what does not train has none
        parts = result.get("parts", {})
        verb = "waits for" if config.get("staleness") else "gathers"
        share = f"; {parts['collect'] / sum(parts.values()):.0%} of training {verb} experience" if parts else ""
        rows.append(("speed", f"{speed_text(result['steps_per_second'])}, all seeds, training alone{share}"))
        if (evaluated := result.get("evaluation_seconds", 0.0)) > max(LARGE * result["seconds"], LONG):
            names = [item.name for items in task_options((kind_of(result["task"]),)).values() for item in items]
            cap = ", --max-evaluation-steps how long" if "max_evaluation_steps" in names else ""
            rows.append(("evaluations", f"{evaluated:,.1f} s, {evaluated / result['seconds']:.0%} of the run; --every and --episodes set how many{cap}"))
    rows.append(("run", result["run"]))
    rows.append(("next", run_command("report", result["run"], config, "--out", "report.html")))
    rows.append(("", evaluating(result["run"], config)))
    return f"{title}\n\n{table(rows)}"


def _resume_arguments(parser: Parser) -> None:
    parser.add_argument("run", metavar="DIR", help="the run directory")
    parser.add_argument("--steps", type=whole(1), metavar="N", help="go on to so many steps a seed, more than the run was started with")
    parser.add_argument("--seeds", type=whole(1), metavar="N", help="go on to so many seeds; the new ones follow the others and train after them")
    add_sample_workers(parser, "as many as before", "here: on this machine")
    add_processes(parser)
    add_trust(parser)
    add_json(parser)


def _resume(args: Namespace) -> int:
    if launches(args.processes):
        return launch(args.words, args.processes)
    from operant.core.run import RunDirectory
    from operant.loops.runs import resume

    directory = RunDirectory.open(args.run)
    if directory.result is not None and args.steps is None and args.seeds is None:
        note(f"{args.run} is finished: nothing is left to train")
    with training(f"{directory.config['method']} on {directory.config['task']}") as listener:
        given = {"steps": args.steps, "seeds": args.seeds, "sample_workers": args.sample_workers, "sample_on": args.sample_on}
        run = resume(args.run, trust=args.trust, listener=listener, **given)
    return _tell(run, args.json)


def add_trust(parser: Parser) -> None:
    """The option without which no code is imported that a run names."""
    parser.add_argument("--trust", action="store_true", help="import the code that the run names (of its environment, verifier or method): it may do anything")


def add_stochastic(parser: Parser) -> None:
    """The option by which policies do not play their mode."""
    parser.add_argument("--stochastic", action="store_true", help="play the actions that a policy draws, in the place of its most likely ones")


def _evaluate_arguments(parser: Parser) -> None:
    parser.add_argument("run", metavar="DIR", help="the run directory")
    parser.add_argument("--episodes", type=whole(1), metavar="N", help="fresh episodes, or problems, a seed (default: the task's)")
    parser.add_argument("--seed", type=whole(0), default=1, metavar="S", help="which episodes or answers (default 1); 0: those of training's own evaluations")
    parser.add_argument("--policy", type=one_of("last", "best"), default="last", metavar="last|best", help="which of the kept policies (default last)")
    add_stochastic(parser)
    parser.add_argument("--decoder", metavar="NAME", help=f"of text, how completions become an answer: {', '.join(declared('worlds/text', 'decoder'))}")
    parser.add_argument("--samples", type=whole(1), metavar="N", help="completions that the decoder has for a problem (default 16)")
    add_trust(parser)
    add_json(parser)


def _evaluate(args: Namespace) -> int:
    from operant.loops.runs import load

    run = load(args.run, trust=args.trust)
    config = run.config
    run.world.check_episodes(config["seeds"], args.episodes)
    with waiting(f"evaluating {config['seeds']} seed{'s' * (config['seeds'] > 1)} of {config['method']} on {config['task']}"):
        decoding = {"decoder": args.decoder, "samples": args.samples}
        given = {"episodes": args.episodes, "seed": args.seed, "which": args.policy, "stochastic": args.stochastic}
        found = run.evaluate(**given, **decoding) | {"policy": args.policy}
        found |= {name: value for name, value in decoding.items() if value is not None}
    if args.json:
        write_json(found)
        return 0
    score = found["score"]
    rows = [(f"{score['name']} (IQM)", score_text(score))]
    rows += [(f"{name} (IQM)", score_text(measured)) for name, measured in found.get("measures", {}).items()]
    if len(score["per_seed"]) > 1:
        rows += [(f"seed {config['seed'] + index}", f"{value:.4g}") for index, value in enumerate(score["per_seed"])]
    rows += [(f"pass@{k}", f"{value:.3f}") for k, value in found.get("pass_at_k", {}).items()]
    counted = f"{found['episodes']} {'problem' if 'pass_at_k' in found else 'episode'}{'s' * (found['episodes'] > 1)}"
    how = f"{counted} a seed, drawn with seed {args.seed}" if not run.world.exact else f"{counted} a seed" if run.world.answers else "computed exactly"
    played = " as they draw" if args.stochastic else ""
    write(f"{found['method']} on {found['task']}: the {args.policy} policies{played}, {how}\n\n{table(rows)}")
    if "strategies" in found:
        write(f"\nwhat the policy of seed {config['seed']} does, where its own moves lead\n\n{strategy_table(found['strategies'][0])}")
    return 0


TRAIN = Command(
    "train",
    "Train a method on a task, for one or several seeds.",
    (
        "operant train ppo --task gym:CartPole-v1",
        "operant train ppo --task gym:CartPole-v1 --seeds 8 --steps 100000 --learning-rate 1e-3 --hidden 128,128",
        "operant train sac-v2 --task gym:Pendulum-v1 --out runs/pendulum --every 5000 --json",
        "operant train grpo --task text:countdown --seeds 8 --cluster auto --gpus 1 --out runs/many",
    ),
    _train_arguments,
    _train,
    parse_method,
    _train_options,
)

COMMANDS = (
    TRAIN,
    Command(
        "resume",
        "Go on with a run that was stopped, from its newest whole checkpoint.",
        ("operant resume runs/pendulum", "operant resume runs/pendulum --steps 30000", "operant resume runs/pendulum --seeds 8"),
        _resume_arguments,
        _resume,
    ),
    Command(
        "evaluate",
        "Score a run's policies on fresh episodes or problems.",
        (
            "operant evaluate runs/pendulum",
            "operant evaluate runs/pendulum --episodes 100 --seed 7 --policy best --json",
            "operant evaluate runs/pendulum --stochastic",
            "operant evaluate runs/sums --decoder majority --samples 8",
        ),
        _evaluate_arguments,
        _evaluate,
    ),
)
