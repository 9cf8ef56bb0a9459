"""Processes that train beside this one, and that end when it does."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Self

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


class Ending(ABC):
    """Work in other processes, which ends with this one's: leaving the block ends what is left of it, and waits until its state is saved.

    SIGINT, SIGTERM and SIGHUP are its too: each ends it as it would a run, the first at the next iteration and the second at once.

    Args:
        interrupted: what the `Interrupted` says that a signal raises.
    """

    def __init__(self, interrupted: str):
        self._interrupted = interrupted
        self._stopping = self._asked = False

    @abstractmethod
    def end(self) -> None:
        """Ask all that is left to end; a second time, to end at once."""

    @abstractmethod
    def wait(self) -> None:
        """Wait until all has ended."""

    def again(self) -> None:
        """A second signal came."""
        self.end()

    def __enter__(self) -> Self:
        self._stopping = self._asked = False

        def stop(number, frame):
            self._asked = True
            if not self._stopping:
                raise Interrupted(self._interrupted)
            self.again()

        self._previous = {}
        for number in ENDING:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, stop)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        self._stopping = True
        try:
            self.end()
            self.wait()
        finally:
            for number, handler in self._previous.items():
                signal.signal(number, handler)
        if self._asked and isinstance(error, KeyboardInterrupt) and not isinstance(error, Interrupted):  # Ray's calls make a bare one of ours
            raise Interrupted(self._interrupted) from None


class Children(Ending):
    """Command lines of `operant` as processes of this machine. They are in sessions of their own, so that a terminal's Ctrl-C reaches each of them once, from
    here.

    Attributes:
        of: the processes by key.
    """

    def __init__(self, interrupted: str):
        super().__init__(interrupted)
        self.of: dict[str, subprocess.Popen] = {}

    def start(self, key: str, words: list[str], log: Path | None, **variables: str) -> None:
        """Start `operant WORD …` with further variables, what it says going to `log`, or where this process' words go."""
        command = [sys.executable, "-m", "operant", *words]
        with nullcontext() if log is None else log.open("w") as file:
            says = {} if log is None else {"stdout": file, "stderr": subprocess.STDOUT}
            environment = os.environ | variables
            self.of[key] = subprocess.Popen(command, stdin=subprocess.DEVNULL, **says, env=environment, start_new_session=True, preexec_fn=with_its_parent())

    def ended(self) -> Iterator[tuple[str, int]]:
        """(key, exit code) of each that ended since."""
        for key, process in list(self.of.items()):
            if process.poll() is not None:
                yield key, self.of.pop(key).returncode

    def wait(self) -> None:
        for process in self.of.values():
            process.wait()

    def end(self) -> None:
        for process in self.of.values():
            process.send_signal(signal.SIGTERM)


def _main(*words: str) -> int:
    """`python -m operant.cli.children WORD …` is `operant WORD …`, which is not killed with whoever started it: as this process ends, it saves its state.

    A worker of Ray kills its own children outright.
    """
    process = subprocess.Popen([sys.executable, "-m", "operant", *words], preexec_fn=with_its_parent())
    for number in ENDING:
        signal.signal(number, lambda number, frame: process.send_signal(number))
    code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
