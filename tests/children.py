"""Command lines of `operant` as processes, started by the nursery."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NURSERY = Path(__file__).with_name("nursery.py")


class Nursery:
    """Starts processes that have everything imported; one of its own is made when the first is asked for.

    Args:
        environment: theirs.
        folder: where what they say is kept.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path):
        self._environment, self._folder = dict(environment), folder
        self._process: subprocess.Popen | None = None
        self._codes: dict[int, int] = {}
        self._count = 0

    def __call__(self, *words: object, folder: Path | None = None, stdin: int | None = None, stdout: int | None = None, stderr: int | None = None, **variables):
        """Start one command line as a process: start("train", …, VARIABLE=…) -> Child. Standard files are descriptors; those not given are empty and kept."""
        self._begin()
        self._count += 1
        out, err = (self._folder / f"{self._count}.{name}" for name in ("out", "err"))
        with open(os.devnull) as nothing, out.open("w") as said, err.open("w") as errors:
            files = [nothing.fileno() if stdin is None else stdin, said.fileno() if stdout is None else stdout, errors.fileno() if stderr is None else stderr]
            environment = self._environment | {name: str(value) for name, value in variables.items()}
            order = {"words": [str(word) for word in words], "environment": environment, "folder": str(folder or os.getcwd())}
            socket.send_fds(self._orders, [json.dumps(order).encode()], files)
        while (answer := self._hear()) is None or "code" in answer:
            pass
        return Child(self, answer["pid"], out, err)

    def _begin(self) -> None:
        if self._process is None:
            self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen([sys.executable, str(NURSERY), str(theirs.fileno())], pass_fds=(theirs.fileno(),), env=self._environment)
            self._hear()

    def _hear(self, seconds: float | None = None) -> dict[str, int] | None:
        """The next answer; None where none came in time. Raises `EOFError` where the nursery has ended."""
        if not select.select([self._orders], [], [], seconds)[0]:
            return None
        if not (heard := self._orders.recv(4096)):
            raise EOFError("the nursery has ended")
        answer = json.loads(heard)
        if "code" in answer:
            self._codes[answer["pid"]] = answer["code"]
        return answer

    def code(self, pid: int, seconds: float | None) -> int | None:
        """The exit code of a child, waited for; None where it did not end in time."""
        until = None if seconds is None else time.monotonic() + seconds
        while pid not in self._codes:
            if self._hear(None if until is None else max(0.0, until - time.monotonic())) is None:
                return None
        return self._codes[pid]

    def close(self) -> None:
        """End the nursery; children that still run go on."""
        if self._process is not None:
            self._orders.close()
            assert self._process.wait(timeout=60) == 0


@dataclass
class Child:
    """A process of the nursery."""

    nursery: Nursery
    pid: int
    out: Path
    err: Path

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens where the process has ended already."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def wait(self, seconds: float | None = None) -> int:
        """Its exit code; minus the signal's number where one ended it. Raises `TimeoutError` where it did not end in time."""
        if (code := self.nursery.code(self.pid, seconds)) is None:
            raise TimeoutError(f"process {self.pid} still runs")
        return code

    @property
    def ended(self) -> bool:
        return self.nursery.code(self.pid, 0.0) is not None

    @property
    def said(self) -> str:
        """What it wrote to standard error."""
        return self.err.read_text()

    @property
    def told(self) -> str:
        """What it wrote to standard output."""
        return self.out.read_text()
