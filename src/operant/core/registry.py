"""The registry of methods, and how a method's hyper-parameters are read from its dataclass.

Outside packages register through the entry-point group `operant.methods`: each entry point is a module whose import runs `@method(...)`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import inspect
import math
import numbers
import os
import re
import sys
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Any

from operant.core.elsewhere import named_elsewhere
from operant.core.errors import PACKAGE, BadInput, nearest, place_of_field
from operant.core.index import Declaration, Register, check_kinds, check_texts, declared, declared_words, source

ENTRY_POINTS = "operant.methods"


@dataclass(frozen=True)
class Range:
    """The values that a hyper-parameter may take, for `typing.Annotated`.

    Attributes:
        low, high: bounds; `open_low`, `open_high` exclude the bound itself. For a tuple, of each item.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: float) -> bool:
        return (self.low < value if self.open_low else self.low <= value) and (value < self.high if self.open_high else value <= self.high)

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"{'above' if self.open_low else 'at least'} {self.low:g}"
        return f"in {'(' if self.open_low else '['}{self.low:g}, {self.high:g}{')' if self.open_high else ']'}"


def value_text(value: Any) -> str:
    """A hyper-parameter's value as it is typed: `true`, `none`, `64,64`, `0.0003`."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(map(value_text, value))
    if isinstance(value, float):
        return short if float(short := f"{value:g}") == value else repr(value)
    return str(value)


@dataclass(frozen=True)
class Tune:
    """Among which values `operant tune` searches for a hyper-parameter, for `typing.Annotated`; of several the last counts.

    Attributes:
        low, high: bounds of a number, drawn on a logarithmic scale where `log`.
        choices: in their place, one of these.
    """

    low: float = math.nan
    high: float = math.nan
    log: bool = False
    choices: tuple[Any, ...] = ()

    def __str__(self) -> str:
        if self.choices:
            return "|".join(map(value_text, self.choices))
        return f"{value_text(self.low)}:{value_text(self.high)}{':log' * self.log}"


LARGEST = 10**9  # of whole numbers; no training counts so far
LARGEST_FLOAT = 2.0**127  # about half of what networks' numbers can be
Count = Annotated[int, Range(1)]
Passes = Annotated[int, Range(1, 10_000)]  # over one batch
Workers = Annotated[int, Range(1, 1_000)]  # processes
Positive = Annotated[float, Range(0, open_low=True)]
NonNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
LearningRate = Annotated[Positive, Tune(1e-5, 1e-2, log=True)]
Discount = Annotated[Share, Tune(choices=(0.9, 0.95, 0.98, 0.99, 0.995, 0.999))]
TargetShare = Annotated[Share, Tune(1e-3, 5e-2, log=True)]  # of the trained networks that enters target networks
BatchSize = Annotated[Count, Tune(choices=(32, 64, 128, 256, 512))]
Widths = Annotated[tuple[int, ...], Range(1)]


@dataclass(frozen=True)
class Method:
    """A registered method.

    Attributes:
        key: its name on the command line.
        family: its family of the catalogue (online, offline, rlvr, …).
        paper: where it was published.
        worlds: the kinds of worlds that it trains in, of `WORLDS`.
        spine: the loop it configures, in words.
        hyperparameters: its frozen dataclass.
        build: from hyper-parameters to a configured spine.
        actions: the kinds of actions that it takes, of "discrete" (one choice), "multi-discrete" (several at a time) and "continuous".
        baseline: whether it stands for comparison, and claims nothing.
        example: a task that it is for, where it is not for every one of its kinds; None where it is.
        doc: the docstring of its module.
    """

    key: str
    name: str
    family: str
    paper: str
    worlds: tuple[str, ...]
    spine: str
    hyperparameters: type
    build: Callable[[Any], Any]
    actions: tuple[str, ...] = ("discrete", "multi-discrete", "continuous")
    baseline: bool = False
    example: str | None = None
    doc: str = ""


@dataclass(frozen=True)
class Hyperparameter:
    name: str
    type: Any
    default: Any
    help: str
    range: Range | None = None
    tune: Tune | None = None


ACTIONS_IN_WORDS = {"discrete": "one choice", "multi-discrete": "several choices", "continuous": "numbers"}
ACTIONS = tuple(ACTIONS_IN_WORDS)
WORLDS = ("gym", "data", "text", "preferences", "sequences", "generative", "agents", "tabular")


def method(
    key: str,
    *,
    family: str,
    paper: str,
    worlds: tuple[str, ...],
    name: str | None = None,
    actions: tuple[str, ...] = ACTIONS,
    baseline: bool = False,
    example: str | None = None,
):
    """Register a function from a frozen dataclass of hyper-parameters to a configured spine (see `Method`).

    Args:
        actions: kinds of actions that it takes, of `ACTIONS`, where its policies act in an environment; all of them by default.
    """

    def register(build: Callable[[Any], Any]) -> Callable[[Any], Any]:
        hints = typing.get_type_hints(build)
        spine = hints.pop("return", None)
        types = list(hints.values())
        if len(types) != 1 or not is_frozen_dataclass(types[0]) or spine is None:
            raise TypeError(f"method {key}: write `def {build.__name__}(h: HYPERPARAMETERS) -> SPINE`, HYPERPARAMETERS being a frozen dataclass")
        existing = _methods.entries.get(key)
        if existing is not None and existing.build.__module__ != build.__module__:
            raise BadInput(f"method {key!r} is registered twice: by {existing.build.__module__} and by {build.__module__}")
        where = f"method {key}"
        check_texts(where, family=family, paper=paper, **{} if name is None else {"name": name})
        check_kinds(where, "worlds", worlds, WORLDS)
        check_kinds(where, "actions", actions, ACTIONS)
        if example is not None and (not isinstance(example, str) or re.fullmatch(r"[a-z-]+:.+", example) is None):
            raise BadInput(f"{where}: example = {example!r} is no task; write it with its kind, as in 'gym:CartPole-v1'")
        words, doc = _in_words(spine.__name__), inspect.getdoc(inspect.getmodule(build)) or inspect.getdoc(build) or ""
        entry = Method(key, name or key.upper(), family, paper, tuple(worlds), words, types[0], build, tuple(actions), bool(baseline), example, doc)
        _methods.add(key, entry, build.__module__)
        return build

    return register


def is_frozen_dataclass(kind: Any) -> bool:
    """Whether something is a dataclass whose fields cannot be set: what a run was configured with stays what it says."""
    return isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen


_loaded = False


def packages_from_outside() -> bool:
    """Whether installed packages bring methods, and with them what their modules do when they are imported."""
    return bool(entry_points(group=ENTRY_POINTS))


def _load_entry_points() -> None:
    global _loaded
    if _loaded:
        return
    _loaded = True
    for point in entry_points(group=ENTRY_POINTS):
        try:
            point.load()
        except Exception as error:
            raise BadInput(f"entry point {point.name!r} of {ENTRY_POINTS} ({point.value}) cannot be loaded: {type(error).__name__}: {error}") from error


def _about(key: str) -> str:
    """A method's name, and which actions it is for where these are not all."""
    if (entry := _methods.entries.get(key)) is not None:
        name, actions, worlds = entry.name, entry.actions, entry.worlds
    else:
        words = declared_words(declared("methods", "method")[key], "method", key)
        name, actions, worlds = words.get("name", key.upper()), words.get("actions", ACTIONS), words["worlds"]
    acts = {"gym", "data", "agents"} & set(worlds) and set(actions) != set(ACTIONS)
    return name + f", actions that are {' or '.join(ACTIONS_IN_WORDS[kind] for kind in actions)}" * bool(acts)


