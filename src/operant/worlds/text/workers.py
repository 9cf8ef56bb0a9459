"""Workers that draw answers: processes beside the trainer, each with a copy of the policy, that draw batches of a round's answers.

All draws are made by the trainer, and a batch is drawn as one process would draw it: so its bits do not hang on who draws it.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.utils import logging

from operant.nets.language import TokenPolicy
from operant.worlds.base import SampleWorkers
from operant.worlds.plans import Generation, Request
from operant.worlds.text.engine import Batch, complete, generate
from operant.worlds.workers import Form, Worker, Workers, laid, point, size_of, weights_of


class Versions:
    """A policy as it was: copies, of which the oldest is written anew.

    Args:
        policy: the one that is trained. Of its value function, where it has one, nothing is kept.
        count: copies.
        shared: other processes compute by them too.

    Attributes:
        twins: the copies.
        memory: of their weights, on the processor, where they are shared. Copies on a processor compute by it.
    """

    def __init__(self, policy: TokenPolicy, count: int, *, shared: bool):
        critic, policy.critic = policy.critic, None
        try:
            self.twins = [copy.deepcopy(policy) for _ in range(count)]
        finally:
            policy.critic = critic
        for twin in self.twins:  # whose weights go on to say that they want gradients: how PyTorch multiplies hangs on that, and so do last bits
            twin.zero_grad(set_to_none=True)
        self.forms: list[Form] = [(tensor.shape, tensor.dtype) for tensor in weights_of(policy.model)]
        self.memory = torch.empty(count if shared else 0, size_of(self.forms), dtype=torch.uint8).share_memory_()
        self._laid = [laid(row, self.forms) for row in self.memory]
        if policy.device.type == "cpu":
            for twin, weights in zip(self.twins, self._laid, strict=False):
                point(twin.model, weights)
        self._next = 0

    @torch.no_grad()
    def hold(self, policy: TokenPolicy) -> int:
        """Copy the policy as it is now; the place of the copy."""
        place, self._next = self._next, (self._next + 1) % len(self.twins)
        twin, now = self.twins[place], weights_of(policy.model)
        for mine, weight in zip(weights_of(twin.model), now, strict=True):
            mine.copy_(weight)
        if len(self.memory) and policy.device.type != "cpu":
            for there, weight in zip(self._laid[place], now, strict=True):
                there.copy_(weight)
        twin.temperature = policy.temperature
        return place

    def place(self, policy: TokenPolicy) -> int:
        """The place of a copy; of another policy, which is held."""
        found = [place for place, twin in enumerate(self.twins) if twin is policy]
        return found[0] if found else self.hold(policy)


class AnswerWorkers:
    """Draws answers by processes of this machine, or of a cluster's nodes.

    Args:
        batch_size: answers of a batch.

    Raises:
        BadInput, WorkerLost: as `Workers`.
    """

    def __init__(self, workers: SampleWorkers, batch_size: int):
        self._workers = Workers(AnswerWorker, [()] * workers.count, workers)
        self._batch_size = batch_size
        self._versions: Versions | None = None
        self._place = 0

    def take(self, versions: Versions, policy: TokenPolicy) -> None:
        """Let all have a policy of these versions, or another, which becomes one of them: what is drawn from now on is drawn by it."""
        self._place = place = versions.place(policy)
        if self._versions is not versions:
            self._versions = versions
            model = _without_weights(versions.twins[place].model)
            memory = [versions.memory if link.shares else versions.memory.shape for link in self._workers.links]
            self._workers.ask("models", [(model, versions.forms, each) for each in memory])
        if not all(link.shares for link in self._workers.links):
            brought = self._workers.hands_over(versions.memory[place])
            self._workers.ask("take", [(place, brought)] * len(self._workers.links))

    def generate(self, requests: Sequence[Request], **how: Any) -> Generation:
        """Draw completions, as `engine.generate`."""
        return generate(self._versions.twins[self._place].model, requests, batch_size=self._batch_size, by=self._complete, **how)

    def _complete(self, batches: list[Batch]) -> list[Generation]:
        place, count, found = self._place, len(self._workers.links), []
        for number, batch in enumerate(batches):
            if number >= count:  # one at a time for each: a pipe does not hold two
                found.append(self._workers.answer(number % count))
            uniforms = batch.drawing.uniforms.cpu().numpy()  # a tensor would travel as a file of shared memory for each, and whole
            self._workers.send_to(number % count, "complete", (place, replace(batch, drawing=replace(batch.drawing, uniforms=None)), uniforms))
        found += [self._workers.answer(number % count) for number in range(len(found), len(batches))]
        device = self._versions.twins[place].device
        return [Generation(prompts, **{name: torch.from_numpy(array).to(device) for name, array in arrays.items()}) for prompts, arrays in found]

    def close(self) -> None:
        self._workers.close()


class AnswerWorker(Worker):
    """The worker's side: copies of the policy, and batches of answers."""

    origin = "what draws answers"
    blame = "drawing answers"
    brought = frozenset({"take"})

    def __init__(self) -> None:
        logging.set_verbosity_error()  # what a model warns of, the trainer has said

    def models(self, given: tuple[bytes, list[Form], Tensor | torch.Size]) -> None:
        """Take the model, and the memory of its copies' weights; where the trainer's is not seen here, its shape is given."""
        model, forms, memory = given
        self._memory = memory if isinstance(memory, Tensor) else torch.empty(memory, dtype=torch.uint8)
        self._models = []
        for row in self._memory:
            self._models.append(pickle.loads(model))
            point(self._models[-1], laid(row, forms))

    def take(self, given: tuple[int, np.ndarray]) -> None:
        """Take weights that were brought."""
        place, brought = given
        self._memory[place].numpy()[:] = brought

    def complete(self, given: tuple[int, Batch, np.ndarray]) -> tuple[list[tuple[int, ...]], dict[str, np.ndarray]]:
        """Draw a batch by a copy: the prefixes of its requests, and the fields of the `Generation`."""
        place, batch, uniforms = given
        drawn = complete(self._models[place], replace(batch, drawing=replace(batch.drawing, uniforms=torch.from_numpy(uniforms))), self.beat)
        names = [item.name for item in fields(Generation) if isinstance(getattr(drawn, item.name), Tensor)]
        return drawn.prompts, {name: getattr(drawn, name).numpy() for name in names}


def _without_weights(model: nn.Module) -> bytes:
    """A model, pickled; of each weight one number stands for all."""
    skeleton = copy.deepcopy(model).cpu()
    point(skeleton, [torch.empty(1, dtype=tensor.dtype).expand(tensor.shape) for tensor in weights_of(skeleton)])
    return pickle.dumps(skeleton)
