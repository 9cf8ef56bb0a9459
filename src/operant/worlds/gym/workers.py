"""Workers: processes beside the trainer, each with its own rows of the environments and a copy of the policy, that hand back whole chunks in shared memory.

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
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import astuple
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant.core.errors import BadInput, OperantError, RunFailed, WorkerLost, one_line
from operant.core.ranks import PATIENCE
from operant.nets import kernels
from operant.nets.actors import Actor
from operant.worlds.base import SampleWorkers
from operant.worlds.gym.check import HELD
from operant.worlds.gym.collect import Chunk, fill
from operant.worlds.gym.dealt import deal, join
from operant.worlds.gym.environments import Step

CLOSING = 5.0  # seconds in which a worker closes its environments before it is killed
LONGEST_FOLDER = 107 - len("/pymp-12345678/listener-12345678")  # bytes: Linux takes 107 for a socket's name, and Python puts so many behind the folder


def check_split(make: Callable, seeds: int, rows: int, workers: SampleWorkers) -> None:
    """Raise `BadInput` where S seeds × N rows cannot be split over so many processes, they cannot be started, or `make` cannot be sent to them."""
    if workers.count > max(seeds, rows):
        raise BadInput(f"{workers.given}: {seeds} seeds × {rows} environments can be split over at most {max(seeds, rows)}")
    try:
        sent = pickle.dumps(make)
    except Exception as error:  # noqa: BLE001 - whatever an object's own pickling raises
        raise BadInput(f"{workers.given}: what makes the environment cannot be sent to another process ({one_line(error, 80)}); {_AT_TOP}") from None
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
        # Steps of each worker, and in the last place whether all are to leave what they are at.
        self._beats = torch.zeros(count + 1, dtype=torch.int64).share_memory_()
        # Where forks are safe, one server imports PyTorch and forks the workers of this process, with the environment variables of when it began.
        context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
        context.set_forkserver_preload([__name__])
        self._workers, self._pipes = [], []
        for part, places in zip(self._parts, self._places, strict=True):
            ours, theirs = context.Pipe()
            mine = [row_seeds[index] for index in places]
            given = (theirs, make, mine, part, places.tolist(), torch.get_num_threads(), kernels.taken())
            process = context.Process(target=_work, args=given, daemon=True)
            process.start()
            theirs.close()
            self._workers.append(process)
            self._pipes.append(ours)
        self.observation: np.ndarray | None = None
        self.carry: Tensor | None = None
        self._slots: list[_Slot] = []
        self._under_way: deque[tuple[int, int]] = deque()  # (slot, version) of chunks that were begun and not finished, the oldest first
        self._begun = self._done = 0  # chunks so far; of those under way, whose answers have come
        self._ready = False  # all have begun
        try:
            self._answers()
            self._ready = True
            self._resumes(self._ask("share", [(self._beats, place) for place in range(count)]))
        except BaseException:
            self.close()
            raise

    def _resumes(self, answers: Sequence[str]) -> None:
        self.resume = "bitwise" if all(answer == "bitwise" for answer in answers) else "episode-boundary"

    # ---------------------------------------------------------------------------------------------------------------------------- what is told and answered

    def _send(self, command: str, payloads: Sequence[Any]) -> None:
        for place, (pipe, payload) in enumerate(zip(self._pipes, payloads, strict=True)):
            try:
                pipe.send((command, payload))
            except ConnectionError:
                while True:  # it is gone; what it has said before, such as why, comes first
                    self._answer(place)

    def _ask(self, command: str, payloads: Sequence[Any] | None = None) -> list:
        """Every worker's answer, once what is under way has been done."""
        self.settle()
        self._send(command, [None] * len(self._pipes) if payloads is None else payloads)
        return self._answers()

    def _answers(self) -> list:
        return [self._answer(place) for place in range(len(self._pipes))]

    def _answer(self, place: int) -> Any:
        pipe, steps, since = self._pipes[place], int(self._beats[place]), time.monotonic()
        try:  # its end of the pipe alone says that it is there: what a signal to all processes does to their server does not matter
            while not pipe.poll(1.0):
                if (now := int(self._beats[place])) != steps:
                    steps, since = now, time.monotonic()
                elif time.monotonic() - since > PATIENCE.total_seconds():
                    raise WorkerLost(f"{self._named(place)} has made no step for {PATIENCE.total_seconds() / 60:g} minutes")
            kind, value = pipe.recv()
        except (EOFError, ConnectionError):
            raise self._died(place) from None
        if kind == "error":
            raise (BadInput if value[0] == "BadInput" else RunFailed)(value[1])
        return value

    def _named(self, place: int) -> str:
        return f"sample worker {place + 1} of {len(self._workers)}"

    def _died(self, place: int) -> OperantError:
        self._workers[place].join(1)
        code = self._workers[place].exitcode
        if not self._ready and code is not None and code >= 0:
            where = f"where it imports {getattr(sys.modules['__main__'], '__file__', 'no script')} and what makes the environment"
            return BadInput(f'{self._named(place)} ended before it began, {where}: what a script runs must stand under `if __name__ == "__main__":`')
        how = f"was ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended by itself (exit code {code})"
        return WorkerLost(f"{self._named(place)} {how}")

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
            memory = torch.empty(self._slots_wanted, sum(map(_bytes, forms)), dtype=torch.uint8).share_memory_()
            self._slots = _slots(sent := pickle.dumps(twin), forms, memory)
            self._ask("slots", [(sent, forms, memory)] * len(self._pipes))
        slot = self._begun % len(self._slots)
        twin, draws, _ = self._slots[slot]
        with torch.no_grad():
            for mine, theirs in zip((*twin.parameters(), *twin.buffers()), (*actor.parameters(), *actor.buffers()), strict=True):
                mine.copy_(theirs)
        draws.copy_(noise)
        self._send("collect", [(slot, progress)] * len(self._pipes))
        self._under_way.append((slot, version))
        self._begun += 1

    def finish(self) -> tuple[Chunk, int]:
        """The oldest chunk that was begun, and the version of the weights that acted. It is overwritten once as many more are begun as there may be."""
        if self._done:
            self._done -= 1
        else:
            self._answers()
        slot, version = self._under_way.popleft()
        return self._slots[slot][-1], version

    def settle(self) -> list[tuple[Chunk, int]]:
        """Wait for all chunks that were begun; those that are to be finished, the oldest first."""
        while self._done < len(self._under_way):
            self._answers()
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
        self._beats[-1] = 1
        for pipe in self._pipes:
            try:
                pipe.send(("close", None))
            except OSError:
                pass
        until = time.monotonic() + CLOSING
        for pipe, worker in zip(self._pipes, self._workers, strict=True):
            worker.join(max(0.0, until - time.monotonic()))
            if worker.is_alive():
                worker.kill()
                worker.join()
            pipe.close()


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


