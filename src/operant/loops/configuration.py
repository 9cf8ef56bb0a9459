"""Configuring a run: everything that can be checked is checked here, before a run directory exists."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, fields, replace
from operator import index
from typing import Any

import torch

from operant.core import ranks
from operant.core.errors import BadInput, one_line
from operant.core.files import file_digest
from operant.core.graphs import Execution, check_compiler
from operant.core.memory import TRAINED, check_memory, lying_on
from operant.core.processor import fitting_threads
from operant.core.random import Streams, untouched_generators
from operant.core.registry import ACTIONS, COMMON, LARGEST, Method, configure, files_beside, get_method, imported_files, methods, own_file
from operant.core.schema import MOST_SEEDS
from operant.core.spec import Spec
from operant.loops.fixed import FixedPolicy
from operant.loops.presets import find_preset, written
from operant.loops.trust import code_named
from operant.nets import kernels
from operant.nets.actors import ActionValueNet, ActorCriticNet, ActorNet, Policy
from operant.nets.distributions import Endless
from operant.nets.elites import Elites
from operant.nets.lifted import PlainModule
from operant.worlds import SCHEMES, TASK, both_have, kind_of, make_world, world_options
from operant.worlds.base import SampleWorkers, World

MOST_STEPS = 10**9  # of a run that is limited by time
MOST_SEED = 2**62
MOST_BUDGET = 10**15  # of steps, answers or tokens
MOST_THREADS = 1_024
MOST_WORKERS, MOST_STALENESS = 1_000, 100
OF_A_MODEL = 100  # a language model has about so many times the parameters of one of its wide layers


def configure_run(
    method,
    task,
    *,
    seeds=1,
    seed=0,
    steps=None,
    samples=None,
    tokens=None,
    seconds=None,
    device="auto",
    threads=None,
    every=None,
    episodes=None,
    policy=None,
    hyperparameters=None,
    origin=None,
    preset=None,
    sample_workers=None,
    staleness=None,
    truncate_importance=None,
    sample_on=None,
    compile=False,
    cuda_graphs=False,
    say=lambda line: None,
):
    """Check everything that can be checked before a run exists; (config, world, spine).

    Args:
        origin: the `loops.origin.Origin` that it begins from.
        preset: a name of `loops.presets`, whose settings and steps stand where none are given.
        sample_workers, staleness, truncate_importance, sample_on, compile, cuda_graphs: as of `loops.runs.train`.
        say: hears what is begun that may take seconds.
    """
    if not isinstance(method, str):
        raise BadInput(f"method {method!r}: a method is named by its key, as in operant.train('ppo', 'gym:CartPole-v1')")
    entry = get_method(method)
    seeds, seed = whole_number("seeds", seeds, 1, MOST_SEEDS), whole_number("seed", seed, 0, MOST_SEED)
    steps, samples, tokens, every, episodes, threads = (
        None if value is None else whole_number(name, value, 1, most)
        for name, value, most in (
            ("steps", steps, MOST_BUDGET),
            ("samples", samples, MOST_BUDGET),
            ("tokens", tokens, MOST_BUDGET),
            ("every", every, MOST_BUDGET),
            ("episodes", episodes, LARGEST),
            ("threads", threads, MOST_THREADS),
        )
    )
    if seconds is not None and not (isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds <= LARGEST):
        raise BadInput(f"--seconds {seconds!r}: it must be a number above 0 and at most {LARGEST:,}")
    limits = {"steps": steps, "samples": samples, "tokens": tokens, "seconds": seconds}
    if len(given := [name for name, value in limits.items() if value is not None]) > 1:
        raise BadInput(f"--{given[0]} and --{given[1]}: give one budget")
    hyperparameters, options = split_names(entry, kind_of(task), hyperparameters or {})
    if preset is not None:
        preset = find_preset(preset, method, task)
        hyperparameters = {**preset.settings, **hyperparameters}
        steps = steps if given else preset.steps
    h = configure(method, hyperparameters)
    if device not in ("auto", "cpu", "cuda"):
        raise BadInput(f"--device {device!r}: auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: PyTorch sees no CUDA device here; use --device cpu")
    if isinstance(task, str) and task.partition(":")[0] in ("text", "file", "reasoning-gym", "preferences"):
        say(f"loading {task}" + (f" and the tokenizer of {options['model']}" if options.get("model") is not None else ""))
    if isinstance(task, str) and (scheme := SCHEMES.get(task.partition(":")[0])) is not None:
        check_kind(entry, task, scheme.kind)  # before it is read
    world = make_world(task, **options)
    check_kind(entry, world.task, world.kind)
    h, notes = _fit_learning_rates(h, hyperparameters, world.learning_rate_scale)
    if world.given_rows is not None and "environments" not in hyperparameters:
        h, line = _fit_environments(h, method, world.given_rows)
        notes += line
    beside = sampling(sample_workers, staleness, truncate_importance, sample_on, world.drawn_apart)
    beside |= executing(compile, cuda_graphs)
    spine = arranged(with_module(entry.build(h), policy, method), beside)
    notes += _unused(spine, h, hyperparameters)
    if world.action is not None and not world.action.kinds <= set(entry.actions):
        given = f"{world.task} has {world.action.kinds_in_words} ({one_line(world.action_space)})"
        raise BadInput(f"{method} takes {' and '.join(entry.actions)} actions; {given}{_instead(method, lambda other: _takes(other, world))}")
    total = steps if steps is not None else spine.steps_of(world, entry.spine)
    unit = given[0] if given else "steps"
    if unit in ("samples", "tokens"):
        if not (spine.draws_answers and world.answers):
            raise BadInput(f"--{unit} counts what policy gradients draw on text and sequences; {method} on {world.task} takes --steps or --seconds")
        total = -(-limits[unit] // spine.prompts)  # no iteration draws less than a token for each prompt
    elif unit == "seconds":
        total = MOST_STEPS
    amount = limits[unit] if unit != "steps" else total
    config = {
        "method": method,
        "task": world.task,
        "seeds": seeds,
        "seed": seed,
        "steps": total,
        "step_unit": spine.step_unit(world),
        "hyperparameters": asdict(h),
        "notes": notes,
        "device": (world.device() if device == "auto" else torch.device(device)).type,
        "threads": threads or 1,  # until what is trained is known
        "kernels": kernels.fitting(),
        "budget": {"unit": unit, "amount": amount},
        "every": every or max(1, amount // 10),
        "episodes": episodes,
        "fingerprint": world.fingerprint(),
    } | beside
    if beside.get("compile") or beside.get("cuda_graphs"):
        check_execution(spine.execution, config, world)
    if world.bfloat16 and not spine.bfloat16:
        raise BadInput(f"--dtype bfloat16: on {world.task} it is for value learning, whose networks are wide; {method} takes float32")
    if world.bfloat16 and config["device"] == "cpu" and not kernels.has_bfloat16():
        raise BadInput("--dtype bfloat16: this processor has no products in bfloat16, and each would take many times as long: take float32")
    if world.to_check:
        say(f"checking {world.to_check}")
    made = None
    try:
        with lying_on(config["device"]):
            spine.check(world, [seed + index for index in range(seeds)], total, episodes)
        if world.stacked and not isinstance(spine, FixedPolicy):
            made = world.policy(spine.policy, Streams([seed]))
            parameters = sum(p.numel() for p in made.parameters())
            with lying_on(config["device"]):
                what = f"training {seeds:,} networks of {parameters:,} parameters"
                check_memory(what, TRAINED * seeds * parameters, "take fewer --seeds, or narrower layers")
            widest = seeds * max((p.numel() for p in made.parameters()), default=0)
        else:
            widest = world.parameters // OF_A_MODEL
        if threads is None and config["device"] == "cpu":
            config["threads"] = fitting_threads(spine.rows * widest, ranks.started())
    except Endless as error:
        free = "take a policy gradient, such as ppo, which needs no bounds, or wrap the environment (gymnasium.wrappers.TransformAction)"
        raise BadInput(f"{method} on {world.task}: {error}; {free}") from error
    if policy is not None:
        world.policy(spine.policy, Streams([seed + index for index in range(seeds)]))
        config["policy_module"] = type(policy).__name__ if isinstance(policy, torch.nn.Module) else getattr(policy, "__name__", "a callable")
    if entry.build.__module__.partition(".")[0] != "operant":
        with untouched_generators():
            with_module(entry.build(h), policy, method).trial(world, torch.device(config["device"]))
    if world.action is not None:
        config["spaces"] = spaces(world)
    if isinstance(made, Policy | Elites):
        config["fields"] = fields_of(world)
    if preset is not None:
        settings = {name: getattr(h, name) for name in hyperparameters}
        config["preset"] = {"name": preset.name, "source": preset.source}
        notes.append(f"--preset {preset.name}: {written(method, world.task, steps, settings)} ({preset.source})")
    if origin is not None:
        origin.check(entry, spine, world, config["hyperparameters"])
        config |= {"from": origin.about, "notes": [*notes, *origin.notes]}
    if files := list(dict.fromkeys([*imported_files(), *filter(None, map(own_file, (entry.build.__module__, *world.modules)))])):
        config |= {"imports": files, "digests": {file: file_digest(file) for file in [*files, *files_beside(files)]}}
    if not isinstance(task, str) and (world is task or not world.named):
        config["task_callable"] = True
    if options:
        config["options"] = {name: value for name, value in world.options.given().items() if _plain(value)}
        if dropped := set(world.options.given()) - set(config["options"]):
            config["not_resumable"] = f"{min(dropped)} is a Python object: give it as module:function"
    if decided := spine.decided(world):
        config["options"] = config.get("options", {}) | decided
    if code := code_named(config):
        config["code"] = code
    try:
        json.dumps(config)
    except TypeError as error:
        config["hyperparameters"] = {name: value if _plain(value) else repr(value) for name, value in config["hyperparameters"].items()}
        config["not_resumable"] = f"a hyper-parameter is a Python object ({error})"
    return config, world, spine


def sampling(sample_workers: Any, staleness: Any, truncate_importance: Any, sample_on: Any, apart: bool) -> dict[str, Any]:
    """What a run's config says of what samples beside the process that trains; nothing where nothing does. Raises `BadInput`.

    Args:
        apart: `World.drawn_apart`.
    """
    count = 0 if sample_workers is None else whole_number("sample-workers", sample_workers, 0, MOST_WORKERS)
    behind = 0 if staleness is None else whole_number("staleness", staleness, 0, MOST_STALENESS)
    if behind and not count:
        raise BadInput(f"--staleness {behind} needs processes that sample while this one learns: give --sample-workers 1 or more")
    if truncate_importance is not None:
        given = f"--truncate-importance {truncate_importance}"
        if isinstance(truncate_importance, bool) or not isinstance(truncate_importance, int | float) or not 0 < truncate_importance <= LARGEST:
            raise BadInput(f"{given}: it must be a number above 0 and at most {LARGEST:,}")
        if not behind and not apart:
            raise BadInput(f"{given}: weights that are not behind need none; give --staleness 1 or more, or on text --engine vllm")
    if sample_on is not None:
        if not isinstance(sample_on, str) or not sample_on.strip():
            raise BadInput(f"--sample-on {sample_on!r}: the address of a Ray cluster: auto, local, ray://HOST:PORT or HOST:PORT")
        if not count:
            raise BadInput(f"--sample-on {sample_on}: it says where workers are; give --sample-workers 1 or more")
    found = {"sample_workers": count, "staleness": behind, "truncate_importance": truncate_importance, "sample_on": sample_on}
    return {name: value for name, value in found.items() if value}


def executing(compile: Any, cuda_graphs: Any) -> dict[str, bool]:
    """What a run's config says of how updates are computed; nothing where Python computes them. Raises `BadInput`."""
    found = {"compile": compile, "cuda_graphs": cuda_graphs}
    for name, value in found.items():
        if not isinstance(value, bool):
            raise BadInput(f"--{name.replace('_', '-')} {value!r}: it is True or False")
    return {name: value for name, value in found.items() if value}


