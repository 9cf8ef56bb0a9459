"""Studies: what papers measured rather than proposed, to be run on a task and model of one's own. `studies()` lists them, `run(key)` does one.

Each study is a module of this package with a frozen dataclass of options and a function marked by `@study`. Options are read as a method's hyper-parameters
are: the comment at the end of a field's line is its help, its type says what it takes. (One that reads the library's own claims is a module of
`operant.evidence`, which imports this package and not the other way around.)
"""

from __future__ import annotations

import inspect
import json
import math
import time
import typing
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from operant.core.errors import BadInput
from operant.core.files import given_path, make_folder, remove_empty, write_atomic
from operant.core.index import Declaration, Register, check_texts
from operant.core.registry import is_frozen_dataclass, read_settings

Say = Callable[[str], None]


@dataclass(frozen=True)
class Table:
    """A table for people.

    Attributes:
        title: one line above it.
        head: titles of the columns.
        rows: cells as text, every row as long as the head.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Attributes:
        figures: numbers by name, ready for JSON.
        tables: the same for people.
        plots: SVG text by name.
    """

    figures: dict[str, Any]
    tables: tuple[Table, ...]
    plots: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A registered study.

    Attributes:
        key: its name on the command line.
        paper: where it was published.
        summary: one line about it.
        options: its frozen dataclass.
        conduct: `(options, folder, say) → StudyResult`; runs that it makes go into the folder, `say` hears of progress.
        doc: the docstring of its module.
    """

    key: str
    paper: str
    summary: str
    options: type
    conduct: Callable[[Any, Path, Say], StudyResult]
    doc: str = ""


def _outline(key: str, found: Declaration) -> Study:
    def conduct(options: Any, folder: Path, say: Say) -> StudyResult:
        return get_study(key).conduct(options, folder, say)

    return Study(key=key, options=found.settings, conduct=conduct, doc=found.doc, **found.words)


_studies: Register[Study] = Register("studies", "study", "`operant study` lists what there is", outline=_outline, also=("evidence",))


def study(key: str, *, paper: str, summary: str):
    """Register a function `(options: OPTIONS, folder: Path, say: Say) → StudyResult`, OPTIONS being a frozen dataclass (see `Study`)."""

    def register(conduct: Callable[[Any, Path, Say], StudyResult]) -> Callable[[Any, Path, Say], StudyResult]:
        options = next(iter(typing.get_type_hints(conduct).values()), None)
        if not is_frozen_dataclass(options):
            raise TypeError(f"study {key}: write `def {conduct.__name__}(options: OPTIONS, folder: Path, say: Say)`, OPTIONS being a frozen dataclass")
        check_texts(f"study {key}", paper=paper, summary=summary)
        doc = inspect.getdoc(inspect.getmodule(conduct)) or summary
        _studies.add(key, Study(key, paper, summary, options, conduct, doc), conduct.__module__)
        return conduct

    return register


def studies() -> dict[str, Study]:
    """All studies by key."""
    return _studies.all()


def get_study(key: str) -> Study:
    """The study of a key (see `Register.get`)."""
    return _studies.get(key)


def outlined_study(key: str) -> Study | None:
    """A study of which its text is enough (see `Register.outlined`)."""
    return _studies.outlined(key)


def run(key: str, *, out: str | Path | None = None, say: Say = lambda line: None, **options: Any) -> tuple[StudyResult, dict[str, Any]]:
    """Do one study.

    Args:
        out: the folder for `study.json`, the figures and what the study trains; a new one under `runs/` by default.
        say: hears lines of progress.
        options: fields of the study's dataclass, values or text.

    Returns:
        (what it found, the JSON object that was written).

    Raises:
        BadInput: no study of that key, options it cannot take, or a folder that holds something.
    """
    entry = get_study(key)
    from operant.core.run import machine  # and with it PyTorch

    settings = read_settings(entry.options, options, f"study {key}", "option")
    for name, given in asdict(settings).items():
        if isinstance(given, tuple) and (twice := next((one for one in given if isinstance(one, str) and given.count(one) > 1), None)) is not None:
            raise BadInput(f"study {key}: {name} has {twice} twice")
    folder = Path("runs") / f"study-{key}-{datetime.now():%m%d-%H%M%S-%f}" if out is None else given_path(out, "--out")
    try:
        made = make_folder(folder)
        if any(folder.iterdir()):
            raise BadInput(f"{folder} is not empty: name a new folder")
    except OSError as error:
        raise BadInput(f"cannot write {folder}: {error.strerror}") from error
    started = time.perf_counter()
    try:
        found = entry.conduct(settings, folder, say)
    except BaseException:
        remove_empty(made)  # where nothing was written
        raise
    result = {
        "study": key,
        "paper": entry.paper,
        "options": asdict(settings),
        "figures": _finite(found.figures),
        "seconds": round(time.perf_counter() - started, 1),
        "folder": str(folder),
        "plots": [f"{name}.svg" for name in found.plots],
    } | machine()
    for name, text in found.plots.items():
        write_atomic(folder / f"{name}.svg", text)
    write_atomic(folder / "study.json", json.dumps(result, indent=1, allow_nan=False) + "\n")
    return found, result


def _finite(value: Any) -> Any:
    """`value` for JSON: names as text, numbers that are not finite as null."""
    if isinstance(value, dict):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
