"""Processes that train beside this one, and that end when it does."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

from operant.core.errors import Interrupted

PR_SET_PDEATHSIG = 1
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def with_its_parent() -> Callable[[], None]:
    """What a child does first: ask for SIGTERM at its parent's end, however that ends. Nothing where there is no such thing (not Linux)."""
    prctl, parent = getattr(ctypes.CDLL(None), "prctl", None), os.getpid()

    def ask() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before we could ask
            os._exit(130)

    return ask


class Children:
    """Command lines of `operant` as processes. Leaving the block ends those that are left, and waits until their state is saved.

    SIGINT, SIGTERM and SIGHUP are theirs too: each ends them as it would a run, the first at the next iteration and the second at once. They are in sessions
    of their own, so that a terminal's Ctrl-C reaches each of them once, from here.

    Args:
        interrupted: what the `Interrupted` says that a signal raises.

    Attributes:
        of: the processes by key.
    """

    def __init__(self, interrupted: str):
        self.of: dict[str, subprocess.Popen] = {}
        self._interrupted = interrupted
        self._stopping = False

    def start(self, key: str, words: list[str], log: Path | None, **variables: str) -> None:
        """Start `operant WORD …` with further variables, what it says going to `log`, or where this process' words go."""
        command = [sys.executable, "-m", "operant", *words]
        with nullcontext() if log is None else log.open("w") as file:
            says = {} if log is None else {"stdout": file, "stderr": subprocess.STDOUT}
            environment = os.environ | variables
            self.of[key] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, **says, env=environment, start_new_session=True, preexec_fn=with_its_parent()
            )

    def ended(self) -> Iterator[tuple[str, int]]:
        """(key, exit code) of each that ended since."""
        for key, process in list(self.of.items()):
            if process.poll() is not None:
                yield key, self.of.pop(key).returncode

    def __enter__(self) -> Children:
        def stop(number, frame):
            if not self._stopping:
                raise Interrupted(self._interrupted)
            self.end()

        self._previous = {}
        for number in ENDING:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, stop)
        return self

    def __exit__(self, *_) -> None:
        self._stopping = True
        self.end()
        for process in self.of.values():
            process.wait()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def end(self) -> None:
        """Ask all that are left to end."""
        for process in self.of.values():
            process.send_signal(signal.SIGTERM)
