"""Processes beside the one that trains: how they are started, asked, waited for and ended, on this machine or on the nodes of a cluster (`remote`)."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from operant.core.cluster import check_ray
from operant.core.errors import BadInput, OperantError, RunFailed, WorkerLost, one_line
from operant.core.ranks import PATIENCE
from operant.core.registry import import_file, imported_files
from operant.core.terminal import note
from operant.nets import kernels
from operant.worlds.base import SampleWorkers

WAITED = 60.0  # seconds without a step after which a worker is told of
CLOSING = 5.0  # seconds in which a worker closes what it has before it is killed
LONGEST_FOLDER = 107 - len("/pymp-12345678/listener-12345678")  # bytes: Linux takes 107 for a socket's name, and Python puts so many behind the folder


def check_start(given: Any, origin: str, workers: SampleWorkers) -> None:
    """Raise `BadInput` where processes cannot be started, or be sent what they are given.

    Args:
        origin: what that is, for messages.
    """
    if workers.on is not None:
        check_ray("--sample-on")
    try:
        sent = pickle.dumps(given)
    except Exception as error:  # noqa: BLE001 - whatever an object's own pickling raises
        raise BadInput(f"{workers.given}: {origin} cannot be sent to another process ({one_line(error, 80)}); {_AT_TOP}") from None
    if workers.on is not None:
        if b"__main__" in sent:
            raise BadInput(f"{workers.given} --sample-on {workers.on}: nodes do not have the script that runs; {_AT_TOP}")
        return
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None)
    if b"__main__" in sent and script is None:
        raise BadInput(f"{workers.given}: other processes cannot import what was typed in; {_AT_TOP}")
    if script is not None and main.__spec__ is None and not Path(script).is_file():
        raise BadInput(f"{workers.given}: other processes import the script that runs, and {script} is no file; save it to one")
    folder = tempfile.gettempdir()
    if sys.platform == "linux" and len(os.fsencode(folder)) > LONGEST_FOLDER:
        raise BadInput(f"{workers.given}: {folder} is too long a name for the sockets of processes: set TMPDIR to a folder of at most {LONGEST_FOLDER} bytes")


_AT_TOP = "give a function at the top level of a module, or leave the workers out"


class Left(BaseException):
    """What a worker was at is wanted no more."""


class Worker:
    """The worker's side: it answers each command by the method of its name, which takes one payload.

    Attributes:
        origin: what it is made from, for messages.
        blame: whose error it is that a method raises, for messages.
        brought: commands that are given what was handed over (`Link.hands_over`) in the place of their payload's last item.
    """

    origin: ClassVar[str]
    blame: ClassVar[str]
    brought: ClassVar[frozenset[str]]

    def answer(self, command: str, payload: Any) -> Any:
        return getattr(self, command)(payload)

    def share(self, given: tuple[Tensor, int]) -> Any:
        """Take what counts steps: a tensor, and this worker's place in it; behind the last, whether what it is at is wanted no more."""
        beats, self._place = given
        self._beats, self._looked = beats.numpy(), 0.0

    def beat(self) -> None:
        """Count a step. Raises `Left` where it is wanted no more."""
        self._beats[self._place] += 1
        now = time.monotonic()
        parent = multiprocessing.parent_process()  # none on a cluster, which ends its actors with whoever started them
        if self._beats[-1] or (parent is not None and now - self._looked > 1.0 and not parent.is_alive()):
            raise Left
        self._looked = now if now - self._looked > 1.0 else self._looked

    def close(self) -> None:
        """Close what it has."""


