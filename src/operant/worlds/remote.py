"""Workers on the nodes of a Ray cluster. What is handed over lies in the cluster's object store, once for all workers of a node."""

from __future__ import annotations

import importlib
import os
import pickle
import socket
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant.core.cluster import NUMERICS, difference, versions
from operant.core.errors import BadInput, OperantError, WorkerLost
from operant.core.ray_driver import RayActors
from operant.core.registry import import_file, imported_files
from operant.nets import kernels
from operant.worlds.base import SampleWorkers
from operant.worlds.workers import Link, Worker, fault_of

OPTION = "--sample-on"


class RemoteWorker:
    """A worker on a node: an actor of Ray. `answer` runs in one thread, and `steps` is heard beside it.

    Args:
        kind: "module:Class" of the `Worker`.
        arguments: of its making, pickled.
        imports: files that were imported by their names.
    """

    def __init__(self, kind: str, arguments: bytes, imports: list[str], threads: int, multiplies_by: str):
        module, _, name = kind.partition(":")
        self._kind, self._arguments = getattr(importlib.import_module(module), name), arguments
        self._imports, self._threads, self._multiplies_by = imports, threads, multiplies_by
        self._beats = torch.zeros(2, dtype=torch.int64)
        self._worker: Worker | None = None

    def steps(self) -> int:
        return int(self._beats[0])

    def leave(self) -> None:
        self._beats[1] = 1

    def answer(self, command: str, payload: Any, brought: np.ndarray | None = None) -> tuple[str, Any]:
        """As a process answers (`Link.receive`); "begin" is the first command, and gives the node's name and versions.

        Args:
            brought: what was handed over.
        """
        torch.set_num_threads(self._threads)
        try:
            if command == "begin":
                kernels.take(self._multiplies_by)
                for file in filter(os.path.isfile, self._imports):  # elsewhere Python finds the modules, or not
                    import_file(file)
                self._worker = self._kind(*pickle.loads(self._arguments))
                return "ok", (socket.gethostname(), versions())
            if command == "close":
                self._worker.close()
                return "ok", None
            if command == "share":
                payload = self._beats, 0
            elif brought is not None:
                payload = *payload[:-1], brought
            return "ok", self._worker.answer(command, payload)
        except BaseException as error:  # noqa: BLE001 - whatever a worker raises is told as its error; one that is to leave is heard no more
            return "error", fault_of(error, self._kind.blame)


class Remote(Link):
    """A worker on a node."""

    shares = False
    heart = None

    def __init__(self, actors: RayActors, place: int, address: str, brought: Collection[str]):
        self._actors, self._place, self._address, self._brought = actors, place, address, brought
        self._asked = self._steps = 0
        self._begun, self._why = False, ""
        self.send("begin", None)

    def send(self, command: str, payload: Any) -> None:
        self._actors.ask(self._place, "answer", command, payload, brings=command in self._brought)
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


def actors(kind: type[Worker], arguments: Sequence[tuple], workers: SampleWorkers, stay: ExitStack) -> list[Link]:
    """Workers on a cluster.

    Args:
        stay: ends them and leaves the cluster as it closes.

    Raises:
        BadInput: no such cluster, or one without a processor for each.
    """
    environment = {name: os.environ[name] for name in NUMERICS if name in os.environ} | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    name, given = f"{kind.__module__}:{kind.__qualname__}", (imported_files(), torch.get_num_threads(), kernels.taken())
    made = [(name, pickle.dumps(each), *given) for each in arguments]
    held = RayActors(workers.on, f"{workers.given} {OPTION}", f"{__name__}:{RemoteWorker.__name__}", made, environment)
    stay.enter_context(closing(held))
    return [Remote(held, place, workers.on, kind.brought) for place in range(len(made))]
