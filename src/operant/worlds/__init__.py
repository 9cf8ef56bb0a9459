"""Where experience comes from: `make_world("scheme:name")` gives the world of a task.

What a world offers to loops and to the runner stands in `operant.worlds.base.World`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operant.core.errors import BadInput, close_names, unknown
from operant.worlds.names import FROM_GYMNASIUM, NAMES, own_maker

if TYPE_CHECKING:
    from operant.worlds.base import World


@dataclass(frozen=True)
class Scheme:
    """One kind of task name.

    Attributes:
        kind: of its worlds.
        module: where its world class is, imported when it is asked for.
        world: the class; `world.from_name(rest)` makes a world, `world.names()` lists known names with a line each.
        example: a name that a person can type.
    """

    kind: str
    module: str
    world: str
    example: str

    def load(self) -> Any:
        return getattr(import_module(self.module), self.world)


SCHEMES = {
    "gym": Scheme("gym", "operant.worlds.gym.world", "GymWorld", "gym:CartPole-v1"),
    "ogbench": Scheme("data", "operant.worlds.data.world", "OGBenchWorld", "ogbench:pointmaze-medium-navigate-singletask-v0"),
    "data": Scheme("data", "operant.worlds.data.world", "FileWorld", "data:PATH.npz"),
    "minari": Scheme("data", "operant.worlds.data.world", "MinariWorld", "minari:D4RL/pointmaze/umaze-v2"),
    "text": Scheme("text", "operant.worlds.text.world", "TextWorld", "text:arithmetic"),
    "file": Scheme("text", "operant.worlds.text.schemes", "FileTextWorld", "file:PATH.jsonl"),
    "reasoning-gym": Scheme("text", "operant.worlds.text.schemes", "ReasoningGymWorld", "reasoning-gym:chain_sum"),
    "preferences": Scheme("preferences", "operant.worlds.text.preferences", "PreferenceWorld", "preferences:arithmetic"),
    "sequences": Scheme("sequences", "operant.worlds.sequences.world", "SequenceWorld", "sequences:target"),
    "generative": Scheme("generative", "operant.worlds.generative.world", "GenerativeWorld", "generative:mixture"),
    "agents": Scheme("agents", "operant.worlds.agents.world", "AgentsWorld", "agents:spread"),
    "tabular": Scheme("tabular", "operant.worlds.tabular.world", "TabularWorld", "tabular:random-sparse"),
}

FILES = {".jsonl": "file", ".json": "file", ".npz": "data", ".hdf5": "data", ".h5": "data"}  # what reads files that end so
# Schemes whose names are the library's own, and what they name.
NAMED = {"text": "text task", "sequences": "sequence problem", "generative": "generative task", "tabular": "finite MDP or game"}
OPTIONS = {  # of each kind of world
    "gym": ("operant.worlds.gym.options", "GymOptions"),
    "data": ("operant.worlds.data.options", "DataOptions"),
    "text": ("operant.worlds.text.options", "TextOptions"),
    "preferences": ("operant.worlds.text.options", "TextOptions"),
    "agents": ("operant.worlds.agents.options", "AgentOptions"),
    "tabular": ("operant.worlds.tabular.options", "TabularOptions"),
}


def make_world(task: Any, **options: Any) -> World:
    """The world of a task: `scheme:name`, a bare known name, an environment or a callable that makes one, or a world that is ready.

    Args:
        options: of the kind of task (fields of its world's `option_type`), values or text; a text task's model, for example.

    Raises:
        BadInput: unknown scheme, name or option (with the nearest), or data that cannot be read.
    """
    if not isinstance(task, str) and isinstance(task, _base()):
        if options:
            raise BadInput(f"{next(iter(options))} is an option of tasks that are named; {task.task} is a world, and is made with its own")
        return task
    if isinstance(task, Mapping):
        raise BadInput("a dict of arrays is no task: save it with numpy.savez('data.npz', **arrays) and train on data:data.npz")
    if not isinstance(task, str):
        return SCHEMES["gym"].load()(task, **options)
    scheme, name = _find(task)
    world = scheme.load()
    if options and world.option_type is None:
        raise BadInput(f"{task} has no option {next(iter(options))!r}: tasks of its kind have none")
    return world.from_name(name, **options)


def _base() -> type[World]:
    """What worlds inherit; importing it takes PyTorch, and names are answered without."""
    from operant.worlds.base import World

    return World


def check_scheme(task: str) -> None:
    """Raise `BadInput` where a task's scheme is unknown, or nothing stands behind it. Imports nothing."""
    if half := re.search("[\ud800-\udbff]|\0", task):
        raise BadInput(f"task {task!r}: no name has {half[0]!r} in it")
    scheme, colon, name = task.partition(":")
    if colon and scheme not in SCHEMES:
        if Path(f"{module.replace('.', '/')}.py" if (module := scheme.removesuffix(".py")) else "").is_file():
            raise BadInput(f"task {task!r}: an environment of a module of your own is gym:{module}:{name}")
        raise unknown("kind of task", scheme, SCHEMES)
    if colon and not name:
        raise BadInput(f"task {task!r} has no name; for example {SCHEMES[scheme].example}")


def check_name(task: str) -> None:
    """Raise `BadInput` where a task's name is none of the library's own, nor of Gymnasium's. Does not import PyTorch.

    Modules from outside may add names: only where there are none is a name that this refuses unknown.
    """
    check_scheme(task)
    scheme, colon, name = task.partition(":")
    if not colon:
        _scheme_of(task, {f"{scheme}:{name}" for scheme, names in NAMES.items() for name in names})
    elif scheme == "gym" and ":" not in name and name not in NAMES["gym"]:
        from operant.worlds.gym.ids import registered

        registered(name)
    elif scheme == "tabular" and name.startswith(FROM_GYMNASIUM):
        from operant.worlds.gym.ids import registered

        registered(name.removeprefix(FROM_GYMNASIUM))
    elif scheme == "tabular" and own_maker(name) is not None:
        return
    elif scheme in NAMED and name not in NAMES[scheme] and not (scheme == "tabular" and name.endswith(".npz")):
        own = "; --import FILE.py brings one of your own" * (scheme == "text")
        if scheme == "tabular" and (Path(name).suffix.lower() in FILES or Path(name).is_file()):
            raise BadInput(f"unknown {NAMED[scheme]} {name!r}: a file of one's own is an archive of NumPy's whose name ends in .npz")
        raise unknown(NAMED[scheme], name, NAMES[scheme], f"known: {', '.join(NAMES[scheme])}{own}")


def _find(task: str) -> tuple[Scheme, str]:
    """The scheme and the name of a task that is named."""
    check_scheme(task)
    scheme, colon, name = task.partition(":")
    return (SCHEMES[scheme], name) if colon else (SCHEMES[_scheme_of(task, task_names())], task)


def _scheme_of(name: str, known: Iterable[str]) -> str:
    """The scheme of a bare name: that of the one known task `scheme:name`. Raises `BadInput` with the nearest, Gymnasium's ids among them."""
    schemes: dict[str, list[str]] = {}
    for task in known:
        scheme, _, bare = task.partition(":")
        schemes.setdefault(bare, []).append(scheme)
    if len(schemes.get(name, ())) == 1:
        return schemes[name][0]
    if (behind := FILES.get(Path(name).suffix.lower())) is not None and Path(name).is_file():
        raise BadInput(f"unknown task {name!r}: did you mean {behind}:{name}?")
    from operant.worlds.gym.ids import newest_ids

    for bare in newest_ids():
        schemes.setdefault(bare, ["gym"])
    meant = [f"{scheme}:{close}" for close in close_names(name, schemes) for scheme in schemes[close]]
    raise BadInput(f"unknown task {name!r}: " + (f"did you mean {' or '.join(meant)}?" if meant else "`operant tasks` lists what there is"))


def kind_of(task: Any) -> str:
    """The kind of world that a task has (see `make_world`). Raises `BadInput` for a name that is unknown."""
    if isinstance(task, str):
        return _find(task)[0].kind
    return task.kind if isinstance(task, _base()) else "gym"


TASK = "task"  # before a name: the task's option, where the method has a hyper-parameter of that name


def both_have(key: str, name: str) -> str:
    """What is wrong with a name that a method and its task both have."""
    return f"{name} is a hyper-parameter of {key} and an option of its task: say which, {key}.{name} or {TASK}.{name}"


def world_options() -> dict[str, type]:
    """The options of every kind of world that has some: a frozen dataclass each, by the kind. Their modules are free of heavy imports."""
    return {kind: getattr(import_module(module), name) for kind, (module, name) in OPTIONS.items()}


def task_names() -> dict[str, str]:
    """Every task that can be named without a file, with a line about it."""
    found = {}
    for scheme, entry in SCHEMES.items():
        for name, line in entry.load().names().items():
            found[f"{scheme}:{name}"] = line
    return found
