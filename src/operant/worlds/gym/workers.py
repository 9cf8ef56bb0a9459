"""Workers: processes beside the trainer, each with its own rows of the environments and a copy of the policy, that hand back whole chunks: in shared memory, or
from the nodes of a cluster (`remote`).

A worker gets some of the seeds, or some of the rows of every seed where there are fewer seeds than workers. Draws are made by the trainer, and a worker acts in
the shapes of the whole batch, with zeros in the place of what others see: the last bits of a product hang on its shape. So a chunk has the bits that it has
without workers, however many there are.
"""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import astuple
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant.core.cluster import check_ray
from operant.core.errors import BadInput, OperantError, RunFailed, WorkerLost, one_line
from operant.core.ranks import PATIENCE
from operant.core.terminal import note
from operant.nets import kernels
from operant.nets.actors import Actor
from operant.worlds.base import SampleWorkers
from operant.worlds.gym.check import HELD
from operant.worlds.gym.collect import Chunk, fill
from operant.worlds.gym.dealt import deal, join
from operant.worlds.gym.environments import Step

WAITED = 60.0  # seconds without a step after which a worker is told of
CLOSING = 5.0  # seconds in which a worker closes its environments before it is killed
LONGEST_FOLDER = 107 - len("/pymp-12345678/listener-12345678")  # bytes: Linux takes 107 for a socket's name, and Python puts so many behind the folder


def check_split(make: Callable, seeds: int, rows: int, workers: SampleWorkers) -> None:
    """Raise `BadInput` where S seeds × N rows cannot be split over so many processes, they cannot be started, or `make` cannot be sent to them."""
    if workers.count > max(seeds, rows):
        raise BadInput(f"{workers.given}: {seeds} seeds × {rows} environments can be split over at most {max(seeds, rows)}")
    if workers.on is not None:
        check_ray("--sample-on")
    try:
        sent = pickle.dumps(make)
    except Exception as error:  # noqa: BLE001 - whatever an object's own pickling raises
        raise BadInput(f"{workers.given}: what makes the environment cannot be sent to another process ({one_line(error, 80)}); {_AT_TOP}") from None
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


