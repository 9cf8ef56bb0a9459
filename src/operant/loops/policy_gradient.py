"""The policy-gradient loop: sample → score → select → credit → terms → reduce → step. For control, language and sequences alike."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from operant import ops
from operant.core.errors import RunFailed
from operant.core.flat import Adam, FlatParameters
from operant.core.random import Streams
from operant.core.records import Rollout, Status
from operant.loops.learner import check_finite
from operant.loops.terms import Term, all_needs, step_losses, term_name

RATIO_TOLERANCE = 1e-3  # largest |log ratio| before the first update on fresh data; float32 forward passes of different batch shapes differ by about 1e-5


@dataclass(frozen=True)
class PolicyGradient:
    """A configured policy-gradient loop: the named steps of one method.

    Attributes:
        sample: the sampling plan, one of the world's (`Steps`, `Groups`, `SequenceGroups`).
        credit: `(rollout) → advantage [S, N, T]`.
        terms: the objective, a list of per-step terms.
        policy: how the policy network is built; None where the world brings the policy (a language model).
        select: filters of the scored rollout, in order: `(rollout) → rollout`.
        reduce: how steps are weighted, a kind of `ops.step_weights`.
        reduce_length: the constant divisor of "sequence-sum".
        normalize_advantage: mean 0 and deviation 1 over the chosen steps of a rollout.
        epochs, minibatches: passes over a rollout, and optimiser steps in each.
        micro_batch: rows that go through the model at once where a unit is a row; 0 for all. Never changes the loss.
        learning_rate: Adam's; `anneal` lowers it linearly to 0 at the last step.
    """

    sample: Any
    credit: Callable[[Rollout], Tensor]
    terms: Sequence[Term]
    policy: Any = None
    select: Sequence[Callable[[Rollout], Rollout]] = ()
    reduce: Literal["token-mean", "sequence-mean", "sequence-sum"] = "token-mean"
    reduce_length: int | None = None
    normalize_advantage: bool = False
    epochs: int = 1
    minibatches: int = 1
    micro_batch: int = 0
    learning_rate: float = 3e-4
    anneal: bool = False
    adam_eps: float = 1e-8
    max_grad_norm: float = 0.5
    workers: int = field(default=1, kw_only=True)

    def learner(self, world, seeds: Sequence[int], total_steps: int, device: torch.device) -> PolicyGradientLearner:
        return PolicyGradientLearner(self, world, list(seeds), total_steps, device)


class PolicyGradientLearner:
    """The loop at work: the one place where updates of policy gradients happen."""

    def __init__(self, method: PolicyGradient, world, seeds: list[int], total_steps: int, device: torch.device):
        self.method, self.world, self.seeds, self.total_steps = method, world, seeds, total_steps
        self.step = 0
        self.version = 0
        self.failures: Path | None = None
        self.streams = Streams(seeds, device)
        self.policy = world.policy(method.policy, self.streams).to(device)
        self.flat = FlatParameters(self.policy, seeds=len(seeds), stacked=world.stacked)
        self.optimizer = Adam([self.flat], learning_rate=method.learning_rate, eps=method.adam_eps)
        self.source = world.source(method.sample, self.streams, workers=method.workers)
        self.resume = self.source.resume
        self.needs = all_needs(method.terms)
        self._credit_needs = getattr(method.credit, "needs", frozenset())
        self.reference = None
        if "reference_log_prob" in self.needs:
            self.reference = copy.deepcopy(self.policy).requires_grad_(False)
        self.rollout: Rollout | None = None
        self._equal: Tensor | None = None

    def iterate(self) -> dict[str, Tensor]:
        """One rollout and the updates from it."""
        method = self.method
        rollout = self.source.score(self.source.sample(self.policy, self.version))
        if rollout.version != self.version:
            raise RunFailed(f"a rollout of weights' version {rollout.version} reached the update of version {self.version}")
        scores = self._scores(rollout)
        rollout.mask = rollout.mask & (rollout.status == int(Status.OK)).unsqueeze(-1)
        for select in method.select:
            rollout = select(rollout)
        self._assign_credit(rollout)
        self.step += self.source.steps_per_sample
        metrics = self._update(rollout)
        self.version += 1
        self.rollout = rollout
        return scores | metrics

    def _scores(self, rollout: Rollout) -> dict[str, Tensor]:
        found = {}
        if rollout.status.any():
            for status in (Status.TIMEOUT, Status.CRASHED, Status.MALFORMED):
                found[f"score/{status.name.lower()}"] = (rollout.status == int(status)).float().mean(-1).cpu()
        return found | self.source.metrics(rollout)

    def _assign_credit(self, rollout: Rollout) -> None:
        method, extras = self.method, rollout.extras
        if "value" in self._credit_needs or "value" in self.needs:
            extras["value"], extras["next_value"] = self.policy.values(rollout)
        if self.reference is not None:
            extras["reference_log_prob"] = self._reference_log_prob(rollout)
        name = getattr(method.credit, "__name__", type(method.credit).__name__)
        try:
            advantage = method.credit(rollout)
        except ValueError as error:
            raise RunFailed(f"credit {name}: {error}") from error
        if not isinstance(advantage, Tensor) or advantage.shape != rollout.shape:
            found = f"advantages of shape {list(advantage.shape)}" if isinstance(advantage, Tensor) else type(advantage).__name__
            raise RunFailed(f"credit {name} gave {found}; the rollout has {list(rollout.shape)}")
        if not torch.isfinite(advantage[rollout.mask]).all():
            raise RunFailed(f"credit {name} gave an advantage that is not finite at step {self.step}")
        if "value" in self.needs:
            extras["return"] = advantage + extras["value"]
        if method.normalize_advantage:
            advantage = ops.normalize(advantage, rollout.mask, dim=(-2, -1))
        extras["advantage"] = advantage

    @torch.no_grad()
    def _reference_log_prob(self, rollout: Rollout) -> Tensor:
        parts = [
            self.reference.replay({name: x[:, rows] for name, x in rollout.inputs.items()}, rollout.action[:, rows], frozenset())["log_prob"]
            for rows in self._micro_rows(rollout.mask)
        ]
        result = torch.zeros_like(rollout.log_prob)
        for rows, part in zip(self._micro_rows(rollout.mask), parts, strict=True):
            result[:, rows] = part
        return result

    def _micro_rows(self, mask: Tensor) -> Iterator[Tensor | slice]:
        """Rows that go through the model together: all, or `micro_batch` of similar length at a time."""
        size = self.method.micro_batch
        if getattr(self.policy, "unit", "row") == "step" or not 0 < size < mask.shape[1]:
            yield slice(None)
            return
        yield from torch.argsort(mask.sum(-1)[0], stable=True).split(size)

    def _fields(self, rollout: Rollout) -> dict[str, Tensor]:
        """What minibatches are cut from, by the names that terms use."""
        extras = rollout.extras
        fields = {f"inputs.{name}": x for name, x in rollout.inputs.items()}
        fields |= {"action": rollout.action, "old_log_prob": rollout.log_prob, "mask": rollout.mask, "advantage": extras["advantage"]}
        if "value" in self.needs:
            fields |= {"old_value": extras["value"], "return": extras["return"]}
        if self.reference is not None:
            fields["reference_log_prob"] = extras["reference_log_prob"]
        return fields

    def _update(self, rollout: Rollout) -> dict[str, Tensor]:
        method = self.method
        if method.anneal:
            self.optimizer.learning_rate = method.learning_rate * max(0.0, 1 - (self.step - self.source.steps_per_sample) / self.total_steps)
        steps = self.policy.unit == "step"
        cut = _StepCutter(self._fields(rollout)) if steps else _RowCutter(self._fields(rollout))
        whole = steps and bool(rollout.mask.all())
        terms, norms, indices = [], [], []
        diagnostics: dict[str, Tensor] = {}
        first_log_ratio = None
        for _ in range(method.epochs):
            indices += self.streams.permutations("minibatch", cut.units).tensor_split(method.minibatches, dim=1)
        for index in indices:
            values, log_ratio, seen = self._step(cut(index), first=first_log_ratio is None, last=index is indices[-1], whole=whole)
            if first_log_ratio is None:
                first_log_ratio = log_ratio
            terms.append(values)
            norms.append(seen.pop("gradient_norm"))
            diagnostics = seen
        values = torch.stack(terms).cpu()
        names = [term_name(term) for term in method.terms]
        check_finite(self, names, values, lambda update: cut(indices[update]))
        worst = first_log_ratio.abs().max().item()
        if not worst <= RATIO_TOLERANCE:
            raise RunFailed(
                f"the ratio before the first update is not 1: |log ratio| reaches {worst:.3g} at step {self.step}; "
                "the policy that is trained is not the one that acted"
            )
        metrics = {f"loss/{name}": values[:, place].mean(0) for place, name in enumerate(names)}
        metrics["gradient_norm"] = torch.stack(norms).mean(0).cpu()
        return metrics | {name: value.cpu() for name, value in diagnostics.items()}

    def _step(self, batch: dict[str, Tensor], *, first: bool, last: bool, whole: bool) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
        """One optimiser step on one minibatch, in micro-batches of rows. No host read happens here.

        Args:
            first, last: of the iteration; the first gives its largest |log ratio|, the last its diagnostics.
            whole: every step of the rollout was chosen, so that all weigh alike.

        Returns:
            (each term's loss `[terms, S]`, largest |log ratio| or None, diagnostics).
        """
        method = self.method
        mask = batch["mask"]
        weights = self._equal_weights(mask) if whole else self._weights(mask)
        self.flat.zero_grad()
        values, log_ratios, parts = [], [], []
        for rows in self._micro_rows(mask):
            micro = batch if isinstance(rows, slice) else {name: x[:, rows] for name, x in batch.items()}
            weight = (weights if isinstance(rows, slice) else weights[:, rows]).flatten(1)
            inputs = {name.removeprefix("inputs."): x for name, x in micro.items() if name.startswith("inputs.")}
            micro = micro | self.policy.replay(inputs, micro["action"], self.needs)
            losses = torch.stack([torch.linalg.vecdot(weight, loss.flatten(1)) for loss in step_losses(method.terms, micro)])  # [terms, S]
            losses.sum().backward()
            values.append(losses.detach())
            if first:
                log_ratios.append(((micro["log_prob"].detach() - micro["old_log_prob"]) * micro["mask"]).abs().max())
            if last:
                parts.append(self._diagnose(micro, weight))
        seen = {name: sum(part[name] for part in parts) for name in parts[0]} if parts else {}
        seen["gradient_norm"] = self.flat.clip_grad_norm(method.max_grad_norm)
        self.optimizer.step()
        return values[0] if len(values) == 1 else torch.stack(values).sum(0), torch.stack(log_ratios).max() if first else None, seen

    def _weights(self, mask: Tensor) -> Tensor:
        """The reducer's weights of a minibatch, `[S, U]` (steps) or `[S, n, T]` (rows)."""
        grid = mask if mask.ndim == 3 else mask.unsqueeze(-1)
        return ops.step_weights(grid, self.method.reduce, length=self.method.reduce_length, dtype=self.flat.data.dtype).view(mask.shape)

    def _equal_weights(self, mask: Tensor) -> Tensor:
        """The same of a minibatch in which every step was chosen: one tensor for all of its shape."""
        if self._equal is None or self._equal.shape != mask.shape:
            self._equal = self._weights(torch.ones_like(mask))
        return self._equal

    @torch.no_grad()
    def _diagnose(self, micro: dict[str, Tensor], weight: Tensor) -> dict[str, Tensor]:
        """Weighted means over a minibatch: what tells whether updates are too large."""
        new, old = micro["log_prob"], micro["old_log_prob"]
        clip = next((term for term in self.method.terms if hasattr(term, "low")), None)
        per_step = {"kl_behaviour": ops.kl_k3(old, new), "ratio": ops.policy_ratio(new, old)}
        if clip is not None:
            per_step["clip_fraction"] = ops.ratio_clip_fraction(new, old, clip_low=clip.low, clip_high=clip.high)
        if "entropy" in micro:
            per_step["entropy"] = micro["entropy"]
        return {name: torch.linalg.vecdot(weight, value.flatten(1)) for name, value in per_step.items()}

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "version": self.version,
            "streams": self.streams.state_dict(),
            "policy": dict(self.policy.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "reference": None if self.reference is None else dict(self.reference.state_dict()),
            "source": self.source.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.version = state["step"], state["version"]
        self.streams.load_state_dict(state["streams"])
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.reference is not None:
            self.reference.load_state_dict(state["reference"])
        self.source.load_state_dict(state["source"])

    def close(self) -> None:
        self.source.close()


class _StepCutter:
    """Minibatches of single steps: everything in one matrix, so that a minibatch is one gather."""

    def __init__(self, fields: dict[str, Tensor]):
        seeds, rows, length = fields["mask"].shape
        self.units = rows * length
        self._kinds = [(name, x.dtype, x.shape[3:]) for name, x in fields.items()]
        columns = [x.reshape(seeds, self.units, -1).float() for x in fields.values()]
        self._widths = [column.shape[-1] for column in columns]
        self._packed = torch.cat(columns, -1)

    def __call__(self, index: Tensor) -> dict[str, Tensor]:
        seeds, count = index.shape
        flat = index + torch.arange(seeds, device=index.device).unsqueeze(1) * self.units
        rows = self._packed.flatten(0, 1).index_select(0, flat.reshape(-1)).view(seeds, count, -1)
        batch = {}
        for (name, dtype, shape), column in zip(self._kinds, rows.split(self._widths, -1), strict=True):
            column = column if shape else column.squeeze(-1)
            batch[name] = column if dtype == torch.float32 else column.to(dtype)
        return batch


class _RowCutter:
    """Minibatches of whole rows (sequences)."""

    def __init__(self, fields: dict[str, Tensor]):
        self._fields = fields
        self.units = fields["mask"].shape[1]

    def __call__(self, index: Tensor) -> dict[str, Tensor]:
        seeds = torch.arange(len(index), device=index.device).unsqueeze(1)
        return {name: x[seeds, index] for name, x in self._fields.items()}