def _in_words(spine: str) -> str:
    """A spine's class in words: `policy gradient`."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", spine).lower()


def _outline(key: str, found: Declaration) -> Method:
    def build(h: Any) -> Any:
        return get_method(key).build(h)

    build.__module__ = found.module
    words = {"name": key.upper()} | found.words
    return Method(key=key, spine=_in_words(found.returns), hyperparameters=found.settings, build=build, doc=found.doc, **words)


_methods: Register[Method] = Register(
    "methods",
    "method",
    "`operant methods` lists what there is, and --import FILE.py brings a method of your own",
    _load_entry_points,
    about=_about,
    outline=_outline,
)


def methods() -> dict[str, Method]:
    """All methods by key: the library's own and those of installed packages."""
    return _methods.all()


def get_method(key: str) -> Method:
    """The method of a key (see `Register.get`)."""
    return _methods.get(key)


def outlined_method(key: str) -> Method | None:
    """A method of which its text is enough, that it may be described without PyTorch (see `Register.outlined`)."""
    return _methods.outlined(key)


COMMON = ("ppo", "sac-v2", "td3", "dqn", "sac-discrete", "a2c", "c51", "iql", "grpo", "dpo")
"""Methods that most people begin with, in the order in which errors name those of several that would do."""


def registered(key: str) -> bool:
    """Whether a method is there without importing anything but the library's own and installed packages'."""
    return key in _methods


