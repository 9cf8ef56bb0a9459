"""Which long tests (learning, sampled gradients, whole runs, one property in many forms) `make test` runs: of what changed, and a sixteenth of the others.

`make test-all` runs them all. A method or study has changed where its file or its claim's has, since the branch left main (on main: since the commit
before), what is not committed included; what is long of no one method says on which files it rests. The sixteenth is told by the commit's hash, so that a
commit always runs the same tests and the next one others; what is long of one method runs about every sixteenth commit whatever is done. Outside a checkout
the first sixteenth runs.
"""

from __future__ import annotations

import subprocess
import zlib
from collections.abc import Callable, Container, Iterable
from functools import cache
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from operant.core.index import PACKAGE, declared

SHARES = 16


def due(key: str, *rests_on: str) -> bool:
    """Whether the long tests of a method or study run now, or those called `key` that rest on files whose paths begin with one of these."""
    return key in changed() or any(file.startswith(rests_on) for file in changed_files()) or zlib.crc32(key.encode()) % SHARES == share()


def in_turn(key: str, *rests_on: str) -> Callable[[Callable], Callable]:
    """Decorate a test that runs where it is `due`."""
    return (lambda test: test) if due(key, *rests_on) else pytest.mark.long


def turns(names: Iterable[str], *rests_on: str, always: Container[str] = ()) -> list[ParameterSet]:
    """Parametrise a test over names: of those that do not always run, each where it is `due`."""
    return [pytest.param(name, id=name, marks=() if name in always or due(name, *rests_on) else pytest.mark.long) for name in names]


@cache
def share() -> int:
    """The sixteenth that this commit runs."""
    return int((_git("rev-parse", "HEAD") or "0")[:8], 16) % SHARES


@cache
def changed() -> frozenset[str]:
    """The keys of the methods and studies whose file or claim has changed."""
    modules = {".".join(Path(file).with_suffix("").parts[1:]) for file in changed_files() if file.startswith("src/operant/")}
    rooms = (("methods", "method"), ("studies", "study"), ("evidence", "check"))
    return frozenset(key for room, decorator in rooms for key, module in declared(room, decorator).items() if module in modules)


@cache
def changed_files() -> frozenset[str]:
    """The paths of the files that have changed."""
    if (base := _base()) is None:
        return frozenset()
    return frozenset((_git("diff", "--name-only", base) or "").split() + (_git("ls-files", "--others", "--exclude-standard") or "").split())


def _base() -> str | None:
    """The commit that changes are counted from."""
    head = _git("rev-parse", "HEAD")
    for main in ("origin/main", "main"):
        if (left := _git("merge-base", "HEAD", main)) is not None and left != head:
            return left
    return _git("rev-parse", "HEAD~1")


def _git(*words: str) -> str | None:
    """What git says from the checkout's root; None where it cannot say."""
    try:
        found = subprocess.run(["git", *words], cwd=PACKAGE.parents[1], capture_output=True, text=True, timeout=30)
    except OSError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None