class Workers:
    """Workers of a kind, as the process that trains has them.

    Args:
        kind: what each is; found in its module by its name.
        arguments: of the making of each.

    Attributes:
        links: to each.
        shared: what each said to `Worker.share`.

    Raises:
        BadInput: the script that runs cannot be imported by another process without running there again; or there is no such cluster, or none with a processor
            for each.
        WorkerLost: a worker ended, or has not answered and made no step for `PATIENCE`; of any later call too.
    """

    def __init__(self, kind: type[Worker], arguments: Sequence[tuple], workers: SampleWorkers):
        self._stay = ExitStack()
        self._ready = False  # all have begun
        self.links: list[Link] = []
        _OPEN.add(self)
        try:
            if workers.on is None:
                self.links += _processes(kind, arguments)
            else:
                from operant.worlds.remote import actors

                self.links += actors(kind, arguments, workers, self._stay)
            self.answers()
            self._ready = True
            self.shared = self.ask("share", [link.heart for link in self.links])
        except BaseException:
            self.close()
            raise

    def send(self, command: str, payloads: Sequence[Any]) -> None:
        """Ask something of each. What is large is asked of one that has nothing left to answer: both ends of a full pipe would wait for the other."""
        for place, payload in enumerate(payloads):
            self.send_to(place, command, payload)

    def send_to(self, place: int, command: str, payload: Any) -> None:
        """Ask something of one."""
        try:
            self.links[place].send(command, payload)
        except ConnectionError:
            while True:  # it is gone; what it has said before, such as why, comes first
                self.answer(place)

    def ask(self, command: str, payloads: Sequence[Any] | None = None) -> list:
        """Every worker's answer, where all others have been taken."""
        self.send(command, [None] * len(self.links) if payloads is None else payloads)
        return self.answers()

    def answers(self) -> list:
        """The next answer of each."""
        return [self.answer(place) for place in range(len(self.links))]

    def answer(self, place: int) -> Any:
        """The next answer of one. Raises what it says that is wrong."""
        link, name = self.links[place], f"sample worker {place + 1} of {len(self.links)}"
        steps, since, told = link.steps(), time.monotonic(), False
        try:
            while not link.answers(1.0):
                if (now := link.steps()) != steps:
                    steps, since, told = now, time.monotonic(), False
                elif not told and time.monotonic() - since > WAITED:
                    told = True
                    note(f"{name} has made no step for {WAITED:g} s; it is waited for, up to {PATIENCE.total_seconds() / 60:g} minutes")
                elif time.monotonic() - since > PATIENCE.total_seconds():
                    raise WorkerLost(f"{name} has made no step for {PATIENCE.total_seconds() / 60:g} minutes")
            kind, value = link.receive()
        except (EOFError, ConnectionError):
            raise link.lost(name, self._ready) from None
        if kind == "error":
            raise (BadInput if value[0] == "BadInput" else RunFailed)(value[1])
        return value

    def hands_over(self, given: Tensor) -> Any:
        """`Link.hands_over`, to all."""
        return self.links[0].hands_over(given)

    def close(self) -> None:
        _OPEN.discard(self)
        for link in self.links:
            link.leave()
        until = time.monotonic() + CLOSING
        for link in self.links:
            link.close(max(0.0, until - time.monotonic()))
        self._stay.close()


_OPEN: weakref.WeakSet[Workers] = weakref.WeakSet()


@atexit.register  # before multiprocessing's own, which was registered when it was imported, and would wait for processes that wait for this one
def _close_all() -> None:
    for workers in list(_OPEN):
        workers.close()


class Link(ABC):
    """A worker, as the trainer has it: commands go there in order, and each is answered.

    Attributes:
        shares: the worker sees the memory that chunks are in.
        heart: what it counts its steps in, as `Worker.share` takes it; None where that stays with it.
    """

    shares: bool
    heart: Any

    @abstractmethod
    def send(self, command: str, payload: Any) -> None:
        """Ask something of it. Raises `ConnectionError` where it is gone."""

    @abstractmethod
    def answers(self, seconds: float) -> bool:
        """Wait so long for the next answer: whether there is one, or never will be."""

    @abstractmethod
    def receive(self) -> tuple[str, Any]:
        """The next answer: ("ok", what), or ("error", (kind, line)). Raises `EOFError` or `ConnectionError` where it is gone."""

    @abstractmethod
    def steps(self) -> int:
        """What tells that it does something: it changes with each step of its environments."""

    @abstractmethod
    def hands_over(self, given: Tensor) -> Any:
        """Bring bytes that lie here to all workers that do not share them, for commands that are `brought` something; what a command says of them."""

    @abstractmethod
    def lost(self, name: str, ready: bool) -> OperantError:
        """What is to be said of one that is gone, before or after it was ready."""

    @abstractmethod
    def leave(self) -> None:
        """Tell it to leave what it is at, and to close what it has."""

    @abstractmethod
    def close(self, seconds: float) -> None:
        """Wait so long until it has, and end it."""