def check_execution(execution: Execution, config: Mapping[str, Any], world: World) -> None:
    """Raise `BadInput` where a run's updates cannot be computed so here."""
    if execution.cuda_graphs and config["device"] != "cuda":
        raise BadInput("--cuda-graphs: it is what a GPU repeats, and the networks of this run are on the processor: leave it out, or give --device cuda")
    if execution.compile and world.bfloat16 and world.stacked:
        raise BadInput("--compile: compiled networks compute in float32; leave it or --dtype bfloat16 out")
    if execution.compile:
        check_compiler(config["device"])


def arranged(spine: Any, config: Mapping[str, Any]) -> Any:
    """The loop with what a run's config says of what samples (`sampling`), and of how updates are computed. Raises `BadInput` where it takes none of that."""
    if (execution := Execution(config.get("compile", False), config.get("cuda_graphs", False))) != Execution():
        spine = spine.executed_by(execution)
    if config.get("sample_workers"):
        spine = spine.sampled_by(SampleWorkers(config["sample_workers"], config.get("staleness", 0), on=config.get("sample_on")))
    return spine.truncated_by(config["truncate_importance"]) if config.get("truncate_importance") else spine


def check_processes(spine: Any, world: World, config: dict[str, Any]) -> None:
    """Raise `BadInput` where several processes cannot train a run together."""
    what = f"--processes {config['processes']}"
    if world.stacked:
        raise BadInput(f"{what} spreads a language model over processes: {config['task']} trains small networks of all its seeds in one; leave it out")
    if world.drawn_apart:
        raise BadInput(f"{what}: --engine vllm draws for one process; leave one of the two out")
    if config.get("sample_workers"):
        raise BadInput(f"{what}: each of them draws its share of the answers; leave --sample-workers out")
    if config.get("cuda_graphs"):
        raise BadInput(f"{what}: weights that are spread over processes are gathered as they are needed; leave --cuda-graphs out")
    if not spine.splits:
        raise BadInput(f"{what}: {config['method']} has no updates whose rows could be split; leave it out")
    if config.get("task_callable") or config.get("not_resumable"):
        given = config.get("not_resumable", "the task is a Python object, which the other processes do not have; give it by its name")
        raise BadInput(f"{what}: each process makes the run from its run.json: {given}")


