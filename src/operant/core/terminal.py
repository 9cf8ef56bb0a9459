"""Lines for a person, on standard error: what came from a file, a model or an environment is shown and never obeyed."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from operant.core.errors import PACKAGE

# What a terminal or an editor obeys rather than shows: control characters but tab and line feed, marks that turn the direction of writing, half characters.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Text that came from a file, a model or an environment as a person may read it: what a terminal would obey stands there as JSON writes it, `\\u001b`."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def note(text: str) -> None:
    """Print a line on standard error, `printable`; where nobody reads it, go on in silence."""
    try:
        print(printable(text), file=sys.stderr, flush=True)
    except OSError:  # a pipe or a terminal that closed
        discard(2)


@contextmanager
def own_warnings() -> Iterator[None]:
    """The library's own warnings are one line, without a place in its code."""
    usual, home = warnings.formatwarning, str(PACKAGE)

    def told(message, category, filename, lineno, line=None):
        return f"warning: {message}\n" if filename.startswith(home) else usual(message, category, filename, lineno, line)

    warnings.formatwarning = told
    try:
        yield
    finally:
        warnings.formatwarning = usual


class Screen:
    """Standard error as a file for live displays, which go on in silence where the terminal closed."""

    def __init__(self):
        self._file = sys.stderr

    def write(self, text: str) -> int:
        try:
            return self._file.write(text)
        except OSError:
            discard(2)
            return len(text)

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError:
            discard(2)

    def isatty(self) -> bool:
        return self._file.isatty()

    def fileno(self) -> int:
        return self._file.fileno()


def discard(descriptor: int) -> None:
    """Send what is still buffered for a closed pipe nowhere, so that the interpreter's last flush does not complain."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