def import_file(path: str | Path) -> None:
    """Run a Python file for the methods that it registers, as a module of its own name, which finds the modules beside it; one that was run before is left.

    Raises:
        BadInput: no such file, another module of the name is there, or running it raised.
    """
    path = Path(path).expanduser().resolve()
    if path.suffix != ".py" or not path.is_file():
        raise BadInput(f"--import {path}: no Python file is there; give one that ends with .py")
    if is_loaded(path):
        _imported[str(path)] = None
        return
    known = sys.modules.get(path.stem)
    found = None if known is not None else importlib.util.find_spec(path.stem)
    others = found is not None and found.origin != str(path) and os.path.dirname(found.origin or "") not in _own_folders
    if known is not None or others:
        raise BadInput(f"--import {path}: another module is called {path.stem}; give the file another name")
    _find_in(str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    sys.modules[path.stem] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[path.stem]
        if isinstance(error, BadInput) or not isinstance(error, Exception | SystemExit):
            raise
        raise BadInput(f"--import {path}: running it raised {type(error).__name__}: {' '.join(str(error).split())}") from error
    _imported[str(path)] = None


def import_named(module: str) -> ModuleType:
    """Import a module that a person named, from the import path or, where it is not there, from the working directory. Raises what importing it raises."""
    top, here = module.partition(".")[0], os.getcwd()
    there = Path(here, f"{top}.py").is_file() or Path(here, top).is_dir()
    if there and top not in sys.modules and importlib.util.find_spec(top) is None:
        _find_in(here)
    return importlib.import_module(module)


def near_module(error: BaseException) -> str:
    """Where a module that is missing was looked for, and what is there of nearly that name, in words that end a message; empty of other failures."""
    top = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if not top or top in sys.modules:
        return ""
    here = Path.cwd()
    modules = [path.stem for path in here.glob("*.py")] + [path.parent.name for path in here.glob("*/__init__.py")]
    near = nearest(top, modules, "it has none of nearly that name")
    return f"; modules are looked for on the import path and in the working directory, {here}: {near}"


_own_folders: list[str] = []


def _find_in(folder: str) -> None:
    """From now on modules are found in a folder too, behind all others: it takes no name that is there already."""
    if folder not in sys.path:
        sys.path.append(folder)
        _own_folders.append(folder)
        importlib.invalidate_caches()


def own_folders() -> list[str]:
    """The folders of a person's own modules that were put on the import path."""
    return list(_own_folders)


_imported: dict[str, None] = {}  # files that a person named, in order


def imported_files() -> list[str]:
    """The files that a person's command named (`import_file`), in order."""
    return list(_imported)


def forget_imported_files() -> None:
    """At the end of a command: what comes next in this process was not made with them."""
    _imported.clear()


def own_file(module: str) -> str | None:
    """The file of a module that neither the library nor an installed package brings, of the script that runs among them; None where none can be imported
    again."""
    if (top := module.partition(".")[0]) == "operant" or top in {point.module.partition(".")[0] for point in entry_points(group=ENTRY_POINTS)}:
        return None
    file = _file_of(module)
    return None if file is None or file.suffix != ".py" or not file.is_file() else str(file)


def files_beside(files: Iterable[str]) -> list[str]:
    """What is loaded now of the folders in which files lie, and below them, but the files themselves and what is installed there: what they are made of."""
    folders = {Path(file).parent for file in files}
    loaded = {Path(file).absolute() for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None)) is not None}
    near = {file for file in loaded if not folders.isdisjoint(file.parents)} - set(map(Path, files))
    mine = [file for file in near if not {"site-packages", "dist-packages"} & set(file.parts) and not file.is_relative_to(PACKAGE)]
    return sorted(str(file) for file in mine if file.suffix == ".py" and file.is_file())


