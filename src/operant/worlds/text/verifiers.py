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
import select
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from operant.core import ranks
from operant.core.errors import BadInput, RunFailed
from operant.core.registry import near_module, own_folders
from operant.core.status import Status

if TYPE_CHECKING:
    from operant.worlds.text.tasks import Problem

_REPLY_LIMIT = 65536  # bytes
_START_LIMIT = 60.0  # seconds
_END_LIMIT = 5.0  # seconds
MOST_WAITED = 10  # time limits of waiting for a processor that do not count
_START_TRIES = 3
_JUDGE = b"J"  # what the template takes for "fork a judge"
_ROOT = Path(__file__).parents[3]  # the folder that holds this package


@dataclass(frozen=True)
class Score:
    """What a verifier says of a completion and of its steps.

    Attributes:
        value: the reward of the whole, on the row's last token.
        per_step: rewards of steps, besides: (characters of the completion up to the end of the step, reward). Each stands on the token in which the step ends.
    """

    value: float
    per_step: Sequence[tuple[int, float]] = ()


class Verifier(Protocol):
    """What scores a completion."""

    def score(self, problem: Problem, completion: str) -> float | Score:
        """The reward of the completion's text, without special tokens; finite. Where its steps have rewards too, a `Score`."""


class Verdict(NamedTuple):
    """What came of scoring one completion: a value (NaN unless the status is OK), the status, what went wrong in words, and the rewards of steps (see `Score`).

    Where a task was asked for a reply: its text, reward, whether the row is done, and the task's state, as they came.
    """

    value: float
    status: Status
    message: str
    per_step: tuple[tuple[int, float], ...] = ()
    reply: list | None = None


