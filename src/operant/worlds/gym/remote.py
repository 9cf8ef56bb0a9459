"""Workers on the nodes of a Ray cluster. What is sent lies in the cluster's object store, once for all workers of a node."""

from __future__ import annotations

import os
import pickle
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import torch
from torch import Tensor

from operant.core.cluster import NUMERICS, Lifeline, difference, joined, told, versions
from operant.core.errors import BadInput, OperantError, WorkerLost, one_line
from operant.nets import kernels
from operant.worlds.base import SampleWorkers
from operant.worlds.gym.check import HELD
from operant.worlds.gym.workers import Link, Worker, fault_of

OPTION = "--sample-on"
LOOK = 0.005  # seconds between two looks for an answer: a call into Ray that blocks would end this process with Ray's
WATCH = "watch"  # what an actor answers beside its work


class RemoteWorker:
    """A worker on a node: an actor of Ray. `answer` runs in one thread, and `steps` is heard beside it."""

    def __init__(self, make: bytes, row_seeds: list[int], part: tuple[slice, slice], places: list[int], threads: int, multiplies_by: str):
        self._given = make, row_seeds, part
        self._threads, self._multiplies_by, self._places = threads, multiplies_by, places
        self._beats = torch.zeros(2, dtype=torch.int64)
        self._worker: Worker | None = None

    def steps(self) -> int:
        return int(self._beats[0])

    def leave(self) -> None:
        self._beats[1] = 1

    def answer(self, command: str, payload: Any) -> tuple[str, Any]:
        """As a process answers (`Link.receive`); "begin" is the first command, and gives the node's name and versions."""
        torch.set_num_threads(self._threads)
        try:
            if command == "begin":
                return "ok", self._begin()
            if command == "close":
                self._worker.environments.close()
                return "ok", None
            if command == "share":
                payload = self._beats, 0
            elif command == "collect":
                import ray

                slot, progress, reference = payload
                payload = slot, progress, ray.get(reference)
            return "ok", self._worker.answer(command, payload)
        except BaseException as error:  # noqa: BLE001 - whatever an environment raises is told as its error; a worker that is to leave is heard no more
            return "error", fault_of(error)

    def _begin(self) -> tuple[str, dict[str, str]]:
        HELD[:] = self._places
        kernels.take(self._multiplies_by)
        made, row_seeds, part = self._given
        try:
            make = pickle.loads(made)
        except Exception as error:
            where = f"node {socket.gethostname()} cannot have what makes the environment ({one_line(error, 120)})"
            raise BadInput(f"{where}: put its module where Python finds it there") from error
        self._worker = Worker(make, row_seeds, part)
        return socket.gethostname(), versions()


class Remote(Link):
    """A worker on a node."""

    shares = False
    heart = None

    def __init__(self, ray: Any, life: Lifeline, actor: Any, address: str):
        self._ray, self._life, self._actor, self._address = ray, life, actor, address
        self._pending: deque[Any] = deque()
        self._beat, self._steps = None, 0
        self._begun, self._why = False, ""
        self.send("begin", None)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Around a call into Ray, which must not block. Raises `ConnectionError`, with why, where the worker is gone, or what this process hangs on."""
        try:
            self._life.check()
            yield
        except (self._ray.exceptions.RayError, OSError) as error:
            self._why = told(error)
            raise ConnectionError(self._why) from None

    def send(self, command: str, payload: Any) -> None:
        with self._asking():
            self._pending.append(self._actor.answer.remote(command, payload))

    def answers(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while True:
            with self._asking():
                if not self._pending or self._ray.wait([self._pending[0]], timeout=0)[0]:
                    return True
            if time.monotonic() >= until:
                return False
            time.sleep(LOOK)

    def receive(self) -> tuple[str, Any]:
        if not self._pending:  # it could not be asked
            raise EOFError
        with self._asking():
            kind, value = self._ray.get(self._pending.popleft())
        if kind == "ok" and not self._begun:
            self._begun, (node, found) = True, value
            if (line := difference(versions(), found, node)) is not None:
                return "error", ("BadInput", line)
        return kind, value

    def steps(self) -> int:
        try:
            with self._asking():
                self._beat = self._beat or self._actor.steps.options(concurrency_group=WATCH).remote()
                if self._ray.wait([self._beat], timeout=0)[0]:
                    self._steps, self._beat = self._ray.get(self._beat), None
        except ConnectionError:  # `receive` says so
            self._beat = None
        return self._steps

    def hands_over(self, given: Tensor) -> Any:
        try:
            with self._asking():
                return self._ray.put(given.numpy())
        except ConnectionError:
            raise self.lost("the sample workers", True) from None

    def lost(self, name: str, ready: bool) -> OperantError:
        if not ready:
            return BadInput(f"{name} could not begin on cluster {self._address}: {self._why}")
        try:
            self._life.check()
        except ConnectionError as error:
            return WorkerLost(f"sample workers on cluster {self._address} are gone ({error})")
        return WorkerLost(f"{name}, on cluster {self._address}, is gone ({self._why})")

    def leave(self) -> None:
        try:
            with self._asking():
                self._actor.leave.options(concurrency_group=WATCH).remote()
            self.send("close", None)
        except ConnectionError:
            pass

    def close(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        try:
            while self._pending and time.monotonic() < until:
                with self._asking():
                    if self._ray.wait([self._pending[-1]], timeout=0)[0]:
                        break
                time.sleep(LOOK)
            with self._asking():
                self._ray.kill(self._actor)
        except ConnectionError:
            pass


def actors(
    make: Callable, rows_of: Sequence[tuple[list[int], list[int]]], parts: Sequence[tuple[slice, slice]], workers: SampleWorkers, stay: ExitStack
) -> list[Link]:
    """Actors on a cluster, each with the seeds and places of its rows, which are such a part of all.

    Args:
        stay: leaves the cluster as it closes.

    Raises:
        BadInput: no such cluster, or one without a processor for each.
    """
    ray = stay.enter_context(joined(workers.on, OPTION))
    life = stay.enter_context(closing(Lifeline(ray)))
    has = ray.cluster_resources().get("CPU", 0)
    if has < len(parts):
        raise BadInput(f"{workers.given} {OPTION} {workers.on}: the cluster has {has:g} processors, of which each worker takes one")
    variables = {name: os.environ[name] for name in NUMERICS if name in os.environ} | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    options = {"num_cpus": 1, "max_restarts": 0, "scheduling_strategy": "SPREAD", "runtime_env": {"env_vars": variables}}
    kind = ray.remote(concurrency_groups={WATCH: 1}, **options)(RemoteWorker)
    made = pickle.dumps(make)
    given = torch.get_num_threads(), kernels.taken()
    return [Remote(ray, life, kind.remote(made, mine, part, places, *given), workers.on) for part, (mine, places) in zip(parts, rows_of, strict=True)]