def is_file(module: str) -> bool:
    """Whether a module is a file of its name, which `import_file` can run, and no part of a package."""
    file = _file_of(module)
    return file is not None and file.stem == module


def _file_of(module: str) -> Path | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    return None if file is None else Path(file).absolute()


def is_loaded(file: str | Path) -> bool:
    """Whether a file was imported in this process, under whatever name, or is the script that runs."""
    path = str(Path(file).resolve())
    return any(isinstance(at := vars(module).get("__file__"), str) and os.path.realpath(at) == path for module in [*sys.modules.values()] if module is not None)


@cache
def hyperparameters(cls: type) -> tuple[Hyperparameter, ...]:
    """The fields of a hyper-parameter dataclass, those that it inherits too, with the comment at the end of each field's line as its help."""
    hints = typing.get_type_hints(cls, include_extras=True)
    text = ""
    for part in cls.__mro__[:-1]:  # what a class says of a field comes before what its bases say
        with contextlib.suppress(OSError):
            text += source(part)
    found = []
    for item in dataclasses.fields(cls):
        comment = re.search(rf"^\s*{item.name}\s*:[^#\n]*#\s*(.*)$", text, re.MULTILINE)
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise BadInput(f"{cls.__name__}: {item.name} has no default: give it one{place_of_field(cls, item.name)}")
        default = item.default if item.default is not dataclasses.MISSING else item.default_factory()
        kind = hints[item.name]
        extras = getattr(kind, "__metadata__", ())
        bounds = next((extra for extra in extras if isinstance(extra, Range)), None)
        tune = next((extra for extra in reversed(extras) if isinstance(extra, Tune)), None)
        kind = typing.get_args(kind)[0] if bounds is not None or tune is not None else kind
        found.append(Hyperparameter(item.name, kind, default, comment.group(1).strip() if comment else "", bounds, tune))
    return tuple(found)


def configure(key: str, values: dict[str, Any]) -> Any:
    """A method's hyper-parameters from values by name, each a Python value or text from the command line.

    Raises:
        BadInput: unknown name (with the nearest), or a value, a default among them, that its type cannot take.
    """
    return read_settings(get_method(key).hyperparameters, values, key, HYPERPARAMETER)


HYPERPARAMETER = "hyper-parameter"


def named_of_others(name: str) -> str | None:
    """The end of an error for a hyper-parameter, or its option, that other methods of the library have; None where none has. No method is imported."""
    plain = name.removeprefix("--").replace("-", "_")
    entries = filter(None, map(outlined_method, declared("methods", "method")))
    keys = [entry.key for entry in entries if plain in {item.name for item in dataclasses.fields(entry.hyperparameters)}]
    keys.sort(key=lambda key: COMMON.index(key) if key in COMMON else len(COMMON))
    return f"others have it: {', '.join(keys[:5])}{', …' * (len(keys) > 5)}" if keys else None


def read_settings(cls: type, values: dict[str, Any], where: str, what: str) -> Any:
    """A dataclass of settings from values by name, as `configure` reads them.

    Args:
        where, what: how errors call the owner ("grpo") and a setting ("hyper-parameter").
    """
    known = {item.name: item for item in hyperparameters(cls)}
    _check_defaults(cls, where)
    given = {}
    for name, value in values.items():
        if name not in known:
            meant = named_elsewhere(name, known) or (named_of_others(name) if what == HYPERPARAMETER else None) or nearest(name, known)
            raise BadInput(f"{where} has no {what} {name!r}: {meant}")
        given[name] = read_value(known[name], value, f"{where}: {name}")
    try:
        return cls(**given)
    except ValueError as error:
        raise BadInput(f"{where}: {error}") from error