class WorkerEnvironments:
    """Environments of S seeds × N rows, split over processes. Their workers collect whole chunks (`begin`, `finish`), or step their rows together (`step`).

    Args:
        make: environments from row seeds.
        row_seeds: seed-major, `S × N`.
        workers: at most `staleness` chunks are under way besides the one that is waited for.

    Attributes:
        observation: `[R, D]`, what is acted on next, as of the last `reset`, `step`, `state_dict` or `load_state_dict`.
        carry: of the policy, at that observation, as of the last two; None where it remembers nothing.

    Raises:
        BadInput: see `check_split`; or the script that runs cannot be imported by another process without running there again.
        WorkerLost: a worker ended, or has not answered and made no step for `PATIENCE`; of any later call too.
    """

    def __init__(self, make: Callable, seeds: int, rows: int, row_seeds: list[int], workers: SampleWorkers):
        count = workers.count
        check_split(make, seeds, rows, workers)
        self._seeds, self._rows, self._slots_wanted = seeds, rows, workers.staleness + 1
        by_seed = seeds >= count
        edges = np.linspace(0, seeds if by_seed else rows, count + 1).astype(int)
        spans = [slice(int(a), int(b)) for a, b in zip(edges, edges[1:], strict=False)]
        self._parts = [(span, slice(0, rows)) if by_seed else (slice(0, seeds), span) for span in spans]
        grid = np.arange(seeds * rows).reshape(seeds, rows)
        self._places = [grid[part].reshape(-1) for part in self._parts]
        rows_of = [([row_seeds[index] for index in places], places.tolist()) for places in self._places]
        self._links: list[Link] = []
        self._stay = ExitStack()
        self.observation: np.ndarray | None = None
        self.carry: Tensor | None = None
        self._slots: list[_Slot] = []
        self._under_way: deque[tuple[int, int]] = deque()  # (slot, version) of chunks that were begun and not finished, the oldest first
        self._begun = self._done = 0  # chunks so far; of those under way, whose answers have come
        self._ready = False  # all have begun
        try:
            if workers.on is None:
                self._links += processes(make, rows_of, self._parts)
            else:
                from operant.worlds.gym.remote import actors

                self._links += actors(make, rows_of, self._parts, workers, self._stay)
            self._answers()
            self._ready = True
            self._resumes(self._ask("share", [link.heart for link in self._links]))
        except BaseException:
            self.close()
            raise

    def _resumes(self, answers: Sequence[str]) -> None:
        self.resume = "bitwise" if all(answer == "bitwise" for answer in answers) else "episode-boundary"

    # ---------------------------------------------------------------------------------------------------------------------------- what is told and answered

    def _send(self, command: str, payloads: Sequence[Any]) -> None:
        for place, (link, payload) in enumerate(zip(self._links, payloads, strict=True)):
            try:
                link.send(command, payload)
            except ConnectionError:
                while True:  # it is gone; what it has said before, such as why, comes first
                    self._answer(place)

    def _ask(self, command: str, payloads: Sequence[Any] | None = None) -> list:
        """Every worker's answer, once what is under way has been done."""
        self.settle()
        self._send(command, [None] * len(self._links) if payloads is None else payloads)
        return self._answers()

    def _answers(self) -> list:
        return [self._answer(place) for place in range(len(self._links))]

    def _answer(self, place: int) -> Any:
        link, name = self._links[place], f"sample worker {place + 1} of {len(self._links)}"
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

    def _joined(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        whole = np.empty((self._seeds * self._rows, *parts[0].shape[1:]), parts[0].dtype)
        for places, part in zip(self._places, parts, strict=True):
            whole[places] = part
        return whole

    # ------------------------------------------------------------------------------------------------------------------------------------------------ chunks

    @property
    def under_way(self) -> int:
        """Chunks that were begun and not finished."""
        return len(self._under_way)

    def begin(self, actor: Actor, version: int, noise: Tensor, observation_size: int, progress: float) -> None:
        """Let all workers act for the next chunk, by this actor as it is now.

        Args:
            noise: `[S, T, N, …]`, of the actor's distribution.
            progress: share of the run that is done.
        """
        if not self._slots:
            twin = copy.deepcopy(actor).requires_grad_(False).cpu()
            chunk = Chunk(noise.shape[1], self._seeds, self._rows, observation_size, actor)
            arrays = *twin.parameters(), *twin.buffers(), noise, *(getattr(chunk, name) for name in Chunk.NAMES)
            forms = [(tensor.shape, tensor.dtype) for tensor in arrays]
            self._memory = torch.empty(self._slots_wanted, sum(map(_bytes, forms)), dtype=torch.uint8).share_memory_()
            self._given = sum(map(_bytes, forms[: -len(Chunk.NAMES)]))
            self._slots = _slots(sent := pickle.dumps(twin), forms, self._memory)
            self._ask("slots", [(sent, forms, self._memory if link.shares else self._memory.shape) for link in self._links])
        slot = self._begun % len(self._slots)
        twin, draws, _ = self._slots[slot]
        with torch.no_grad():
            for mine, theirs in zip((*twin.parameters(), *twin.buffers()), (*actor.parameters(), *actor.buffers()), strict=True):
                mine.copy_(theirs)
        draws.copy_(noise)
        given = self._links[0].hands_over(self._memory[slot, : self._given])
        self._send("collect", [(slot, progress, given)] * len(self._links))
        self._under_way.append((slot, version))
        self._begun += 1

    def finish(self) -> tuple[Chunk, int]:
        """The oldest chunk that was begun, and the version of the weights that acted. It is overwritten once as many more are begun as there may be."""
        if self._done:
            self._done -= 1
        else:
            self._collected(self._under_way[0][0])
        slot, version = self._under_way.popleft()
        return self._slots[slot][-1], version

    def _collected(self, slot: int) -> None:
        """Wait until all have done their parts of a chunk, which are then in the slot."""
        chunk = self._slots[slot][-1]
        for part, arrays in zip(self._parts, self._answers(), strict=True):
            mine = chunk.narrow(*part)
            for name, array in (arrays or {}).items():
                getattr(mine, name).copy_(array)

    def settle(self) -> list[tuple[Chunk, int]]:
        """Wait for all chunks that were begun; those that are to be finished, the oldest first."""
        while self._done < len(self._under_way):
            self._collected(self._under_way[self._done][0])
            self._done += 1
        return [(self._slots[slot][-1], version) for slot, version in self._under_way]

    # ------------------------------------------------------------------------------------------------------------------------------------------- environments

    def reset(self) -> np.ndarray:
        self.observation = self._joined(self._ask("reset"))
        return self.observation

    def step(self, action: np.ndarray) -> Step:
        """Act in every row, as `Environments.step`."""
        parts = self._ask("step", [action[places] for places in self._places])
        observation, following, *rest = (self._joined(arrays) for arrays in zip(*parts, strict=True))
        self.observation = observation
        return Step(observation, following, *rest)

    def state_dict(self) -> dict:
        states, resumes, observations, carries = zip(*self._ask("state"), strict=True)
        self._resumes(resumes)
        self.observation = self._joined(observations)
        self.carry = None
        if carries[0] is not None:
            self.carry = torch.zeros(self._seeds, self._rows, carries[0].shape[-1])
            for part, carry in zip(self._parts, carries, strict=True):
                self.carry[part] = carry
        return join(states, self._places)

    def load_state_dict(self, state: dict, carry: Tensor | None = None) -> None:
        """Continue from a state of `state_dict`, or of environments that are stepped in one process.

        Args:
            carry: of the policy, at what is seen there.
        """
        parts = [(deal(state, places), None if carry is None else carry[part]) for places, part in zip(self._places, self._parts, strict=True)]
        observations, resumes = zip(*self._ask("load", parts), strict=True)
        self._resumes(resumes)
        self.observation, self.carry = self._joined(observations), carry

    def close(self) -> None:
        for link in self._links:
            link.leave()
        until = time.monotonic() + CLOSING
        for link in self._links:
            link.close(max(0.0, until - time.monotonic()))
        self._stay.close()


class Link(ABC):
    """A worker, as the trainer has it: commands go there in order, and each is answered.

    Attributes:
        shares: the worker sees the memory that chunks are in.
        heart: what it counts its steps in, as `Worker.share` takes it.
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
        """What a worker is sent of the weights and draws of a chunk, bytes that lie here; for all workers of its kind."""

    @abstractmethod
    def lost(self, name: str, ready: bool) -> OperantError:
        """What is to be said of one that is gone, before or after it was ready."""

    @abstractmethod
    def leave(self) -> None:
        """Tell it to leave what it is at, and to close its environments."""

    @abstractmethod
    def close(self, seconds: float) -> None:
        """Wait so long until it has, and end it."""


class Child(Link):
    """A process of this machine."""

    shares = True

    def __init__(self, process: BaseProcess, pipe: Connection, beats: Tensor, place: int):
        self.process, self._pipe = process, pipe
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
            where = f"where it imports {getattr(sys.modules['__main__'], '__file__', 'no script')} and what makes the environment"
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


def processes(make: Callable, rows_of: Sequence[tuple[list[int], list[int]]], parts: Sequence[tuple[slice, slice]]) -> list[Link]:
    """Processes of this machine, each with the seeds and places of its rows, which are such a part of all."""
    # Steps of each worker, and in the last place whether all are to leave what they are at.
    beats = torch.zeros(len(parts) + 1, dtype=torch.int64).share_memory_()
    # Where forks are safe, one server imports PyTorch and forks the workers of this process, with the environment variables of when it began.
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload([__name__])
    found: list[Link] = []
    for place, (part, (mine, places)) in enumerate(zip(parts, rows_of, strict=True)):
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, make, mine, part, places, torch.get_num_threads(), kernels.taken()), daemon=True)
        process.start()
        theirs.close()
        found.append(Child(process, ours, beats, place))
    return found


_Slot = tuple[Actor, Tensor, Chunk]  # what acts, its draws, and what comes of it


def _bytes(form: tuple[torch.Size, torch.dtype]) -> int:
    """What a tensor takes, so that the next one begins at a multiple of 64."""
    shape, kind = form
    return -(-shape.numel() * kind.itemsize // 64) * 64


def _slots(twin: bytes, forms: list[tuple[torch.Size, torch.dtype]], memory: Tensor) -> list[_Slot]:
    """A slot in each row of `memory`, which is one piece: of shared pieces every process has a file open.

    Args:
        twin: the actor, pickled.
        forms: shapes and types, of its parameters and buffers, of the draws and of a chunk's arrays.
    """
    slots = []
    for row in memory:
        actor = pickle.loads(twin)
        places = row.split([_bytes(form) for form in forms])
        arrays = [place[: shape.numel() * kind.itemsize].view(kind).view(shape) for place, (shape, kind) in zip(places, forms, strict=True)]
        *weights, draws = arrays[: -len(Chunk.NAMES)]
        for tensor, array in zip((*actor.parameters(), *actor.buffers()), weights, strict=True):
            tensor.data = array
        slots.append((actor, draws, Chunk.of(dict(zip(Chunk.NAMES, arrays[-len(Chunk.NAMES) :], strict=True)))))
    return slots


class _Left(BaseException):
    """What a worker was at is wanted no more."""


class Worker:
    """The worker's side: environments of its rows, and what answers each command."""

    def __init__(self, make: Callable, row_seeds: list[int], part: tuple[slice, slice]):
        self.part = part
        self.environments = make(row_seeds)
        self._carry: Tensor | None = None
        self._looked = 0.0

    def answer(self, command: str, payload: Any) -> Any:
        """What a command gives: those below, by their names."""
        found = getattr(self, command)(payload)
        return astuple(found) if isinstance(found, Step) else found

    def share(self, given: tuple[Tensor, int]) -> str:
        """Take what counts steps: a tensor, and this worker's place in it; behind the last, whether what it is at is wanted no more."""
        beats, self._place = given
        self._beats = beats.numpy()
        return self.environments.resume

    def reset(self, _: None) -> np.ndarray:
        self._carry = None
        return self.environments.reset()

    def slots(self, given: tuple[bytes, list, Tensor | torch.Size]) -> None:
        """Take the chunks' memory; where the trainer's is not seen here, its shape is given."""
        twin, forms, memory = given
        self._memory = memory if isinstance(memory, Tensor) else torch.empty(memory, dtype=torch.uint8)
        self._slots = [(actor, draws, chunk.narrow(*self.part)) for actor, draws, chunk in _slots(twin, forms, self._memory)]

    def collect(self, given: tuple[int, float, np.ndarray | None]) -> dict[str, Tensor] | None:
        """Do this worker's part of a chunk; what came of it, where weights and draws were brought."""
        slot, progress, brought = given
        if brought is not None:
            self._memory[slot, : len(brought)].numpy()[:] = brought
        actor, draws, chunk = self._slots[slot]
        if actor.normalizer is not None:
            actor.normalizer.refresh()
        actor.explore(progress)
        start = actor.initial(draws.shape[2])
        if start is not None:
            chunk.carry[0] = start[self.part] if self._carry is None else self._carry
        fill(chunk, self, actor, draws, self.environments.observation, self.part)
        self._carry = None if start is None else chunk.carry[1].clone()
        return None if brought is None else {name: getattr(chunk, name).contiguous() for name in Chunk.NAMES}

    def step(self, action: np.ndarray) -> Step:
        """A step of the environments, between which it looks whether it is still wanted."""
        self._beats[self._place] += 1
        now = time.monotonic()
        parent = multiprocessing.parent_process()  # none on a cluster, which ends its actors with whoever started them
        if self._beats[-1] or (parent is not None and now - self._looked > 1.0 and not parent.is_alive()):
            raise _Left
        self._looked = now if now - self._looked > 1.0 else self._looked
        return self.environments.step(action)

    def state(self, _: None) -> tuple[dict, str, np.ndarray, Tensor | None]:
        state = self.environments.state_dict()
        return state, self.environments.resume, self.environments.observation, self._carry

    def load(self, given: tuple[dict, Tensor | None]) -> tuple[np.ndarray, str]:
        state, self._carry = given
        self.environments.load_state_dict(state)
        return self.environments.observation, self.environments.resume


def _work(
    pipe: Connection, make: Callable, row_seeds: list[int], part: tuple[slice, slice], places: list[int], threads: int, multiplies_by: str
) -> None:
    """A worker's process: one answer to each command, until the pipe closes."""
    HELD[:] = places
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the trainer decides what they mean
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(threads)
    kernels.take(multiplies_by)
    worker = None
    try:
        pipe.send(("ok", None))
        worker = Worker(make, row_seeds, part)
        while True:
            command, payload = pipe.recv()
            if command == "close":
                break
            pipe.send(("ok", worker.answer(command, payload)))
    except (EOFError, ConnectionError, _Left):
        pass  # the trainer is gone, or done
    except BaseException as error:  # noqa: BLE001 - signals are ignored here, so that a KeyboardInterrupt is the environment's own, too
        try:
            pipe.send(("error", fault_of(error)))
        except OSError:
            pass
    finally:
        if worker is not None:
            worker.environments.close()


def fault_of(error: BaseException) -> tuple[str, str]:
    """What a worker's error is, and a line of it."""
    if isinstance(error, OperantError):
        return type(error).__name__, str(error)
    said = one_line(error)
    return "RunFailed", f"an environment's code raised {type(error).__name__}{': ' if said else ''}{said}"
