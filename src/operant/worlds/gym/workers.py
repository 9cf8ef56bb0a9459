"""Workers: processes beside the trainer, each with its own rows of the environments and a copy of the policy, that hand back whole chunks: in shared memory, or
on the nodes of a cluster.

A worker gets some of the seeds, or some of the rows of every seed where there are fewer seeds than workers. Draws are made by the trainer, and a worker acts in
the shapes of the whole batch, with zeros in the place of what others see: the last bits of a product hang on its shape. So a chunk has the bits that it has
without workers, however many there are.
"""

from __future__ import annotations

import copy
import pickle
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant.core.errors import BadInput, one_line
from operant.nets.actors import Actor
from operant.worlds.base import SampleWorkers
from operant.worlds.gym.check import HELD
from operant.worlds.gym.collect import Chunk, fill
from operant.worlds.gym.dealt import deal, join
from operant.worlds.gym.environments import Step
from operant.worlds.workers import Form, Worker, Workers, check_start, laid, point, size_of, weights_of


def check_split(make: Callable, seeds: int, rows: int, workers: SampleWorkers) -> None:
    """Raise `BadInput` where S seeds × N rows cannot be split over so many processes, they cannot be started, or `make` cannot be sent to them."""
    if workers.count > max(seeds, rows):
        raise BadInput(f"{workers.given}: {seeds} seeds × {rows} environments can be split over at most {max(seeds, rows)}")
    check_start(make, EnvironmentsWorker.origin, workers)


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
        BadInput: see `check_split`.
        BadInput, WorkerLost: as `Workers`.
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
        arguments = [
            (pickle.dumps(make), [row_seeds[index] for index in places], part, places.tolist()) for part, places in zip(self._parts, self._places, strict=True)
        ]
        self.observation: np.ndarray | None = None
        self.carry: Tensor | None = None
        self._slots: list[_Slot] = []
        self._under_way: deque[tuple[int, int]] = deque()  # (slot, version) of chunks that were begun and not finished, the oldest first
        self._begun = self._done = 0  # chunks so far; of those under way, whose answers have come
        self._workers = Workers(EnvironmentsWorker, arguments, workers)
        self._resumes(self._workers.shared)

    def _resumes(self, answers: Sequence[str]) -> None:
        self.resume = "bitwise" if all(answer == "bitwise" for answer in answers) else "episode-boundary"

    # ---------------------------------------------------------------------------------------------------------------------------- what is told and answered

    def _ask(self, command: str, payloads: Sequence[Any] | None = None) -> list:
        """Every worker's answer, once what is under way has been done."""
        self.settle()
        return self._workers.ask(command, payloads)

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
            arrays = *weights_of(twin), noise, *(getattr(chunk, name) for name in Chunk.NAMES)
            forms = [(tensor.shape, tensor.dtype) for tensor in arrays]
            self._memory = torch.empty(self._slots_wanted, size_of(forms), dtype=torch.uint8).share_memory_()
            self._given = size_of(forms[: -len(Chunk.NAMES)])
            self._slots = _slots(sent := pickle.dumps(twin), forms, self._memory)
            self._ask("slots", [(sent, forms, self._memory if link.shares else self._memory.shape) for link in self._workers.links])
        slot = self._begun % len(self._slots)
        twin, draws, _ = self._slots[slot]
        with torch.no_grad():
            for mine, theirs in zip(weights_of(twin), weights_of(actor), strict=True):
                mine.copy_(theirs)
        draws.copy_(noise)
        given = self._workers.hands_over(self._memory[slot, : self._given])
        self._workers.send("collect", [(slot, progress, given)] * len(self._parts))
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
        for part, arrays in zip(self._parts, self._workers.answers(), strict=True):
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
        *arrays, said = zip(*parts, strict=True)
        observation, following, *rest = map(self._joined, arrays)
        self.observation = observation
        if all(part is None for part in said):
            return Step(observation, following, *rest)
        unsaid = [np.full(len(places), np.nan, np.float32) for places in self._places]
        return Step(observation, following, *rest, self._joined([none if part is None else part for none, part in zip(unsaid, said, strict=True)]))

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
        self._workers.close()


_Slot = tuple[Actor, Tensor, Chunk]  # what acts, its draws, and what comes of it


def _slots(twin: bytes, forms: list[Form], memory: Tensor) -> list[_Slot]:
    """A slot in each row of `memory`.

    Args:
        twin: the actor, pickled.
        forms: shapes and types, of its parameters and buffers, of the draws and of a chunk's arrays.
    """
    slots = []
    for row in memory:
        actor = pickle.loads(twin)
        arrays = laid(row, forms)
        *weights, draws = arrays[: -len(Chunk.NAMES)]
        point(actor, weights)
        slots.append((actor, draws, Chunk.of(dict(zip(Chunk.NAMES, arrays[-len(Chunk.NAMES) :], strict=True)))))
    return slots


class EnvironmentsWorker(Worker):
    """The worker's side: environments of its rows, and what answers each command.

    Args:
        made: what makes environments from row seeds, pickled.
        part: its seeds, and its rows of each.
        places: of these rows among all.

    Raises:
        BadInput: what makes the environment is not to be had here.
    """

    origin = "what makes the environment"
    blame = "an environment's code"
    brought = frozenset({"collect"})

    def __init__(self, made: bytes, row_seeds: list[int], part: tuple[slice, slice], places: list[int]):
        HELD[:] = places
        self.part = part
        try:
            make = pickle.loads(made)
        except Exception as error:
            where = f"a worker on {socket.gethostname()} cannot have {self.origin} ({one_line(error, 120)})"
            raise BadInput(f"{where}: put its module where Python finds it there") from error
        self.environments = make(row_seeds)
        self._carry: Tensor | None = None

    def answer(self, command: str, payload: Any) -> Any:
        found = super().answer(command, payload)
        return astuple(found) if isinstance(found, Step) else found

    def share(self, given: tuple[Tensor, int]) -> str:
        super().share(given)
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
        self.beat()
        return self.environments.step(action)

    def state(self, _: None) -> tuple[dict, str, np.ndarray, Tensor | None]:
        state = self.environments.state_dict()
        return state, self.environments.resume, self.environments.observation, self._carry

    def load(self, given: tuple[dict, Tensor | None]) -> tuple[np.ndarray, str]:
        state, self._carry = given
        self.environments.load_state_dict(state)
        return self.environments.observation, self.environments.resume

    def close(self) -> None:
        self.environments.close()
