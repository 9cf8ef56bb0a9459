"""Actors on a Ray cluster, asked through a process that speaks with Ray (its driver).

Ray ends a process whose call meets a dead node, without a word. This one has a run to lose, so another makes the calls; where Ray ends that, this one is told.
"""

from __future__ import annotations

import importlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, Pipe
from typing import Any

import numpy as np

from operant.core.cluster import Lifeline, joined, told
from operant.core.errors import BadInput, OperantError, RunFailed

LOOK = 0.2  # seconds between two looks at whether the nodes are there on which the driver hangs
ENDS = 20.0  # seconds in which the driver ends its actors and leaves the cluster before it is killed
WATCH = "watch"  # what an actor is asked beside its work


class RayActors:
    """Objects on the nodes of a cluster, one processor each. What one is asked, it answers in order.

    Args:
        address, option: as of `core.cluster.joined`.
        kind: "module:Class" of the objects, found there by Python.
        arguments: of each object's making; they and all that is asked and answered are pickled.
        environment: variables of the actors' processes.

    Raises:
        BadInput: no such cluster, or one without a processor for each.
        RunFailed: one of our own does not start.
    """

    def __init__(self, address: str, option: str, kind: str, arguments: Sequence[tuple], environment: Mapping[str, str]):
        self._orders, orders = Pipe()
        pairs = [Pipe() for _ in arguments]
        self._answers = [ours for ours, _ in pairs]
        self._beats: list[Any] = [None] * len(pairs)
        self._asked_beat = [False] * len(pairs)
        self._life, self._why = Lifeline({}), ""
        theirs = [orders, *(their for _, their in pairs)]
        numbers = [end.fileno() for end in theirs]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, *map(str, numbers)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            pass_fds=numbers,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # Ray tells of lost nodes there
            start_new_session=True,  # what a terminal sends is for this process, which decides what it means
        )
        for end in theirs:
            end.close()
        try:
            self._orders.send((address, option, kind, [pickle.dumps(each) for each in arguments], dict(environment)))
            found, value = self._orders.recv()
        except (EOFError, ConnectionError):
            self.close()
            raise RunFailed(f"{option} {address}: Ray ended the process that speaks with it (exit code {self._process.returncode})") from None
        except BaseException:
            self.close()
            raise
        if found != "joined":
            self.close()
            raise (BadInput if found == "BadInput" else RunFailed)(value)
        self._life = Lifeline(value)

    def ask(self, place: int, name: str, *arguments: Any, brings: bool = False) -> None:
        """Ask for a method of an object; with `brings` its last argument is what was brought last.

        Raises:
            ConnectionError: with why, where the driver is gone.
        """
        self._order(("ask", place, name, pickle.dumps(arguments), brings))

    def bring(self, array: np.ndarray) -> None:
        """Put an array into the cluster's store, once for all objects of a node. Raises as `ask`."""
        self._order(("bring", array))

    def tell(self, place: int, name: str) -> None:
        """Call a method of an object beside what it is at; nothing is answered. Raises as `ask`."""
        self._order(("tell", place, name))

    def watch(self, place: int, name: str) -> Any:
        """What a method said last that is called beside what the object is at, and asked anew by this; None where it said nothing. Raises as `ask`."""
        self._hear()
        if not self._asked_beat[place]:
            self._asked_beat[place] = True
            self._order(("watch", place, name))
        return self._beats[place]

    def answers(self, place: int, seconds: float) -> bool:
        """Wait so long for an object's next answer: whether there is one, or never will be."""
        return self._answers[place].poll(seconds)

    def receive(self, place: int) -> Any:
        """An object's next answer. Raises `ConnectionError`, with why, where it is gone."""
        try:
            found, value = self._answers[place].recv()
        except (EOFError, ConnectionError):
            raise self._gone() from None
        if found == "lost":
            raise ConnectionError(value)
        return pickle.loads(value)

    def check(self) -> None:
        """Raise `ConnectionError` where the driver, or a node on which it hangs, is gone."""
        self._hear()
        if self._why or self._process.poll() is not None:
            raise self._gone()
        self._life.check()

    def close(self) -> None:
        """End all objects, and leave the cluster."""
        self._orders.close()  # which the driver hears, as it would if this process were killed
        try:
            self._process.wait(ENDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for end in self._answers:
            end.close()
        self._life.close()

    def _order(self, order: tuple) -> None:
        try:
            self._orders.send(order)
        except (ConnectionError, OSError):
            raise self._gone() from None

    def _hear(self) -> None:
        """Take what the driver said besides answers."""
        try:
            while self._orders.poll():
                found, value = self._orders.recv()
                if found == "gone":
                    self._why = value
                else:
                    place, beat = value
                    self._asked_beat[place] = False
                    self._beats[place] = self._beats[place] if beat is None else beat
        except (EOFError, OSError):
            pass  # `_gone` says why

    def _gone(self) -> ConnectionError:
        self._hear()
        if not self._why:
            try:
                self._process.wait(1)  # its ends of the pipes are closed, so that it is about to
                self._life.check()
                self._why = f"the process that speaks with Ray has ended, exit code {self._process.returncode}"
            except ConnectionError as error:
                self._why = str(error)
            except subprocess.TimeoutExpired:
                self._why = "the process that speaks with Ray has hung up"
        return ConnectionError(self._why)


class Host:
    """An actor: an object of a node. This class is the driver's script's, so that Ray sends it along: a node may have another Operant, and can say so."""

    def __init__(self, kind: str, arguments: bytes):
        module, _, name = kind.partition(":")
        self._object = getattr(importlib.import_module(module), name)(*pickle.loads(arguments))

    def ask(self, name: str, arguments: bytes, *brought: np.ndarray) -> bytes:
        return pickle.dumps(getattr(self._object, name)(*pickle.loads(arguments), *brought))

    def watch(self, name: str) -> Any:
        return getattr(self._object, name)()


class _Driver:
    """The process that speaks with Ray, for as long as the other end of `orders` is open."""

    def __init__(self, orders: Connection, answers: Sequence[Connection]):
        self._orders, self._answers = orders, answers
        self._speaking = threading.Lock()

    def run(self) -> None:
        address, option, kind, arguments, environment = self._orders.recv()
        try:
            with joined(address, option) as ray:
                has = ray.cluster_resources().get("CPU", 0)
                if has < len(arguments):
                    raise BadInput(f"{option} {address}: the cluster has {has:g} processors, of which each worker takes one")
                options = {"num_cpus": 1, "max_restarts": 0, "scheduling_strategy": "SPREAD", "runtime_env": {"env_vars": environment}}
                host = ray.remote(concurrency_groups={WATCH: 1}, **options)(Host)
                actors = [host.remote(kind, each) for each in arguments]
                life = Lifeline(Lifeline.of(ray))
                threading.Thread(target=self._look, args=(life,), daemon=True).start()
                waiting = [queue.SimpleQueue() for _ in actors]
                for end, asked in zip(self._answers, waiting, strict=True):
                    threading.Thread(target=_answer, args=(ray, end, asked), daemon=True).start()
                self._say("joined", Lifeline.of(ray))
                self._obey(ray, actors, waiting)
                for actor in actors:
                    ray.kill(actor)
        except OperantError as error:
            self._say(type(error).__name__, str(error))

    def _obey(self, ray: Any, actors: Sequence[Any], waiting: Sequence[queue.SimpleQueue]) -> None:
        brought = None
        while True:
            try:
                order, *given = self._orders.recv()
            except (EOFError, ConnectionError):
                return
            if order == "bring":
                brought = ray.put(*given)
            elif order == "ask":
                place, name, arguments, brings = given
                waiting[place].put(actors[place].ask.remote(name, arguments, *([brought] if brings else [])))
            else:
                place, name = given
                asked = actors[place].watch.options(concurrency_group=WATCH).remote(name)
                if order == "watch":
                    asked.future().add_done_callback(lambda done, place=place: self._say("beat", (place, None if done.exception() else done.result())))

    def _look(self, life: Lifeline) -> None:
        """End this process where a node is gone on which it hangs: a call into Ray would wait for the head for a minute."""
        while True:
            try:
                life.check()
            except ConnectionError as error:
                self._say("gone", str(error))
                os._exit(1)
            threading.Event().wait(LOOK)

    def _say(self, found: str, value: Any) -> None:
        with self._speaking:
            try:
                self._orders.send((found, value))
            except OSError:
                pass  # nobody listens any more


def _answer(ray: Any, end: Connection, asked: queue.SimpleQueue) -> None:
    """Give an actor's answers as they come."""
    while True:
        try:
            found = "ok", ray.get(asked.get())
        except ray.exceptions.RayError as error:
            found = "lost", told(error)
        try:
            end.send(found)
        except OSError:
            return  # nobody listens any more


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # whoever started this decides what they mean; handlers, which Ray's processes do not inherit
        signal.signal(number, lambda *_: None)
    first, *others = map(int, sys.argv[1:])
    _Driver(Connection(first), [Connection(other) for other in others]).run()