def spaces(world: World) -> dict[str, list[str]]:
    """What a network hangs on of a world's observations and actions, in words."""
    return {"observation": world.observation.form, "action": world.action.form}


def fields_of(world: World) -> dict[str, list[dict[str, Any]]]:
    """A world's observations and actions, for who reads its policies without it. Of an observation's bounds the outermost alone: no network hangs on more, and
    they may be many."""
    seen = Spec(tuple(replace(field, low=(min(field.low),), high=(max(field.high),)) for field in world.observation.fields))
    return {"observation": seen.to_json(), "action": world.action.to_json()}


def _fit_learning_rates(h: Any, given: Collection[str], scale: float) -> tuple[Any, list[str]]:
    """Hyper-parameters whose default learning rates are scaled to the size of what is trained, and a line for each; those that were given stay."""
    names = [item.name for item in fields(h) if item.name.rpartition("learning_rate")[1:] == ("learning_rate", "") and item.name not in given]
    if scale == 1 or not names:
        return h, []
    rates = {name: float(f"{getattr(h, name) * scale:.2g}") for name in names}
    notes = [
        f"{name} is {rate:g}, {scale:.2g} of the default {getattr(h, name):g}, which is for models of 1M parameters; --{name.replace('_', '-')} sets another"
        for name, rate in rates.items()
    ]
    return replace(h, **rates), notes


