"""Workers: one process a core, each with its own environments and its own view of the policy, that hand back whole chunks through shared memory.

A worker gets some of the seeds, or some of the rows of every seed where there are fewer seeds than workers. Draws are made by the trainer, so the actions of
a row do not depend on who steps it; the number of workers can change the last bits of a matrix product, and is therefore part of a run's configuration.
"""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import signal
import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from operant.core.errors import CODE, BadInput, OperantError, RunFailed, one_line
from operant.nets.actors import Actor
from operant.worlds.gym.collect import Chunk, fill


def check_workers(make: Callable, seeds: int, rows: int, workers: int) -> None:
    """Raise `BadInput` where S seeds × N rows cannot be split over so many processes, or `make` cannot be sent to another one."""
    if workers > max(seeds, rows):
        raise BadInput(f"workers={workers}: {seeds} seeds × {rows} environments can be split over at most {max(seeds, rows)}")
    try:
        sent = pickle.dumps(make)
    except Exception as error:  # noqa: BLE001 - whatever an object's own pickling raises
        raise BadInput(f"workers={workers}: what makes the environment cannot be sent to another process ({one_line(error, 80)}); {_AT_TOP}") from None
    if b"__main__" in sent and getattr(sys.modules["__main__"], "__file__", None) is None:
        raise BadInput(f"workers={workers}: other processes cannot import what was typed in; {_AT_TOP}")


_AT_TOP = "give a function at the top level of a module, or workers=1"


