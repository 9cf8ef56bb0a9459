"""Verifiers: what says whether a completion is right, and the killable child processes that they run in.

A verifier is an object with `score(problem, completion) -> float`, or a plain callable of the same form. One with the attribute `trusted = True` does
nothing with a completion but compare it, and is run in the process; every other one runs in a `VerifierPool`.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import math
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from operant.core.errors import BadInput, RunFailed
from operant.core.records import Status

if TYPE_CHECKING:
    from operant.worlds.text.tasks import Problem

_REPLY_LIMIT = 65536
_START_LIMIT = 60.0
_START_TRIES = 3


class Verifier(Protocol):
    """What scores a completion."""

    def score(self, problem: Problem, completion: str) -> float:
        """The reward of the completion's text, without special tokens; finite."""


class Verdict(NamedTuple):
    """What came of scoring one completion: a value (NaN unless the status is OK), the status, and what went wrong in words."""

    value: float
    status: Status
    message: str


class Scorer(Protocol):
    """Scores many completions, in order."""

    def score(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class ExactAnswer:
    """1.0 where the text behind the last `marker` (all of it where `marker` is empty) is the problem's answer, spaces around it aside; else 0.0."""

    marker: str = ""
    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        given = completion
        if self.marker:
            _, found, given = completion.rpartition(self.marker)
            if not found:
                return 0.0
        return float(given.strip() == problem.answer)


def scorer(verifier: Verifier | Callable[[Problem, str], float] | str | Scorer, **limits) -> Scorer:
    """A scorer for any kind of verifier: in the process where it is trusted, otherwise in a `VerifierPool` with `limits`."""
    if isinstance(verifier, VerifierPool | InProcess):
        return verifier
    if getattr(verifier, "trusted", False):
        return InProcess(verifier)
    return VerifierPool(verifier, **limits)


class InProcess:
    """Scores by calling the verifier here. For verifiers that never run or parse what a model wrote."""

    def __init__(self, verifier: Verifier | Callable[[Problem, str], float]):
        self._score = getattr(verifier, "score", verifier)

    def score(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        return [self._one(problem, completion) for problem, completion in items]

    def _one(self, problem: Problem, completion: str) -> Verdict:
        try:
            value = self._score(problem, completion)
            if hasattr(value, "__float__") and math.isfinite(value):
                return Verdict(float(value), Status.OK, "")
            return Verdict(math.nan, Status.MALFORMED, f"the verifier returned {value!r}")
        except Exception as error:
            return Verdict(math.nan, Status.CRASHED, f"{type(error).__name__}: {error}")

    def close(self) -> None:
        pass


class VerifierPool:
    """Child processes that score completions, each with limits; one that breaks a limit is killed with all that it started, and replaced.

    The verifier is imported by name in each child ("module:function", or a function or object that can be found that way) before the limits are set. It sees
    the problem as an object with `prompt`, `answer` and `metadata`.

    Limits: wall-clock time a completion; memory of a process, on top of what the loaded verifier takes; bytes printed a completion, and the size of files;
    processes; no network; no privileges; no signals to other programs; reading of nothing but the interpreter's library, the verifier's file and the import
    path (of which a folder that is or holds the user's home is shut once the verifier is loaded); writing in nothing but a folder of the worker's own
    (`tempfile` and the working directory point there), which is deleted with the worker. A pool made by root runs each worker under a user id of its own.

    Args:
        verifier: "module:name", or a function or object that its module holds under its own name.
        workers: child processes.
        time_limit: seconds a completion.
        memory_limit: bytes.
        output_limit: bytes printed a completion, and of a file.
        process_limit: processes and threads that a worker may have at a time.

    Attributes:
        unenforced: the limits that this platform cannot enforce, by name ("network", "reading", "writing", "signals", "processes", "memory", "privileges", …).
            Processes are killed with their worker even where their number is not limited.
        restarts: workers that were started in the place of others.

    Raises:
        BadInput: the verifier cannot be loaded in a child process.
    """

    def __init__(
        self,
        verifier: Verifier | Callable[[Problem, str], float] | str,
        *,
        workers: int = 1,
        time_limit: float = 5.0,
        memory_limit: int = 512 * 2**20,
        output_limit: int = 2**20,
        process_limit: int = 16,
    ):
        limits = {"workers": (workers, 1), "memory_limit": (memory_limit, 2**20), "output_limit": (output_limit, 1), "process_limit": (process_limit, 2)}
        for name, (value, least) in limits.items():
            if value < least:
                raise BadInput(f"verifier pool: {name}={value}; nearest: {least}")
        if not time_limit > 0:
            raise BadInput(f"verifier pool: time_limit={time_limit} seconds must be above 0; nearest: 0.1")
        module, name, file = _address(verifier)
        self.name = f"{module}:{name}"
        self.time_limit, self.output_limit = time_limit, output_limit
        self._start = {
            "module": module,
            "name": name,
            "file": file,
            "path": [str(Path(entry or ".").absolute()) for entry in sys.path],
            "limits": {"memory": memory_limit, "output": output_limit, "processes": process_limit},
        }
        self._count = workers
        self._workers: list[_Worker | None] = [None] * workers
        self.restarts = 0
        try:
            first = _Worker(self._start)
        except RunFailed as error:
            raise BadInput(f"verifier {self.name!r} cannot be loaded in a child process: {error}") from error
        self._workers[0] = first
        self._started = {0}
        self.unenforced = first.missing

    def score(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Score completions; the verdicts in the order of the items. A failure is a status; the next item gets a fresh worker.

        Raises:
            RunFailed: a worker could not be started three times in a row.
        """
        verdicts: list[Verdict | None] = [None] * len(items)
        queue = iter(range(len(items)))
        with selectors.DefaultSelector() as selector:
            busy: dict[int, tuple[int, float]] = {}  # worker → (item, deadline)

            def give(place: int) -> None:
                index = next(queue, None)
                if index is None:
                    return
                worker = self._workers[place]
                if worker is None or not worker.alive():
                    worker = self._replace(place)
                problem, completion = items[index]
                worker.begin({"problem": asdict(problem), "completion": completion})
                for pipe in worker.pipes:
                    selector.register(pipe, selectors.EVENT_READ, place)
                busy[place] = (index, time.monotonic() + self.time_limit)

            def end(place: int, verdict: Verdict, *, kill: bool) -> None:
                worker = self._workers[place]
                for pipe in worker.pipes:
                    selector.unregister(pipe)
                if kill:
                    worker.kill()
                    self._workers[place] = None
                verdicts[busy.pop(place)[0]] = verdict
                give(place)

            try:
                for place in range(min(self._count, len(items))):
                    give(place)
                while busy:
                    wait = min(deadline for _, deadline in busy.values()) - time.monotonic()
                    for place in {key.data for key, _ in selector.select(max(0.0, wait))}:
                        if (outcome := self._workers[place].read(self.output_limit)) is not None:
                            verdict, kill = outcome
                            end(place, verdict, kill=kill)
                    now = time.monotonic()
                    for place in [place for place, (_, deadline) in busy.items() if deadline <= now]:
                        end(place, Verdict(math.nan, Status.TIMEOUT, f"no answer after {self.time_limit:g} s"), kill=True)
            except BaseException:
                self.close()  # an answer that was not waited for would stand before the next one
                raise
        return verdicts

    def _replace(self, place: int) -> _Worker:
        if (old := self._workers[place]) is not None:
            old.kill()
        self.restarts += place in self._started
        self._started.add(place)
        attempt = 1
        while True:
            try:
                self._workers[place] = worker = _Worker(self._start)
                return worker
            except RunFailed as error:
                self._workers[place] = None
                if attempt == _START_TRIES:
                    raise RunFailed(f"verifier {self.name!r}: its process could not be started {attempt} times in a row: {error}") from error
                attempt += 1

    def close(self) -> None:
        """Kill all workers. The pool can be used again and starts new ones."""
        for place, worker in enumerate(self._workers):
            if worker is not None:
                worker.kill()
                self._workers[place] = None
        self._started.clear()

    def __enter__(self) -> VerifierPool:
        return self

    def __exit__(self, *exception) -> None:
        self.close()


class _Worker:
    """One child process and its pipes."""

    def __init__(self, start: dict):
        self._scratch = tempfile.mkdtemp(prefix="operant-verifier-")
        replies_read, replies_write = os.pipe()
        alive_read, self._alive = os.pipe()
        script = Path(__file__).with_name("worker.py")
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(script), str(replies_write), str(alive_read)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(replies_write, alive_read),
            start_new_session=True,
            cwd="/",
        )
        os.close(replies_write)
        os.close(alive_read)
        self._replies, self._output = replies_read, self.process.stdout.fileno()
        self.pipes = (self._replies, self._output)
        for pipe in self.pipes:
            os.set_blocking(pipe, False)
        self._send(json.dumps(start | {"scratch": self._scratch}))
        answer = self._first_reply()
        if "error" in answer:
            self.kill()
            raise RunFailed(answer["error"])
        self.missing: list[str] = answer["missing"]

    def _first_reply(self) -> dict:
        received, printed, deadline = b"", b"", time.monotonic() + _START_LIMIT
        with selectors.DefaultSelector() as selector:
            for pipe in self.pipes:
                selector.register(pipe, selectors.EVENT_READ)
            while not received.endswith(b"\n"):
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    return {"error": f"it did not start within {_START_LIMIT:g} s"}
                for key, _ in ready:
                    chunk = os.read(key.fd, 65536)
                    if key.fd == self._output:
                        printed = (printed + chunk)[-2000:]
                        if not chunk:
                            selector.unregister(key.fd)
                    else:
                        received += chunk
                        if not chunk:
                            last = printed.decode(errors="replace").strip().splitlines()[-1:]
                            return {"error": f"its process ended while starting {' '.join(last)}".strip()}
        return json.loads(received)

    def _send(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # a dead process shows on its pipes
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()

    def alive(self) -> bool:
        return self.process.poll() is None

    def begin(self, item: dict) -> None:
        self._received, self._printed = b"", 0
        self._word = secrets.token_hex(8)  # an answer without it comes from somebody else, or belongs to another item
        self._send(json.dumps(item | {"word": self._word}))

    def read(self, output_limit: int) -> tuple[Verdict, bool] | None:
        """What came; a verdict and whether to kill the worker, or None while there is none."""
        ended = False
        for pipe in self.pipes:
            with contextlib.suppress(BlockingIOError):
                chunk = os.read(pipe, 65536)
                ended |= not chunk
                if pipe == self._output:
                    self._printed += len(chunk)
                else:
                    self._received += chunk
        if self._printed > output_limit:
            return self._failed(Status.CRASHED, f"printed more than {output_limit} bytes"), True
        if len(self._received) > _REPLY_LIMIT:
            return self._failed(Status.MALFORMED, f"an answer of more than {_REPLY_LIMIT} bytes"), True
        if self._received.endswith(b"\n"):
            return self._verdict()
        return (self._failed(Status.CRASHED, self._ending()), True) if ended else None

    def _verdict(self) -> tuple[Verdict, bool]:
        try:
            answer = json.loads(self._received)
            if answer["word"] != self._word:
                return self._failed(Status.MALFORMED, "an answer that is not the verifier's"), True
            if answer["children"]:
                return self._failed(Status.CRASHED, "left processes running behind it"), True
            if "error" in answer:
                return self._failed(Status.CRASHED, str(answer["error"])), answer["error"].startswith("MemoryError")
            if "malformed" in answer:
                return self._failed(Status.MALFORMED, f"the verifier returned {answer['malformed']}"), False
            value = float(answer["value"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return self._failed(Status.MALFORMED, f"unreadable answer {self._received[:80]!r}"), True
        if not math.isfinite(value):
            return self._failed(Status.MALFORMED, f"the verifier returned {value}"), True
        return Verdict(value, Status.OK, ""), False

    @staticmethod
    def _failed(status: Status, message: str) -> Verdict:
        return Verdict(math.nan, status, message)

    def _ending(self) -> str:
        try:
            code = self.process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return "closed its pipe"
        return f"its process exited with code {code}" if code >= 0 else f"its process was killed by signal {-code}"

    def kill(self) -> None:
        """Kill the process and everything it started, in whatever group or session."""
        pid = self.process.pid
        if self.process.poll() is None:
            # Stopped, it starts nothing new and its orphans still come to it; so the family is found whole, however fast it grew.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
            before: dict[int, bool] = {}
            for _ in range(1000):
                family = _descendants(pid)
                # Listing takes time: one may start another and end meanwhile. It leaves a dead entry, so all are gone when two looks find the same dead.
                if family == before and not any(family.values()):
                    break
                before = family
                for blow in (signal.SIGSTOP, signal.SIGKILL):
                    for member, living in family.items():
                        if living:
                            with contextlib.suppress(ProcessLookupError, PermissionError):
                                os.kill(member, blow)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        os.close(self._replies)
        os.close(self._alive)
        shutil.rmtree(self._scratch, ignore_errors=True)


def _descendants(pid: int) -> dict[int, bool]:
    """Processes below `pid`, and whether each is still living, by the parents that /proc names (none where there is no /proc)."""
    found: dict[int, tuple[int, bool]] = {}
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if entry.isdigit():
            with contextlib.suppress(OSError):
                state, parent = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[:2]
                found[int(entry)] = (int(parent), state not in "ZX")
    children: dict[int, list[int]] = {}
    for child, (parent, _) in found.items():
        children.setdefault(parent, []).append(child)
    below, waiting = [], [pid]
    while waiting:
        more = children.get(waiting.pop(), [])
        below += more
        waiting += more
    return {member: found[member][1] for member in below}


def _address(verifier: object) -> tuple[str, str, str | None]:
    """Module, name and file by which a child process finds the verifier."""
    if isinstance(verifier, str):
        module, colon, name = verifier.partition(":")
        if not (module and colon and name):
            raise BadInput(f"verifier {verifier!r}: give it as 'module:function'")
        return module, name, None
    name, module = getattr(verifier, "__qualname__", None), getattr(verifier, "__module__", None)
    if name is None and module is not None:  # an object: the name that its module keeps it under
        held = vars(importlib.import_module(module))
        name = next((key for key, value in held.items() if value is verifier), None)
    if name is None or module is None or "<" in name:
        raise BadInput(f"verifier {verifier!r} cannot be found by name in a child process: define it at the top of a module, or give 'module:function'")
    try:
        file = inspect.getsourcefile(sys.modules[module])
    except TypeError:
        file = None
    return module, name, None if file is None else str(Path(file).absolute())