def _fit_environments(h: Any, method: str, rows: int) -> tuple[Any, list[str]]:
    """Hyper-parameters with as many copies of the environment as the vector environment that was given has rows, and a line where that is another number."""
    default = next((getattr(h, item.name) for item in fields(h) if item.name == "environments"), None)
    if default is None:
        return h, [f"{method} has no setting environments: of the vector environment's {rows:,} rows it takes as many as it steps"]
    if default == rows:
        return h, []
    return replace(h, environments=rows), [f"environments is {rows:,}, the rows of the vector environment that was given; {method}'s default is {default:,}"]


def check_kind(entry: Method, task: str, kind: str) -> None:
    """Raise `BadInput` where a method does not train on tasks of a kind, with methods that train on every one of it: the task need not be read."""
    if kind not in entry.worlds:
        instead = _instead(entry.key, lambda other: kind in other.worlds and other.example in (None, task) and set(other.actions) == set(ACTIONS))
        instead = ": take value-iteration, …; cfr where it is a game" if kind == "tabular" else instead
        raise BadInput(f"{entry.key} trains on tasks of kind {', '.join(entry.worlds)}; {task} is of kind {kind}{instead}")


def _takes(entry: Method, world: World) -> bool:
    """Whether a method as it is by default trains on a task, and is for tasks such as that."""
    if world.kind not in entry.worlds or not world.action.kinds <= set(entry.actions) or entry.example not in (None, world.task):
        return False
    try:
        spine = entry.build(configure(entry.key, {}))
        spine.check(world, [0], spine.steps_of(world, entry.spine), None)
    except BadInput:
        return False
    return True


