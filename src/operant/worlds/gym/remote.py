"""Workers on the nodes of a Ray cluster. Weights and draws of a chunk lie in the cluster's object store, once for all workers of a node."""

from __future__ import annotations

import os
import pickle
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant.core.cluster import NUMERICS, difference, versions
from operant.core.errors import BadInput, OperantError, WorkerLost, one_line
from operant.core.ray_driver import RayActors
from operant.nets import kernels
from operant.worlds.base import SampleWorkers
from operant.worlds.gym.check import HELD
from operant.worlds.gym.workers import Link, Worker, fault_of

OPTION = "--sample-on"


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

    def answer(self, command: str, payload: Any, brought: np.ndarray | None = None) -> tuple[str, Any]:
        """As a process answers (`Link.receive`); "begin" is the first command, and gives the node's name and versions.

        Args:
            brought: what a chunk is begun with, weights and draws.
        """
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
                slot, progress, _ = payload
                payload = slot, progress, brought
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

    def __init__(self, actors: RayActors, place: int, address: str):
        self._actors, self._place, self._address = actors, place, address
        self._asked = self._steps = 0
        self._begun, self._why = False, ""
        self.send("begin", None)

    def send(self, command: str, payload: Any) -> None:
        self._actors.ask(self._place, "answer", command, payload, brings=command == "collect")
        self._asked += 1

    def answers(self, seconds: float) -> bool:
        return not self._asked or self._actors.answers(self._place, seconds)

    def receive(self) -> tuple[str, Any]:
        if not self._asked:  # it could not be asked
            raise EOFError
        try:
            kind, value = self._actors.receive(self._place)
        except ConnectionError as error:
            self._why = str(error)
            raise
        self._asked -= 1
        if kind == "ok" and not self._begun:
            self._begun, (node, found) = True, value
            if (line := difference(versions(), found, node)) is not None:
                return "error", ("BadInput", line)
        return kind, value

    def steps(self) -> int:
        try:
            self._steps = self._actors.watch(self._place, "steps") or self._steps
        except ConnectionError:  # `receive` says so
            pass
        return self._steps

    def hands_over(self, given: Tensor) -> None:
        try:
            self._actors.bring(given.numpy())
        except ConnectionError:
            raise self.lost("the sample workers", True) from None

    def lost(self, name: str, ready: bool) -> OperantError:
        if not ready:
            return BadInput(f"{name} could not begin on cluster {self._address}: {self._why}")
        try:
            self._actors.check()
        except ConnectionError as error:
            return WorkerLost(f"sample workers on cluster {self._address} are gone ({error})")
        return WorkerLost(f"{name}, on cluster {self._address}, is gone ({self._why})")

    def leave(self) -> None:
        try:
            self._actors.tell(self._place, "leave")
            self.send("close", None)
        except ConnectionError:
            pass

    def close(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        try:
            while self._asked and self.answers(max(0.0, until - time.monotonic())):
                self.receive()
        except ConnectionError:
            pass


def actors(
    make: Callable, rows_of: Sequence[tuple[list[int], list[int]]], parts: Sequence[tuple[slice, slice]], workers: SampleWorkers, stay: ExitStack
) -> list[Link]:
    """Actors on a cluster, each with the seeds and places of its rows, which are such a part of all.

    Args:
        stay: ends them and leaves the cluster as it closes.

    Raises:
        BadInput: no such cluster, or one without a processor for each.
    """
    environment = {name: os.environ[name] for name in NUMERICS if name in os.environ} | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    made, given = pickle.dumps(make), (torch.get_num_threads(), kernels.taken())
    arguments = [(made, mine, part, places, *given) for part, (mine, places) in zip(parts, rows_of, strict=True)]
    each = RayActors(workers.on, f"{workers.given} {OPTION}", f"{__name__}:{RemoteWorker.__name__}", arguments, environment)
    stay.enter_context(closing(each))
    return [Remote(each, place, workers.on) for place in range(len(parts))]