class Scorer(Protocol):
    """Scores many completions, in order."""

    def score(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class ExactAnswer:
    """1.0 where the text behind the last `marker` (all of it where `marker` is empty) is the problem's answer, else 0.0.

    Args:
        marker: what stands before an answer.
        alone: a completion without marker is right too where it is the answer and nothing else.

    Spaces around answer and text are no part of them, nor is which of two Unicode spellings a letter has, or a line's end. A marker that stands nowhere as it
    is may stand without the spaces around it.
    """

    marker: str = ""
    alone: bool = False
    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        given = self.given(completion)
        return float(given is not None and given == _one_spelling(problem.answer))

    def given(self, completion: str) -> str | None:
        """The answer that a completion gives, in one spelling; None where no marker is there."""
        for marker in (self.marker, self.marker.strip()):
            if marker and marker in completion:
                return _one_spelling(completion.rpartition(marker)[2])
        return _one_spelling(completion) if self.alone or not self.marker else None


@dataclass(frozen=True)
class Unscored:
    """0.0 for every completion: the rewards come from elsewhere, such as a task's replies."""

    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        return 0.0


def _one_spelling(text: str) -> str:
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").strip()


def scorer(verifier: Verifier | Callable[[Problem, str], float] | str | Scorer, **limits) -> Scorer:
    """A scorer for any kind of verifier: in the process where it is trusted, otherwise in a `VerifierPool` with `limits`.

    Where several processes train one run, the first of them scores for all.
    """
    if isinstance(verifier, VerifierPool | InProcess | ForAll):
        return verifier
    return for_all(lambda: InProcess(verifier) if getattr(verifier, "trusted", False) else VerifierPool(verifier, **limits))


def for_all(make: Callable[[], Scorer]) -> Scorer:
    """A scorer, or what scores in the first of several processes."""
    return make() if ranks.count() == 1 else ForAll(make)


class ForAll:
    """Scores in the first of several processes, and tells the others.

    Args:
        make: the scorer that is used there.
    """

    def __init__(self, make: Callable[[], Scorer]):
        self._own: Scorer | None = None
        if ranks.rank() == 0:
            with ranks.alone():
                self._own = make()

    def score(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        found = ranks.by_first(lambda: [list(verdict) for verdict in self._own.score(items)])
        return [Verdict(value, Status(status), message, tuple(map(tuple, steps)), reply) for value, status, message, steps, reply in found]

    @property
    def restarts(self) -> int:
        return getattr(self._own, "restarts", 0)

    @property
    def unenforced(self) -> list[str]:
        return getattr(self._own, "unenforced", [])

    def close(self) -> None:
        if self._own is not None:
            self._own.close()


class InProcess:
    """Scores by calling the verifier here. For verifiers that never run or parse what a model wrote."""

    def __init__(self, verifier: Verifier | Callable[[Problem, str], float]):
        self._score = getattr(verifier, "score", verifier)

    def score(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        return [self._one(problem, completion) for problem, completion in items]

    def _one(self, problem: Problem, completion: str) -> Verdict:
        try:
            return self._verdict(self._score(problem, completion))
        except Exception as error:
            return failed(Status.CRASHED, f"{type(error).__name__}: {error}")
        except SystemExit as error:  # a run whose verifier leaves has not come to its end
            raise RunFailed(f"the verifier left the process (SystemExit: {error.code}) on the completion {completion[:80]!r}") from error

    @staticmethod
    def _verdict(found: float | Score) -> Verdict:
        value, per_step = (found.value, found.per_step) if isinstance(found, Score) else (found, ())
        if hasattr(value, "__float__") and math.isfinite(value) and _are_steps(per_step):
            return Verdict(float(value), Status.OK, "", tuple((int(end), float(reward)) for end, reward in per_step))
        return failed(Status.MALFORMED, f"the verifier returned {found!r}")

    def close(self) -> None:
        pass


def _are_steps(per_step: object) -> bool:
    """Whether these are rewards of steps: pairs of a number of characters and a finite reward."""
    return isinstance(per_step, list | tuple) and all(
        isinstance(step, list | tuple) and len(step) == 2 and isinstance(step[0], int) and step[0] >= 0 and math.isfinite(step[1]) for step in per_step
    )


class VerifierPool:
    """Child processes that score completions, each with limits; whatever a completion did, the next one meets a process that it never touched.

    The verifier is imported by name once a worker ("module:function", or a function or object that can be found that way); every judge is forked from there.
    A judge sees problems as objects with `prompt`, `answer` and `metadata`. It is replaced after any status but OK. A verifier that runs answers
    (`python-tests`) runs them in processes beside the judge, each forked from the same clean place, with the same limits and nothing else in memory.

    Limits, of the judge and of what runs an answer: time a completion; memory of a process, on top of what the loaded verifier takes; bytes printed
    a completion, and the size of files; processes; no network; no privileges; no environment; nothing of other processes (signals, memory, limits); no shared
    memory; reading of nothing but the interpreter's library, and for a verifier of one's own its file and the import path (but for the working directory and a
    folder that is or holds the user's home, which are shut once the verifier is loaded); writing in nothing but an empty folder (`tempfile`, HOME and the
    working directory point there), which is gone with the process. A pool made by root runs each of its processes under a user id that belongs to nobody.

    Args:
        verifier: "module:name", or a function or object that its module holds under its own name.
        workers: judges at a time.
        time_limit: seconds a completion. Those in which its process was ready and another one had the processor do not count, up to `MOST_WAITED` times as
            many: a busy machine makes no answer wrong.
        memory_limit: bytes.
        output_limit: bytes printed a completion, and of a file; all files together have sixteen times as much.
        process_limit: processes and threads that a completion may have at a time.
        made_of: where `verifier` is the class of a task that replies: the arguments that it is made of there. Items are then (problem, turn, state of the row),
            and verdicts hold the reply.

    Attributes:
        unenforced: the limits that this platform cannot enforce, by name ("network", "reading", "writing", "scratch", "signals", "system calls", "processes",
            "memory", "privileges", …). Processes are killed with their judge even where their number is not limited.
        restarts: judges that were started in the place of others.

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
        made_of: dict | None = None,
    ):
        limits = {"workers": (workers, 1), "memory_limit": (memory_limit, 2**20), "output_limit": (output_limit, 1), "process_limit": (process_limit, 2)}
        for name, (value, least) in limits.items():
            if value < least:
                raise BadInput(f"verifier pool: {name}={value}; nearest: {least}")
        if not time_limit > 0:
            raise BadInput(f"verifier pool: time_limit={time_limit} seconds must be above 0; nearest: 0.1")
        module, name, file = _address(verifier)
        self.name = f"{module}:{name}"
        self._what = f"{'verifier' if made_of is None else 'replies of'} {self.name!r}"
        self.time_limit, self.output_limit = time_limit, output_limit
        self._start = {"module": module, "name": name, "file": file, "made_of": made_of, **_folders(module, file)}
        self._start["limits"] = {"memory": memory_limit, "output": output_limit, "scratch": 16 * output_limit, "processes": process_limit}
        self._count = workers
        self._workers: list[_Worker | None] = [None] * workers
        self.restarts = 0
        try:
            first = _Worker(self._start)
        except RunFailed as error:
            instead = "; what was typed in, or stands in a script that is no file, is found nowhere else: put it into a module" * (module == "__main__")
            instead += near_module(ModuleNotFoundError(name=module)) * (f"No module named {module!r}" in str(error))
            raise BadInput(f"{self._what} cannot be loaded in a child process: {str(error).removesuffix(': ')}{instead}") from error
        self._workers[0] = first
        self._started = {0}
        self.unenforced = first.missing

    def score(self, items: Sequence[tuple[Problem, str] | tuple[Problem, str, Any]]) -> list[Verdict]:
        """Score completions; the verdicts in the order of the items. A failure is a status; the next item gets a fresh judge.

        Raises:
            RunFailed: a worker could not be started three times in a row.
        """
        verdicts: list[Verdict | None] = [None] * len(items)
        queue = iter(range(len(items)))
        with selectors.DefaultSelector() as selector:
            busy: dict[int, tuple[int, float]] = {}  # worker → (item, deadline)
            begun: dict[int, float] = {}

            def give(place: int) -> None:
                index = next(queue, None)
                if index is None:
                    return
                worker = self._ready(place)
                problem, completion, *state = items[index]
                worker.begin({"problem": asdict(problem), "completion": completion, "state": state})
                for pipe in worker.pipes:
                    selector.register(pipe, selectors.EVENT_READ, place)
                selector.register(worker.requests, selectors.EVENT_WRITE, place)
                begun[place] = time.monotonic()
                busy[place] = (index, begun[place] + self.time_limit)

            def end(place: int, verdict: Verdict) -> None:
                worker = self._workers[place]
                for pipe in (*worker.pipes, worker.requests):
                    with contextlib.suppress(KeyError):  # what was written, or closed by the other side, has left
                        selector.unregister(pipe)
                if verdict.status != Status.OK:
                    worker.let_go()
                verdicts[busy.pop(place)[0]] = verdict
                give(place)

            try:
                for place in range(min(self._count, len(items))):
                    give(place)
                while busy:
                    wait = min(deadline for _, deadline in busy.values()) - time.monotonic()
                    ready = selector.select(max(0.0, wait))
                    for key, events in ready:
                        if events & selectors.EVENT_WRITE and self._workers[key.data].write():
                            selector.unregister(key.fd)
                    for place in {key.data for key, events in ready if events & selectors.EVENT_READ}:
                        if (verdict := self._workers[place].read(self.output_limit)) is not None:
                            end(place, verdict)
                    now = time.monotonic()
                    for place in [place for place, (_, deadline) in busy.items() if deadline <= now]:
                        waited = min(self._workers[place].waited(), MOST_WAITED * self.time_limit)
                        if (later := begun[place] + self.time_limit + waited) > now:
                            busy[place] = (busy[place][0], later)
                            continue
                        beside = f", {waited:.1f} s of waiting for a processor apart" if waited >= 0.1 else ""
                        end(place, failed(Status.TIMEOUT, f"no answer after {self.time_limit:g} s{beside}"))
            except BaseException:
                self.close()  # an answer that was not waited for would stand before the next one
                raise
        return verdicts

    def _ready(self, place: int) -> _Worker:
        """The worker of a place, with a judge that waits for a problem."""
        for attempt in range(1, _START_TRIES + 1):
            worker = self._workers[place]
            try:
                if worker is None:
                    self.restarts += place in self._started
                    self._started.add(place)
                    self._workers[place] = worker = _Worker(self._start)
                elif not worker.has_judge():
                    self.restarts += 1
                    worker.new_judge()
                return worker
            except RunFailed as error:
                if worker is not None:
                    worker.kill()
                self._workers[place] = None
                if attempt == _START_TRIES:
                    raise RunFailed(f"{self._what}: its process could not be started {attempt} times in a row: {error}") from error

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
    """One template process (`worker`), and the judge that it has forked."""

    def __init__(self, start: dict):
        self._scratch = tempfile.mkdtemp(prefix="operant-verifier-")
        self._template, inside = socket.socketpair()
        script = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from operant.worlds.text.worker import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-s", "-B", "-X", "utf8", "-c", script, str(inside.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(inside.fileno(),),
            start_new_session=True,
            cwd="/",
            env=_environment(self._scratch),
        )
        inside.close()
        self._template.settimeout(_START_LIMIT)  # no word to the template waits without end
        self._judge = False
        try:
            # What is written here fits: the template reads it before anything of a person's runs.
            with contextlib.suppress(BrokenPipeError), self.process.stdin:
                self.process.stdin.write(json.dumps(start | {"scratch": self._scratch}).encode() + b"\n")
            answer = _first_line(self._template.fileno(), self.process.stdout.fileno())
            if "error" in answer:
                raise RunFailed(answer["error"])
            self.new_judge()
        except BaseException:
            self.kill()
            raise

    def new_judge(self) -> None:
        """Have the template fork a judge."""
        requests, self.requests = os.pipe()
        self._replies, replies = os.pipe()
        self._output, output = os.pipe()
        leash, self._leash = os.pipe()
        self._ending, ending = os.pipe()
        self.pipes = (self._replies, self._output)
        self._judge, self._outgoing = True, memoryview(b"")
        for pipe in (*self.pipes, self.requests):
            os.set_blocking(pipe, False)
        given = [leash, ending, requests, replies, output]
        try:
            socket.send_fds(self._template, [_JUDGE], given)
        except OSError as error:
            raise RunFailed(f"its process {self._ended()}") from error
        finally:
            for pipe in given:
                os.close(pipe)
        answer = _first_line(self._replies, self._output)
        if "error" in answer:
            raise RunFailed(answer["error"])
        self.missing: list[str] = answer["missing"]
        self._pid = next(reversed(_below(self.process.pid)), None)  # the template's guard's child, the last of the line

    def has_judge(self) -> bool:
        return self._judge and not _readable(self._ending, 0)

    def let_go(self) -> None:
        """End the judge and all that it started; when this returns, nothing of it is left (or its guard hangs, and the worker is killed)."""
        if not self._judge:
            return
        self._judge = False
        os.close(self._leash)
        if not _readable(self._ending, _END_LIMIT):
            self.process.kill()
        for pipe in (*self.pipes, self.requests, self._ending):
            os.close(pipe)

    def begin(self, item: dict) -> None:
        """Take a problem and a completion; `write` sends them."""
        self._received, self._printed = b"", 0
        self._waited_before = _waited(self._pid)
        self._word = secrets.token_hex(8)  # an answer without it comes from somebody else, or belongs to another item
        self._outgoing = memoryview(json.dumps(item | {"word": self._word}).encode() + b"\n")

    def waited(self) -> float:
        """Seconds since `begin` in which the judge, or a process that runs an answer, was ready and had no processor: of the one that waited longest. 0 where
        the platform does not say."""
        return max((_waited(pid) - (self._waited_before if pid == self._pid else 0.0) for pid in _below(self.process.pid)), default=0.0)

    def write(self) -> bool:
        """Send what the pipe takes; whether all is sent."""
        try:
            self._outgoing = self._outgoing[os.write(self.requests, self._outgoing) :]
        except BlockingIOError:
            return False
        except BrokenPipeError:  # a dead judge shows on its pipes
            return True
        return not self._outgoing

    def read(self, output_limit: int) -> Verdict | None:
        """What came; None while there is no verdict."""
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
            return failed(Status.CRASHED, f"printed more than {output_limit} bytes")
        if len(self._received) > _REPLY_LIMIT:
            return failed(Status.MALFORMED, f"an answer of more than {_REPLY_LIMIT} bytes")
        if self._received.endswith(b"\n"):
            return self._verdict()
        return failed(Status.CRASHED, f"its process {self._ended()}") if ended else None

    def _verdict(self) -> Verdict:
        try:
            answer = json.loads(self._received)
            if answer["word"] != self._word:
                return failed(Status.MALFORMED, "an answer that is not the verifier's")
            if answer["children"]:
                return failed(Status.CRASHED, "left processes running behind it")
            if "error" in answer:
                return failed(Status.CRASHED, str(answer["error"])[:500])
            if "malformed" in answer:
                return failed(Status.MALFORMED, f"the verifier returned {str(answer['malformed'])[:200]}")
            if "reply" in answer:
                return Verdict(0.0, Status.OK, "", reply=answer["reply"])
            value, per_step = float(answer["value"]), tuple((int(end), float(reward)) for end, reward in answer["per_step"])
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return failed(Status.MALFORMED, f"unreadable answer {self._received[:80]!r}")
        if not math.isfinite(value) or not _are_steps(per_step):
            return failed(Status.MALFORMED, f"the verifier returned {value}, {per_step!r:.80}")
        return Verdict(value, Status.OK, "", per_step)

    def _ended(self) -> str:
        """How the judge ended, as its guard says."""
        if not _readable(self._ending, 1.0):
            return "closed its pipe"
        return os.read(self._ending, 256).decode(errors="replace") or "was killed"

    def kill(self) -> None:
        """End the template with everything below it."""
        self.let_go()
        self._template.close()  # which tells the template to end
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_LIMIT)
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(RecursionError):  # where the template was killed before it had emptied what an answer left
            shutil.rmtree(self._scratch, ignore_errors=True)


def failed(status: Status, message: str) -> Verdict:
    """The verdict of a scoring that came to no value."""
    return Verdict(math.nan, status, message)


def _below(pid: int) -> list[int]:
    """The processes below one, each after its parent; empty where the platform does not say."""
    found = []
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            for child in map(int, file.read().split()):
                found += [child, *_below(child)]
    except (OSError, ValueError):  # it has ended, or there is no such file
        pass
    return found


def _waited(pid: int | None) -> float:
    """Seconds that a process was ready to run and had no processor; 0 where the platform does not say."""
    try:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _readable(pipe: int, seconds: float) -> bool:
    """Whether a pipe has something to read, or has ended, within this time."""
    poll = select.poll()  # select refuses numbers above 1023
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(1000 * seconds))


def _first_line(answers: int, output: int) -> dict:
    """The first line that a process writes to one pipe, read with a limit; what it prints on the other tells why there is none."""
    received, printed, deadline = b"", b"", time.monotonic() + _START_LIMIT
    with selectors.DefaultSelector() as selector:
        selector.register(answers, selectors.EVENT_READ)
        selector.register(output, selectors.EVENT_READ)
        while not received.endswith(b"\n"):
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                return {"error": f"it did not start within {_START_LIMIT:g} s"}
            for key, _ in ready:
                chunk = os.read(key.fd, 65536)
                if key.fd == answers:
                    received += chunk
                    if not chunk:
                        last = printed.decode(errors="replace").strip().splitlines()[-1:]
                        return {"error": f"its process ended while starting {' '.join(last)}".strip()}
                    if len(received) > _REPLY_LIMIT:
                        return {"error": f"it began with more than {_REPLY_LIMIT} bytes"}
                else:
                    printed = (printed + chunk)[-2000:]
                    if not chunk:
                        selector.unregister(key.fd)
    return json.loads(received)


def _environment(scratch: str) -> dict[str, str]:
    """All that a child sees of the environment: no keys of the trainer's, what an interpreter needs to start, and one hash seed, so that the order of a set
    is the same in every run."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return kept | threads | {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "HOME": scratch, "TMPDIR": scratch}


def _folders(module: str, file: str | None) -> dict[str, list[str]]:
    """Where a verifier is imported from, what it may read afterwards, and what the answers may read that it runs."""
    here = os.getcwd()
    path = [os.path.abspath(entry or here) for entry in sys.path]
    python = {os.path.realpath(place) for place in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
    library = [
        entry
        for entry in path
        if {"site-packages", "dist-packages"} & set(Path(entry).parts) or any(Path(os.path.realpath(entry)).is_relative_to(place) for place in python)
    ]
    library = [*dict.fromkeys([*library, *sorted(python), os.path.dirname(os.__file__)])]
    installed = [folder for folder in _installed_in_place(library) if not _holds_home(folder)]
    if module.partition(".")[0] == "operant":
        return {"path": [str(_ROOT), *library, *installed], "readable": [*library, *installed], "library": library}
    unread = {os.path.realpath(folder) for folder in (here, *own_folders())}
    readable = [entry for entry in path if os.path.realpath(entry) not in unread and not _holds_home(entry)]
    return {"path": [*path, here], "readable": [*readable, *library, *installed] + ([file] if file else []), "library": library}


def _installed_in_place(library: list[str]) -> list[str]:
    """The folders of packages that are installed as editable: what a .pth file beside the installed ones names, and what such a file's finder maps."""
    found = []
    for listing in (pth for entry in library if os.path.isdir(entry) for pth in sorted(Path(entry).glob("*.pth"))):
        with contextlib.suppress(OSError):
            found += [line.strip() for line in listing.read_text(encoding="utf-8", errors="replace").splitlines() if os.path.isabs(line.strip())]
    for name, module in list(sys.modules.items()):
        if name.startswith("__editable__"):
            found += [os.path.dirname(place) for place in getattr(module, "MAPPING", {}).values()]
    return [folder for folder in dict.fromkeys(found) if os.path.isdir(folder)]


def _holds_home(path: str) -> bool:
    """Whether a folder is the user's home or holds it, so that reading it would open everything that the user keeps."""
    home = os.path.realpath(os.path.expanduser("~"))
    return os.path.commonpath((home, os.path.realpath(path))) == os.path.realpath(path)


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