def _instead(method: str, takes: Callable[[Method], bool]) -> str:
    """The end of a refusal that names methods that would do: those whose name begins with the same word, else as many as a line holds, those first that most
    people begin with; empty where none would."""
    fitting = [key for key, other in methods().items() if not other.baseline and takes(other)]
    word = method.partition("-")[0]
    named = [key for key in fitting if key.partition("-")[0] == word] or sorted(fitting, key=lambda key: COMMON.index(key) if key in COMMON else len(COMMON))
    line = textwrap.wrap(", ".join(named), 120, break_long_words=False, break_on_hyphens=False)
    return f": take {line[0].removesuffix(',')}{', … (operant methods lists them all)' * (len(line) > 1)}" if named else ""


def split_names(entry: Method, kind: str, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(hyper-parameters, options of the task) of what was given by name.

    `METHOD.NAME` is always the method's and `task.NAME` the task's. A plain name belongs to the one that has it.

    Args:
        kind: of the task's world.

    Raises:
        BadInput: both have a name that was given plainly, one was given twice, or with an owner that is neither.
    """
    own = {item.name for item in fields(entry.hyperparameters)}
    of_kinds = {name: {item.name for item in fields(options)} for name, options in world_options().items()}
    here, anywhere = of_kinds.get(kind, set()), set().union(*of_kinds.values())
    found: dict[str, dict[str, Any]] = {entry.key: {}, TASK: {}}
    for full, value in given.items():
        owner, dot, name = full.rpartition(".")
        if dot and owner not in found:
            raise BadInput(f"{full}: {owner!r} has no settings here; it is {entry.key}.{name} or {TASK}.{name}")
        if not dot and name in own & here:
            raise BadInput(both_have(entry.key, name))
        if not dot:
            owner = TASK if name in anywhere - own else entry.key
        if name in found[owner]:
            raise BadInput(f"{name} of {owner} is given twice: once as it is and once as {owner}.{name}")
        found[owner][name] = value
    return found[entry.key], found[TASK]


def _plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


def spine_of(config: dict[str, Any], policy: PlainModule | None = None) -> Any:
    """The configured loop of a run.

    Args:
        policy: the plain module that it trained, where it did.

    Raises:
        BadInput: it trained one, and none was given.
    """
    if (name := config.get("policy_module")) is not None and policy is None:
        raise BadInput(f"this run trained a Python module as its policy ({name}): give it again, as policy=… of operant.load or operant.resume")
    spine = with_module(get_method(config["method"]).build(configure(config["method"], config["hyperparameters"])), policy, config["method"])
    return arranged(spine, config)


def members_of(config: dict[str, Any], stacked: bool) -> list[list[int]]:
    """The seeds that train together, in the order in which they train."""
    seeds = [config["seed"] + index for index in range(config["seeds"])]
    return config.get("members") or ([seeds] if stacked else [[seed] for seed in seeds])


def grow(config: dict[str, Any], stacked: bool, steps: int | None, seeds: int | None, done: int | None = None) -> dict[str, Any]:
    """The config of a run that goes on to more steps or seeds.

    Args:
        done: of a run that is finished, the steps that each seed trained.

    Raises:
        BadInput: it has as many, counted in whole iterations too, its budget counts something else, or its seeds trained one after the other, and only the last
            one's state is kept.
    """
    members, budget = members_of(config, stacked), config["budget"]
    if steps is not None:
        if budget["unit"] != "steps":
            raise BadInput(f"--steps {steps}: this run's budget is {budget['amount']:,} {budget['unit']}; start another with --steps")
        iteration = config.get("iteration", 1)
        whole = max(1, budget["amount"] // iteration) * iteration
        if steps // iteration * iteration <= whole or steps <= budget["amount"]:
            has = f"the run {'has' if done == budget['amount'] else 'was asked for'} {budget['amount']:,}"
            has += f", of which {done:,} are done" if done not in (None, budget["amount"]) else ""
            each = f", in whole iterations of {iteration:,}" * (whole != budget["amount"] or steps > budget["amount"])
            raise BadInput(f"--steps {steps}: {has}{each}; to go on give {(whole // iteration + 1) * iteration:,} or more")
        if len(members) > 1:
            raise BadInput(f"--steps {steps}: these seeds trained one after the other, and only the last one's state is kept; train them anew")
    if seeds is not None and not config["seeds"] < seeds <= MOST_SEEDS:
        raise BadInput(f"--seeds {seeds}: the run has {config['seeds']}; to go on give more, at most {MOST_SEEDS:,}")
    if steps is not None and seeds is not None:
        raise BadInput("--steps and --seeds: one at a time, first the steps of the seeds that are there")
    if steps is not None:
        return config | {"steps": steps, "budget": budget | {"amount": steps}}
    first = config["seed"] + config["seeds"]
    new = list(range(first, config["seed"] + seeds))
    before = config.get("members_before", 0) if done is None else len(members)  # what is not finished goes on first, and counts with the new ones
    return config | {"seeds": seeds, "members": members + ([new] if stacked else [[seed] for seed in new]), "members_before": before}


def _unused(spine: Any, h: Any, given: Collection[str]) -> list[str]:
    """A line each where settings that were given say nothing beside others."""
    layers, tuned = (sorted(names & set(given)) for names in ({"hidden", "activation"}, {"initial_alpha", "target_entropy"}))
    lines = []
    if layers and isinstance(spine.trained, ActionValueNet) and spine.trained.module is not None:
        lines.append(f"{' and '.join(layers)}: not used, a module of your own stands in the place of all layers")
    if tuned and getattr(h, "alpha", None) is not None:
        lines.append(f"{' and '.join(tuned)}: not used, alpha = {h.alpha:g} is not tuned")
    return lines


def with_module(spine: Any, policy: PlainModule | None, method: str) -> Any:
    """A spine whose policy's network is a plain module. Raises `BadInput` where it has none that a module could stand for."""
    if policy is None:
        return spine
    if not isinstance(policy, torch.nn.Module) and not callable(policy):
        raise BadInput(f"policy={policy!r}: a torch.nn.Module, or a callable that makes one")
    if not isinstance(net := spine.trained, ActorNet | ActorCriticNet | ActionValueNet):
        stands = "one stands in the place of an actor's network, or of that of action values: ppo, sac-v2, td3 and dqn take one, among others"
        raise BadInput(f"{method} takes no module as policy: {stands}; a language model is given as model=")
    return spine.with_policy(replace(net, module=policy))


def whole_number(name: str, value: Any, low: int, high: int, given: str = "--{} {}") -> int:
    """A whole number between bounds, or `BadInput`.

    Args:
        given: how a name and its value are written, where no option has that name.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        value = index(value)
    except TypeError:
        raise BadInput(f"{given.format(name, repr(value))}: it must be a whole number, {low} or more") from None
    if value < low:
        raise BadInput(f"{given.format(name, value)}: it must be {low} or more")
    if value > high:
        raise BadInput(f"{given.format(name, value)}: it must be at most {high:,}")
    return value