class _Worker:
    """The worker's side: environments of its rows, and what answers each command."""

    def __init__(self, make: Callable, row_seeds: list[int], part: tuple[slice, slice]):
        self.part = part
        self.environments = make(row_seeds)
        self._carry: Tensor | None = None
        self._looked = 0.0

    def share(self, given: tuple[Tensor, int]) -> str:
        beats, self._place = given
        self._beats = beats.numpy()
        return self.environments.resume

    def reset(self, _: None) -> np.ndarray:
        self._carry = None
        return self.environments.reset()

    def slots(self, given: tuple[bytes, list, Tensor]) -> None:
        self._slots = [(actor, draws, chunk.narrow(*self.part)) for actor, draws, chunk in _slots(*given)]

    def collect(self, given: tuple[int, float]) -> None:
        slot, progress = given
        actor, draws, chunk = self._slots[slot]
        if actor.normalizer is not None:
            actor.normalizer.refresh()
        actor.explore(progress)
        start = actor.initial(draws.shape[2])
        if start is not None:
            chunk.carry[0] = start[self.part] if self._carry is None else self._carry
        fill(chunk, self, actor, draws, self.environments.observation, self.part)
        self._carry = None if start is None else chunk.carry[1].clone()

    def step(self, action: np.ndarray) -> Step:
        """A step of the environments, between which it looks whether it is still wanted."""
        self._beats[self._place] += 1
        now = time.monotonic()
        if self._beats[-1] or (now - self._looked > 1.0 and not multiprocessing.parent_process().is_alive()):
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
        worker = _Worker(make, row_seeds, part)
        while True:
            command, payload = pipe.recv()
            if command == "close":
                break
            answer = getattr(worker, command)(payload)
            pipe.send(("ok", astuple(answer) if isinstance(answer, Step) else answer))
    except (EOFError, ConnectionError, _Left):
        pass  # the trainer is gone, or done
    except OperantError as error:
        _tell(pipe, type(error).__name__, str(error))
    except BaseException as error:  # noqa: BLE001 - signals are ignored here, so that a KeyboardInterrupt is the environment's own, too
        said = one_line(error)
        _tell(pipe, "RunFailed", f"an environment's code raised {type(error).__name__}{': ' if said else ''}{said}")
    finally:
        if worker is not None:
            worker.environments.close()


def _tell(pipe: Connection, kind: str, message: str) -> None:
    try:
        pipe.send(("error", (kind, message)))
    except OSError:
        pass
