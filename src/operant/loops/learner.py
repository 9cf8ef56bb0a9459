"""What every configured loop and every loop at work offers to the runner, and the checks that all share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from operant.core.errors import BadInput, RunFailed
from operant.core.graphs import Execution
from operant.core.memory import check_memory
from operant.core.records import Rollout
from operant.nets.sharded import local
from operant.worlds.base import SampleWorkers, Source, World


class Spine:
    """A configured loop: a frozen dataclass that a method fills in.

    Attributes:
        policy: how the policy's network is built; None where the world brings the policy.
        needs: what its parts ask of a batch, by name.
        prompts: groups of answers that an iteration draws.
        rows: that an update computes at once, a seed, or that a model writes at once; 0 where no product of an update is wide.
        draws_answers: it samples rollouts, so that a budget may count answers and tokens.
        bfloat16: its updates can compute in bfloat16, where the world's `bfloat16` asks for it.
        from_scratch: on text it starts from fresh weights and not from the base policy.
        goes_on: it can begin from another run's policy (`Learner.begin_from`).
        splits: several processes can take shares of the rows of its updates, where seeds are not stacked.
    """

    draws_answers: ClassVar[bool] = False
    from_scratch: ClassVar[bool] = False
    goes_on: ClassVar[bool] = False
    bfloat16: ClassVar[bool] = False
    splits: ClassVar[bool] = False

    policy: Any

    @property
    def needs(self) -> frozenset[str]:
        return frozenset()

    @property
    def prompts(self) -> int:
        return 1

    @property
    def rows(self) -> int:
        return 0

    @property
    def trained(self) -> Any:
        """How the network is built that learns, which is the policy's unless something stands around it."""
        return self.policy

    def step_unit(self, world: World) -> str:
        """What a step of a run is."""
        return world.step_unit

    def steps_of(self, world: World, loop: str) -> int:
        """Steps of a run that is given no budget. Arguments as of `World.steps_of`."""
        return world.steps_of(loop)

    def with_policy(self, net: Any) -> Spine:
        """The same loop with another network in the place of `trained`."""
        return replace(self, policy=net)

    def decided(self, world: World) -> dict[str, Any]:
        """Options of the task that were left open, and on which the bits of a run with workers hang."""
        return {}

    def sampled_by(self, workers: SampleWorkers) -> Spine:
        """The same loop whose experience processes beside it gather. Raises `BadInput` where it has none that they could."""
        raise BadInput(f"{workers.given}: what this method learns from is gathered by the process that trains; leave it out")

    def truncated_by(self, most: float) -> Spine:
        """The same loop which weighs what something else than its policy did by the ratio to it, so much at the most. Raises `BadInput` where it cannot."""
        raise BadInput(f"--truncate-importance {most:g}: this method weighs nothing by its ratio to what acted; leave it out")

    def executed_by(self, execution: Execution) -> Spine:
        """The same loop whose updates are computed so. Raises `BadInput` where they cannot be."""
        given = "--compile" if execution.compile else "--cuda-graphs"
        raise BadInput(f"{given}: it is for the updates of policy gradients and value learning, and this method makes its own; leave it out")

    def check(self, world: World, seeds: Sequence[int], steps: int, episodes: int | None) -> None:
        """Raise `BadInput` for what would stop a run of this loop later, before anything is written.

        Args:
            steps: of a seed.
            episodes: of an evaluation; None for the task's own number.
        """
        world.check(None, seeds, episodes)

    def trial(self, world: World, device: torch.device) -> None:
        """One update on made-up experience, where that comes long after a run has begun, so that mistakes in a person's own parts are told before it exists.

        Nothing is left of it but what those parts keep outside the loop: it is for a spine that is built for this alone.
        """

    def notes(self, steps: int) -> list[str]:
        """What a person should know of a run of so many steps a seed before it begins."""
        return []

    def learner(self, world: World, seeds: Sequence[int], total_steps: int, device: torch.device) -> Learner:
        raise NotImplementedError


