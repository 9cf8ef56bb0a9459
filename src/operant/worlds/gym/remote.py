"""Workers on the nodes of a Ray cluster. What is sent lies in the cluster's object store, once for all workers of a node."""

from __future__ import annotations

import os
import pickle
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from operant.core.cluster import NUMERICS, difference, joined, told, versions
from operant.core.errors import BadInput, OperantError, WorkerLost, one_line
from operant.nets import kernels
from operant.worlds.base import SampleWorkers
from operant.worlds.gym.check import HELD
from operant.worlds.gym.workers import Link, Worker, fault_of

OPTION = "--sample-on"
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

    def __init__(self, ray: Any, actor: Any, address: str):
        self._ray, self._actor, self._address = ray, actor, address
        self._pending: deque[Any] = deque()
        self._beat, self._steps = None, 0
        self._begun, self._why = False, ""
        self.send("begin", None)

    def send(self, command: str, payload: Any) -> None:
        self._pending.append(self._actor.answer.remote(command, payload))

    def answers(self, seconds: float) -> bool:
        return bool(self._ray.wait([self._pending[0]], timeout=seconds)[0])

    def receive(self) -> tuple[str, Any]:
        try:
            kind, value = self._ray.get(self._pending.popleft())
        except self._ray.exceptions.RayError as error:
            self._why = told(error)
            raise EOFError from None
        if kind == "ok" and not self._begun:
            self._begun, (node, found) = True, value
            if (line := difference(versions(), found, node)) is not None:
                return "error", ("BadInput", line)
        return kind, value

    def steps(self) -> int:
        try:
            self._beat = self._beat or self._actor.steps.options(concurrency_group=WATCH).remote()
            if self._ray.wait([self._beat], timeout=0)[0]:
                self._steps, self._beat = self._ray.get(self._beat), None
        except self._ray.exceptions.RayError:  # `receive` says so
            self._beat = None
        return self._steps

    def hands_over(self, given: Tensor) -> Any:
        return self._ray.put(given.numpy())

    def lost(self, name: str, ready: bool) -> OperantError:
        if not ready:
            return BadInput(f"{name} could not begin on cluster {self._address}: {self._why}")
        return WorkerLost(f"{name}, on cluster {self._address}, is gone ({self._why})")

    def leave(self) -> None:
        try:
            self._actor.leave.options(concurrency_group=WATCH).remote()
            self.send("close", None)
        except self._ray.exceptions.RayError:
            pass

    def close(self, seconds: float) -> None:
        if self._pending:
            self._ray.wait([self._pending[-1]], timeout=seconds)
        try:
            self._ray.kill(self._actor)
        except self._ray.exceptions.RayError:
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
    has = ray.cluster_resources().get("CPU", 0)
    if has < len(parts):
        raise BadInput(f"{workers.given} {OPTION} {workers.on}: the cluster has {has:g} processors, of which each worker takes one")
    variables = {name: os.environ[name] for name in NUMERICS if name in os.environ} | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    options = {"num_cpus": 1, "max_restarts": 0, "scheduling_strategy": "SPREAD", "runtime_env": {"env_vars": variables}}
    kind = ray.remote(concurrency_groups={WATCH: 1}, **options)(RemoteWorker)
    made = pickle.dumps(make)
    given = torch.get_num_threads(), kernels.taken()
    return [Remote(ray, kind.remote(made, mine, part, places, *given), workers.on) for part, (mine, places) in zip(parts, rows_of, strict=True)]
