"""The errors that Operant raises on purpose. Each message is one line: what is wrong, where, and what would be right."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FunctionType, MethodType


class OperantError(Exception):
    """A failure that Operant explains in one line. The command line exits with `exit_code`."""

    exit_code = 1


class BadInput(OperantError):
    """What the person gave cannot be used: an unknown name, a value out of range, a file that is not what it claims to be."""

    exit_code = 2


class RunFailed(OperantError):
    """A run stopped itself: a loss that is not finite, an environment that raised, a verifier that cannot be started."""

    exit_code = 1


class NotWritten(RunFailed):
    """A file of a run could not be written; what was saved before is as it was."""


class WorkerLost(RunFailed):
    """A process that works for this one ended, or does not answer: which, and how."""


class Interrupted(KeyboardInterrupt):
    """The person stopped the work; the message says what is kept and how to go on. No `Exception`, so that an environment or a verifier which catches
    those does not swallow it. The command line exits with 130."""


LONGEST = 100  # letters of a name that is looked at for slips


def close_names(name: str, known: Iterable[str], most: int = 2) -> list[str]:
    """The known names that somebody may have meant: a name that it abbreviates (by a beginning, a word of it, or its initials), else one of few typing errors.

    A slip is one letter that is missing, added, changed or exchanged with its neighbour; a third of the letters may be slips, one at least.
    """
    word, known = name.lower().strip("-"), sorted(known)
    if len(word) > LONGEST:
        return []
    owner, dot, last = name.rpartition(".")
    if dot and (of_owner := {item.removeprefix(owner + "."): item for item in known if item.startswith(owner + ".")}):
        return [of_owner[item] for item in close_names(last, of_owner, most)]
    if not word:
        return []
    plain = {item: item.lower().strip("-") for item in known}
    parts = {item: re.split(r"[-_ :/.+]", text) for item, text in plain.items()}
    for means in (
        lambda item: plain[item] == word,
        lambda item: plain[item].startswith(word) and len(word) > 1 and re.match(r"[-_ :/.+\d]|v\d", plain[item][len(word) :]) is not None,
        lambda item: len(word) > 1 and "".join(part[:1] for part in parts[item]) == word,
        lambda item: len(word) > 2 and word in parts[item][1:],
    ):
        if found := [item for item in known if means(item)]:
            return found[:most]
    slips = {item: _slips(word, text) for item, text in plain.items()}
    allowed = max(1, len(word) // 3)
    near = sorted((item for item in known if slips[item] <= allowed), key=lambda item: (slips[item], item))
    if near:
        return near[:most]
    return [item for item in known if len(word) > 2 and plain[item].startswith(word)][:most]


def _slips(a: str, b: str) -> int:
    """The distance of two words in single edits and exchanges of neighbours (Damerau's, each letter moved once)."""
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, 1):
        rows.append([i])
        for j, y in enumerate(b, 1):
            cost = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, rows[i - 2][j - 2] + 1)
            rows[i].append(cost)
    return rows[-1][-1]


def nearest(name: str, known: Iterable[str], otherwise: str | None = None, about: Callable[[str], str] | None = None) -> str:
    """End of an error message that names the nearest known values; `otherwise`, or the first of them all, when none is near.

    Args:
        about: what a near value is, in words that stand behind it in brackets.
    """
    known = sorted(known)
    if close := close_names(name, known):
        return f"did you mean {' or '.join(close if about is None else [f'{each} ({about(each)})' for each in close])}?"
    return otherwise or f"known: {', '.join(known[:20])}{' …' if len(known) > 20 else ''}"


def unknown(what: str, name: str, known: Iterable[str], otherwise: str | None = None, about: Callable[[str], str] | None = None) -> BadInput:
    """The error for a name that is not in a registry; see `nearest`."""
    return BadInput(f"unknown {what} {name!r}: {nearest(name, known, otherwise, about)}")


CODE = (Exception, SystemExit)  # what foreign code may raise: an environment that exits does not end the run as if all were well


PACKAGE = Path(__file__).parents[1]


def place_of(function: object) -> str:
    """Where a function or a callable object of a person's own begins, " (FILE, line N)" for the end of an error; nothing of the library's."""
    if not isinstance(function, FunctionType | MethodType):
        function = type(function).__call__ if callable(function) else None
    code = function.__code__ if isinstance(function, FunctionType | MethodType) else None
    return "" if code is None else _own(code.co_filename, code.co_firstlineno)


def calling_place() -> str:
    """The line of a person's own that called the function which called this, or made the dataclass, as `place_of`; nothing where the library did."""
    frame = sys._getframe(1)
    here = frame.f_code.co_filename
    while frame is not None and (frame.f_code.co_filename in (here, dataclasses.__file__) or _is_made(frame.f_code)):
        frame = frame.f_back
    return "" if frame is None else _own(frame.f_code.co_filename, frame.f_lineno)


def _is_made(code: CodeType) -> bool:
    """Whether it is what a dataclass is made by, whose text stands in no file."""
    return code.co_filename == "<string>" and code.co_name == "__init__"


def place_of_field(cls: type, name: str) -> str:
    """Where a field of a person's own dataclass is declared, as `place_of`."""
    for part in cls.__mro__[:-1]:
        if name in inspect.get_annotations(part):
            try:
                lines, first = inspect.getsourcelines(part)
            except (OSError, TypeError):
                return ""
            line = next((line for line, text in enumerate(lines, first) if re.match(rf"\s*{name}\s*:", text)), first)
            return _own(inspect.getsourcefile(part) or "", line)
    return ""


def _own(file: str, line: int) -> str:
    return "" if Path(file).is_relative_to(PACKAGE) else f" ({file}, line {line})"


def one_line(value: object, limit: int = 200) -> str:
    """Text of a value or an exception on one line, shortened to `limit` characters."""
    try:
        text = " ".join(str(value).split())
    except ValueError:  # an integer of more digits than Python prints
        text = f"{a_type(value)} of more digits than are printed"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def apart(one: str, other: str, limit: int = 120) -> tuple[str, str]:
    """Two texts that differ, each on one line: what is alike at the beginning of long ones is left out, in whole words but for the first."""
    a, b = one.split(), other.split()
    alike = next((place for place, words in enumerate(zip(a, b, strict=False)) if words[0] != words[1]), min(len(a), len(b)))
    left = 0 if max(len(one), len(other)) <= limit else max(alike - 1, 1)
    one, other = (" ".join(words[:1] + ["…"] * (left > 1) + words[left:] if left else words) for words in (a, b))
    return one_line(one, limit), one_line(other, limit)


def a_type(value: object) -> str:
    """What kind of value it is, with its article: `an int`."""
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
