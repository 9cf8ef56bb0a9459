"""What every training loop offers to the runner, and the checks that all share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from operant.core.errors import RunFailed


class Learner(Protocol):
    """A training loop with its whole state.

    Attributes:
        step: steps done a seed, in the unit of the world (environment steps, updates, iterations).
        seeds: root seeds on its seed axis.
        policy: what acts and is evaluated.
        resume: "bitwise", or "episode-boundary" where an environment cannot give its state.
        failures: where the batch of a failed update is saved.
    """

    step: int
    seeds: list[int]
    policy: nn.Module
    resume: str
    failures: Path | None

    def iterate(self) -> dict[str, Tensor]:
        """Do one iteration; metrics by name, `[S]` each, on the CPU."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


def check_finite(learner: Learner, names: list[str], values: Tensor, norms: Tensor, batch_of) -> None:
    """Stop at the first update whose loss or gradient is not finite, with its step, term and seed; its batch is saved.

    The optimiser has not made that step (`Adam.step`), so the weights are those from before it.

    Args:
        values: `[K, terms, S]`, the terms of the last K updates, on the CPU.
        norms: `[K, S]`, the norms of their gradients, on the CPU.
        batch_of: from an update's index to its tensors.

    Raises:
        RunFailed: when a value or a norm is NaN or infinite.
    """
    bad = ~torch.isfinite(torch.cat([values, norms.unsqueeze(1)], 1))
    if not bad.any():
        return
    update, term, seed = (int(index) for index in bad.nonzero()[0])
    if term < len(names):
        what = f"the loss is not finite: term {names[term]!r} was {values[update, term, seed].item()}"
    else:
        what = f"the gradient is not finite: its norm was {norms[update, seed].item()}"
    where = ""
    if learner.failures is not None:
        learner.failures.mkdir(parents=True, exist_ok=True)
        path = learner.failures / f"step-{learner.step:012d}.safetensors"
        save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in batch_of(update).items()}, path)
        where = f"; its batch is in {path}"
    raise RunFailed(
        f"{what} at step {learner.step}, update {update + 1} of the iteration, seed {learner.seeds[seed]}{where}; "
        "the last checkpoint is from before it; try a lower --learning-rate, or smaller rewards"
    )


@contextmanager
def suggest_micro_batch(size: int) -> Iterator[None]:
    """Around an update: where memory runs out, say which micro-batch to try.

    Args:
        size: rows that go through the model at once.

    Raises:
        RunFailed: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # CUDA's error is a RuntimeError with a class of its own, a processor's has none
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not any(words in str(error) for words in _OUT_OF_MEMORY):
            raise
        advice = f"try --micro-batch {size // 2}, which changes no result" if size > 1 else "one at a time is the least, so try shorter ones: --max-new-tokens"
        raise RunFailed(
            f"memory ran out in an update with {size} answer{'s' * (size > 1)} at a time: {advice}; the last checkpoint is from before it"
        ) from error


_OUT_OF_MEMORY = ("not enough memory", "can't allocate memory", "std::bad_alloc")