class Child(Link):
    """A process of this machine."""

    shares = True

    def __init__(self, process: BaseProcess, pipe: Connection, beats: Tensor, place: int, origin: str):
        self.process, self._pipe, self._origin = process, pipe, origin
        self.heart = beats, place

    def send(self, command: str, payload: Any) -> None:
        self._pipe.send((command, payload))

    def answers(self, seconds: float) -> bool:
        return self._pipe.poll(seconds)  # its end of the pipe alone says that it is there: what a signal to all processes does to their server does not matter

    def receive(self) -> tuple[str, Any]:
        return self._pipe.recv()

    def steps(self) -> int:
        beats, place = self.heart
        return int(beats[place])

    def hands_over(self, given: Tensor) -> None:
        return None

    def lost(self, name: str, ready: bool) -> OperantError:
        self.process.join(1)
        code = self.process.exitcode
        if not ready and code is not None and code >= 0:
            where = f"where it imports {getattr(sys.modules['__main__'], '__file__', 'no script')} and {self._origin}"
            return BadInput(f'{name} ended before it began, {where}: what a script runs must stand under `if __name__ == "__main__":`')
        how = f"was ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended by itself (exit code {code})"
        return WorkerLost(f"{name} {how}")

    def leave(self) -> None:
        self.heart[0][-1] = 1
        try:
            self._pipe.send(("close", None))
        except OSError:
            pass

    def close(self, seconds: float) -> None:
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self._pipe.close()


def _processes(kind: type[Worker], arguments: Sequence[tuple]) -> list[Link]:
    """Processes of this machine."""
    # Steps of each worker, and in the last place whether all are to leave what they are at.
    beats = torch.zeros(len(arguments) + 1, dtype=torch.int64).share_memory_()
    # Where forks are safe, one server imports PyTorch and forks the workers of this process, with the environment variables of when it began.
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload([kind.__module__])
    found: list[Link] = []
    for place, given in enumerate(arguments):
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, kind, given, imported_files(), torch.get_num_threads(), kernels.taken()), daemon=True)
        process.start()
        theirs.close()
        found.append(Child(process, ours, beats, place, kind.origin))
    return found


def _work(pipe: Connection, kind: type[Worker], arguments: tuple, imports: list[str], threads: int, multiplies_by: str) -> None:
    """A worker's process: one answer to each command, until the pipe closes.

    Args:
        imports: files that were imported by their names; no path leads to them.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the trainer decides what they mean
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(threads)
    kernels.take(multiplies_by)
    worker = None
    try:
        pipe.send(("ok", None))
        for file in imports:
            import_file(file)
        worker = kind(*arguments)
        while True:
            command, payload = pipe.recv()
            if command == "close":
                break
            pipe.send(("ok", worker.answer(command, payload)))
    except (EOFError, ConnectionError, Left):
        pass  # the trainer is gone, or done
    except BaseException as error:  # noqa: BLE001 - signals are ignored here, so that a KeyboardInterrupt is the worker's own, too
        try:
            pipe.send(("error", fault_of(error, kind.blame)))
        except OSError:
            pass
    finally:
        if worker is not None:
            worker.close()


def fault_of(error: BaseException, blame: str) -> tuple[str, str]:
    """What a worker's error is, and a line of it."""
    if isinstance(error, OperantError):
        return type(error).__name__, str(error)
    said = one_line(error)
    return "RunFailed", f"{blame} raised {type(error).__name__}{': ' if said else ''}{said}"


# ------------------------------------------------------------------------------------------------------------------------------ modules in one piece of memory

Form = tuple[torch.Size, torch.dtype]


def size_of(forms: Sequence[Form]) -> int:
    """Bytes of tensors side by side."""
    return sum(map(_bytes, forms))


def laid(memory: Tensor, forms: Sequence[Form]) -> list[Tensor]:
    """Tensors of these forms that lie side by side in `memory`, which is one piece: of shared pieces every process has a file open."""
    places = memory.split([_bytes(form) for form in forms])
    return [place[: shape.numel() * kind.itemsize].view(kind).view(shape) for place, (shape, kind) in zip(places, forms, strict=True)]


def _bytes(form: Form) -> int:
    """What a tensor takes, so that the next one begins at a multiple of 64."""
    shape, kind = form
    return -(-shape.numel() * kind.itemsize // 64) * 64


def weights_of(module: nn.Module) -> list[Tensor]:
    """All that a module computes by: parameters and buffers, in their order."""
    return [*module.parameters(), *module.buffers()]


def point(module: nn.Module, weights: Sequence[Tensor]) -> None:
    """Let a module compute by other memory."""
    for tensor, place in zip(weights_of(module), weights, strict=True):
        tensor.data = place