class Learner:
    """A training loop with its whole state.

    Attributes:
        step: steps done a seed, in the unit of the world (environment steps, updates, iterations).
        seeds: root seeds on its seed axis.
        policy: what acts and is evaluated.
        failures: where the batch of a failed update is saved.
        trains: there is something to learn, so that what was there before is worth a look.
        stride: steps of one iteration, which are done whole.
        total_steps: of the whole run.
        spent: what was used so far a seed besides steps and seconds: "samples" (rows) and "tokens" that were drawn. None where nothing is drawn.
        seconds: of training so far, which whoever runs the loop keeps.
        collecting: seconds in which this learner gathered experience; the rest of its iterations is learning.
        limit: a budget of "samples", "tokens" or "seconds", (unit, amount), that takes the place of `total_steps` for what changes along a run; None for steps.
        rollout: the last one; None where there is none.
        source: of rollouts; None where there is none.
    """

    trains: bool = True
    stride: int = 1
    spent: dict[str, float] | None = None
    seconds: float = 0.0
    collecting: float = 0.0
    limit: tuple[str, float] | None = None
    rollout: Rollout | None = None
    source: Source | None = None
    failures: Path | None = None

    step: int
    total_steps: int
    seeds: list[int]
    policy: Any

    @property
    def resume(self) -> str:
        """How a run goes on from `state_dict`: "bitwise", or "episode-boundary" where an environment cannot give its state, which may turn out late."""
        return "bitwise" if self.source is None else self.source.resume

    @property
    def progress(self) -> float:
        """The share of training that is done, 0 to 1, of the budget that there is."""
        if self.limit is None:
            return min(1.0, self.step / self.total_steps)
        unit, amount = self.limit
        return min(1.0, (self.seconds if unit == "seconds" else self.spent[unit]) / amount)

    def notes(self) -> list[str]:
        """What a person should know before the first iteration, a line each."""
        return [] if self.source is None else self.source.notes()

    def iterate(self) -> dict[str, Tensor]:
        """Do one iteration; metrics by name, `[S]` each, on the CPU."""
        raise NotImplementedError

    def settle(self) -> None:
        """Wait until nothing is under way that others gather for later iterations."""

    def measures(self) -> dict[str, np.ndarray]:
        """What a person wants to see beside the score of an evaluation, `[S]` by name."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise NotImplementedError

    def learned(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """What was learned by a learner of this method that has this state: weights, targets and running scales, nested, each tensor `[S, …]`."""
        return {"policy": state["policy"]}

    def begin_from(self, learned: Mapping[str, Any]) -> None:
        """Before the first iteration: take over what another run learned. Optimiser, replay, draws and counts are this run's own.

        Args:
            learned: as `learned` says; of another method "policy" alone, the weights of its policy.
        """
        self.policy.load_state_dict(learned["policy"])

    def probes(self) -> Mapping[str, Callable[[], object]]:
        """What a test may ask of a learner that is not trained further, by name, once each.

        "update": one update of the parameters, from data that `probes` has drawn already; no number of it is read to the host. "replay": the forward passes
        of that update alone, where these read lengths.
        """
        return {}

    def close(self) -> None:
        """End what it started in other processes."""
        if self.source is not None:
            self.source.close()


def check_batch(world: World, seeds: int, size: int, net: Any) -> None:
    """Raise `BadInput` where batches of so many rows take more than the machine's memory.

    Args:
        net: of the policy, with the widths of its layers; None where the world brings the policy.
    """
    stacked = seeds if world.stacked else 1
    widths = () if net is None else net.hidden
    wide = max(widths, default=0) > size
    what = f"a batch of {size:,}{f' for each of {stacked:,} seeds' * (stacked > 1)}{f' in a layer of {max(widths):,}' if wide else ''}"
    check_memory(what, stacked * size * world.row_bytes(widths), "take narrower layers (--hidden)" if wide else "take a smaller --batch-size")


def check_finite(learner: Learner, names: list[str], values: Tensor, norms: Tensor, batch_of, phase: str = "") -> None:
    """Stop at the first update whose loss or gradient is not finite, with its step, phase, term and seed; its batch is saved.

    The optimiser has not made that step (`Adam.step`), so the weights are those from before it.

    Args:
        values: `[K, terms, S]`, the terms of the last K updates, on the CPU.
        norms: `[K, S]`, the norms of their gradients, on the CPU.
        batch_of: from an update's index to its tensors.
        phase: of the learner's phases, where it has several.

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
    of_phase = f" in phase {phase}" if phase else ""
    raise RunFailed(
        f"{what} at step {learner.step}, update {update + 1} of the iteration{of_phase}, seed {learner.seeds[seed]}{_kept(learner, batch_of(update))}; "
        "the last checkpoint is from before it; try a lower --learning-rate, or smaller rewards"
    )


def check_weights(learner: Learner, *, stacked: bool) -> None:
    """Tell a step that overflowed, of a finite loss and gradient, before its weights are kept or used.

    Args:
        stacked: weights have the seed axis in front.

    Raises:
        RunFailed: a weight of the policy is not finite.
    """
    if not isinstance(learner.policy, torch.nn.Module):
        return
    for name, weight in learner.policy.named_parameters():
        if not (finite := torch.isfinite(local(weight))).all():
            place = int((~finite).flatten(1).any(1).nonzero()[0]) if stacked else 0
            raise RunFailed(
                f"the weights are not finite: {name} of seed {learner.seeds[place]} at step {learner.step}, after an update that overflowed; "
                "nothing of it is kept; try a lower --learning-rate"
            )


EXPLODED = 1_000  # times the largest value that rewards and the discount allow


def check_values(learner: Learner, phase: str, target: Tensor, reward: Tensor, horizon: float, batch: dict[str, Tensor]) -> None:
    """Stop where targets are far from any value that there can be: a sum of discounted rewards is at most the largest of them times 1 / (1 − gamma).

    Rewards count as 1 at the least, for what entropies add to values.

    Args:
        target, reward: the largest absolute target of an update, and reward of all so far, `[S]` each, on the CPU.
        horizon: 1 / (1 − gamma), infinite where nothing is discounted.
        batch: of the update.

    Raises:
        RunFailed: a target is more than `EXPLODED` times as large.
    """
    allowed = reward.clamp(min=1.0) * horizon
    if not (bad := target > EXPLODED * allowed).any():
        return
    seed = int(bad.nonzero()[0])
    raise RunFailed(
        f"values explode: a target of phase {phase} was {target[seed]:.3g} at step {learner.step}, seed {learner.seeds[seed]}, where rewards of at most "
        f"{reward[seed]:.3g} and the discount allow {allowed[seed]:.3g}{_kept(learner, batch)}; the last checkpoint is from before it; "
        "try a lower --learning-rate, a target network that follows more slowly, or smaller rewards"
    )


def _kept(learner: Learner, batch: Mapping[str, Tensor]) -> str:
    """Keep the batch of an update that failed, and say where."""
    if learner.failures is None:
        return ""
    learner.failures.mkdir(parents=True, exist_ok=True)
    path = learner.failures / f"step-{learner.step:012d}.safetensors"
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in batch.items()}, path)
    return f"; its batch is in {path}"


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