class WorkerEnvironments:
    """Environments of S seeds × N rows, split over processes.

    Args:
        make: environments from row seeds.
        row_seeds: seed-major, `S × N`.
        workers: processes.

    Raises:
        BadInput: see `check_workers`.
    """

    def __init__(self, make: Callable, seeds: int, rows: int, row_seeds: list[int], workers: int):
        check_workers(make, seeds, rows, workers)
        self._seeds, self._rows = seeds, rows
        by_seed = seeds >= workers
        edges = np.linspace(0, seeds if by_seed else rows, workers + 1).astype(int)
        spans = [slice(int(a), int(b)) for a, b in zip(edges, edges[1:], strict=False)]
        self._parts = [(span, slice(0, rows)) if by_seed else (slice(0, seeds), span) for span in spans]
        grid = np.arange(seeds * rows).reshape(seeds, rows)
        # Where forks are safe, one server imports PyTorch and forks the workers of this process, with the environment variables of when it began.
        context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
        context.set_forkserver_preload([__name__])
        self._workers, self._pipes = [], []
        for part in self._parts:
            ours, theirs = context.Pipe()
            mine = [row_seeds[index] for index in grid[part].reshape(-1)]
            process = context.Process(target=_work, args=(theirs, make, mine), daemon=True)
            process.start()
            theirs.close()
            self._workers.append(process)
            self._pipes.append(ours)
        self._resumes(self._answers())
        self.observation: np.ndarray | None = None
        self._shared: tuple[Actor, Tensor, Chunk] | None = None

    def _resumes(self, answers: Sequence[str]) -> None:
        self.resume = "bitwise" if all(answer == "bitwise" for answer in answers) else "episode-boundary"

    def _ask(self, command: str, payloads: list | None = None) -> list:
        for place, pipe in enumerate(self._pipes):
            try:
                pipe.send((command, None if payloads is None else payloads[place]))
            except (BrokenPipeError, OSError):
                raise self._died(place) from None
        return self._answers()

    def _answers(self) -> list:
        found = []
        for place, pipe in enumerate(self._pipes):
            try:
                kind, value = pipe.recv()
            except (EOFError, ConnectionError):
                raise self._died(place) from None
            if kind == "error":
                raise (BadInput if value[0] == "BadInput" else RunFailed)(value[1])
            found.append(value)
        return found

    def _died(self, place: int) -> RunFailed:
        self._workers[place].join(1)
        return RunFailed(
            f"environment worker {place + 1} of {len(self._workers)} ended by itself (exit code {self._workers[place].exitcode}); the last checkpoint is whole"
        )

    def _joined(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        whole = np.zeros((self._seeds, self._rows, parts[0].shape[-1]), np.float32)
        for (seeds, rows), part in zip(self._parts, parts, strict=True):
            whole[seeds, rows] = part.reshape(whole[seeds, rows].shape)
        return whole.reshape(self._seeds * self._rows, -1)

    def reset(self) -> np.ndarray:
        self.observation = self._joined(self._ask("reset"))
        return self.observation

    def collect(self, actor: Actor, noise: Tensor, length: int, observation_size: int, carry: Tensor | None) -> Chunk:
        """A chunk of `length` steps of every row, acted by `actor` with `noise [S, T, N, …]`. The chunk is overwritten by the next call.

        Args:
            carry: of the actor, at the first of them; None where it remembers nothing.
        """
        if self._shared is None:
            twin = copy.deepcopy(actor).requires_grad_(False).share_memory()
            self._shared = twin, noise.clone().share_memory_(), Chunk(length, self._seeds, self._rows, observation_size, actor, shared=True)
            self._ask("share", [(*self._shared, seeds, rows) for seeds, rows in self._parts])
        twin, draws, chunk = self._shared
        for name, value in actor.state_dict().items():
            twin.get_parameter(name).copy_(value) if name in dict(twin.named_parameters()) else twin.get_buffer(name).copy_(value)
        draws.copy_(noise)
        if carry is not None:
            chunk.carry[0] = carry
        self.observation = self._joined(self._ask("collect"))
        return chunk

    def state_dict(self) -> dict:
        states, how = zip(*self._ask("state"), strict=True)
        self._resumes(how)
        return {"workers": list(states)}

    def load_state_dict(self, state: dict) -> None:
        if len(state["workers"]) != len(self._workers):
            raise BadInput(f"the state is of {len(state['workers'])} workers; there are {len(self._workers)}")
        observations, how = zip(*self._ask("load", state["workers"]), strict=True)
        self._resumes(how)
        self.observation = self._joined(observations)

    def close(self) -> None:
        for pipe, worker in zip(self._pipes, self._workers, strict=True):
            try:
                pipe.send(("close", None))
            except OSError:
                pass
            worker.join(5)
            if worker.is_alive():
                worker.kill()
            pipe.close()


def _narrow(actor: Actor, seeds: slice) -> Actor:
    """A view of some seeds of an actor: the same memory."""
    part = copy.deepcopy(actor)
    originals = dict(actor.named_parameters()) | dict(actor.named_buffers())
    for name, tensor in [*part.named_parameters(), *part.named_buffers()]:
        original = originals[name].data
        tensor.data = original[seeds] if original.ndim and original.shape[0] == actor.seeds else original
    part.seeds = len(range(actor.seeds)[seeds])
    return part


def _work(pipe, make: Callable, row_seeds: list[int]) -> None:
    """The worker's side: one answer to each command, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the trainer decides what an interrupt means
    torch.set_num_threads(1)
    environments = None
    try:
        environments = make(row_seeds)
        pipe.send(("ok", environments.resume))
        while True:
            command, payload = pipe.recv()
            if command == "close":
                break
            if command == "reset":
                answer = environments.reset()
            elif command == "share":
                twin, draws, chunk, seeds, rows = payload
                actor, draws, part = _narrow(twin, seeds), draws[seeds, :, rows], chunk.narrow(seeds, rows)
                answer = None
            elif command == "collect":
                if actor.normalizer is not None:
                    actor.normalizer.refresh()
                answer = fill(part, environments, actor, draws, environments.observation)
            elif command == "state":
                answer = environments.state_dict(), environments.resume
            elif command == "load":
                environments.load_state_dict(payload)
                answer = environments.observation, environments.resume
            pipe.send(("ok", answer))
    except EOFError:
        pass  # the trainer is gone
    except OperantError as error:
        pipe.send(("error", (type(error).__name__, str(error))))
    except CODE as error:
        pipe.send(("error", ("RunFailed", f"an environment worker failed: {type(error).__name__}: {one_line(error)}")))
    finally:
        if environments is not None:
            environments.close()
