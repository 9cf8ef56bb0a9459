"""The errors that Operant raises on purpose. Each message is one line: what is wrong, where, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class OperantError(Exception):
    """A failure that Operant explains in one line. The command line exits with `exit_code`."""

    exit_code = 1


class BadInput(OperantError):
    """What the person gave cannot be used: an unknown name, a value out of range, a file that is not what it claims to be."""

    exit_code = 2


class RunFailed(OperantError):
    """A run stopped itself: a loss that is not finite, an environment that raised, a verifier that cannot be started."""

    exit_code = 1


class Interrupted(KeyboardInterrupt):
    """The person stopped the work; the message says what is kept and how to go on. No `Exception`, so that an environment or a verifier which catches
    those does not swallow it. The command line exits with 130."""


def nearest(name: str, known: Iterable[str]) -> str:
    """End of an error message that names the nearest known values, or all of them when none is near."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known: {', '.join(known[:20])}{' …' if len(known) > 20 else ''}"


def unknown(what: str, name: str, known: Iterable[str]) -> BadInput:
    """The error for a name that is not in a registry."""
    return BadInput(f"unknown {what} {name!r}: {nearest(name, known)}")