def read_value(item: Hyperparameter, value: Any, where: str) -> Any:
    """A setting's value from a Python value or text. Raises `BadInput` that begins with `where` for what it cannot be."""
    try:
        read = _read(value, item.type, where)
    except BadInput as error:
        raise BadInput(f"{error}: it must be {item.range}" if item.range is not None else str(error)) from None
    return _within(read, item.range, where)


@cache
def _check_defaults(cls: type, where: str) -> None:
    """Raise `BadInput` where a field's default is none of the values that it takes."""
    for item in hyperparameters(cls):
        kind = next((part for part in typing.get_args(item.type) if part is not NoneType), item.type) if _is_union(item.type) else item.type
        if isinstance(kind, type) and kind not in (bool, int, float, str):  # a type of somebody's own, whose values only Python gives
            continue
        try:
            read_value(item, item.default, f"{where}: default of {item.name}")
        except BadInput as error:
            raise BadInput(f"{error}{place_of_field(cls, item.name)}") from None


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, UnionType)


def _within(value: Any, bounds: Range | None, where: str) -> Any:
    """`value`, if every number in it is finite and within `bounds`."""
    if value == () and bounds is not None:
        raise BadInput(f"{where} is empty: give one number at least")
    for item in value if isinstance(value, tuple) else (value,):
        if isinstance(item, float) and not math.isfinite(item):
            raise BadInput(f"{where} = {item}: it must be a finite number{'' if bounds is None else f', {bounds}'}")
        if isinstance(item, float) and abs(item) > LARGEST_FLOAT:
            raise BadInput(f"{where} = {item}: it must be at most {LARGEST_FLOAT:.3g} in size")
        if isinstance(item, int) and abs(item) > LARGEST:
            raise BadInput(f"{where} = {item}: it must be at most {LARGEST:,}")
        if bounds is not None and item is not None and not bounds.holds(item):
            raise BadInput(f"{where} = {item}: it must be {bounds}")
    return value


def _read(value: Any, kind: Any, where: str) -> Any:
    """`value` (text or a Python value) as `kind`: bool, int, float, str (or a path), a tuple, a Literal, a Callable, or one of them or None. `Any` takes
    every value as it is."""
    if kind is Any:
        return value
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if _is_union(kind):
        if value is None or (NoneType in arguments and isinstance(value, str) and value.lower() == "none"):
            return None
        return _read(value, next(a for a in arguments if a is not NoneType), where)
    if origin is typing.Literal:
        if value not in arguments:
            raise BadInput(f"{where} = {value!r}: {nearest(str(value), map(str, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, str | list | tuple):
            raise BadInput(f"{where} = {value!r} is not a list")
        items = re.split(r"\s*,\s*|\s+", value.strip("()[] ")) if isinstance(value, str) else list(value)
        return tuple(_read(item, arguments[0], where) for item in items)
    if Callable in (kind, origin):
        if callable(value):
            return value
        raise BadInput(f"{where} = {value!r} is no function: give one in Python")
    if kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "yes", "on", "1"):
            return True
        if str(value).lower() in ("false", "no", "off", "0"):
            return False
        raise BadInput(f"{where} = {value!r} is not true or false")
    if kind is str:
        if isinstance(value, str | os.PathLike) and isinstance(text := os.fspath(value), str):
            return text
        raise BadInput(f"{where} = {value!r} is no text")
    try:
        if isinstance(value, bool) or not isinstance(value, str | numbers.Real):
            raise TypeError
        if kind is int and isinstance(value, str) and re.fullmatch(r"\s*[-+]?\d+\s*", value):
            return int(value)
        if kind is int and not isinstance(value, int):
            number = float(value)
            if number != int(number):
                raise ValueError
            return int(number)
        return kind(value)
    except (TypeError, ValueError, OverflowError):
        raise BadInput(f"{where} = {value!r} is not {'an integer' if kind is int else 'a number' if kind is float else f'a {kind.__name__}'}") from None
