"""Objective terms of the policy-gradient, supervised and preference loops: one number a step, to be minimised.

A term is a callable `(batch: TermBatch) → [S, …]` with a `name` and the set `needs` of what it reads beyond what is always there; a plain function is called by
its own name and needs nothing more. It never normalises: the reducer owns every denominator.

A term with an attribute `over` is weighted by that mask, a mark `[S, N, T]` of the rollout, in the place of the steps that the policy chose. One that clips
says where, by `clipped(batch) → [S, …]`, 1 or 0 a step: the steps whose gradient the clip took away, or bounded. The loop logs their share as "clip_fraction".
Where what is learned from was done by older weights, or drawn by another engine, and is weighted for it, `weighed` says what of a term is: "advantage" (the
default), each step's; "step", each step's loss, of a term whose loss is no multiple of the advantage; "answer", the loss of a row, by the weight of all its
steps together; "never", for a loss that has no form with weights: such a term is refused then. One with `fresh = True` measures the policy that acted when it
learns, and is refused where that may be an older one.

What else a person should see of a term it gives by `tells(batch) → {name: [S, …]}`, one number a step; the loop logs their weighted means over the last
update of an iteration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import torch.nn.functional as F
from torch import Tensor

from operant import ops
from operant.core.errors import RunFailed, a_type, place_of
from operant.loops.parts import part_name

IMPORTANCE = "importance_weight"  # of fields: of each step, where what is learned from is older than what learns
ANSWER_IMPORTANCE = "answer_importance_weight"  # of each row `[S, n]`, of all its steps together
LOG_RATIO_ROUNDING = 1e-4  # nats; log-probabilities of one policy differ by as much between two passes in float32, and nothing is learned from that


class TermBatch:
    """What a term reads: a micro-batch of rows `[S, n, T]`, or of single steps `[S, n]`; every attribute has that shape unless it says otherwise.

    What the method's own parts brought (marks, statistics, extras of the rollout that it needs) is read by its name, `batch["rare"]`.

    Args:
        tensors: all of it by name.

    Attributes:
        log_prob: of the policy now, nats, with gradient; not of a reward model.
        mask: True at the steps that are learned from.
        old_log_prob: of the policy that acted; policy gradients alone, as `advantage`.
        group: which rows belong together, `[S, n]` int64; where the policy's span is a row.
        score: a row's reward, all its steps together, `[S, n]`; by `needs`, as all that follows.
        entropy: of the policy now, nats, with gradient.
        value: of the critic now, with gradient; `old_value` of the critic before the updates, `returns` what it is fitted to ("value").
        logits: `[…, V]`, with gradient.
        kl_to_acted, kl_from_acted: KL(policy now ‖ policy that acted) and KL(policy that acted ‖ policy now) over all actions, nats, with gradient; where
            policies act on observations.
        reward: what the reward model that is trained gives a row, `[S, n]`, with gradient.
        velocity, reference_velocity: of a flow's policy now, with gradient, and of the reference policy, `[…, D]`.
        reference_log_prob, teacher_log_prob: of the reference policy and of the teacher.
        progress: share of training that is done, 0 to 1.
        iteration: from 0.
    """

    log_prob: Tensor
    mask: Tensor
    old_log_prob: Tensor
    advantage: Tensor
    group: Tensor
    score: Tensor
    entropy: Tensor
    value: Tensor
    old_value: Tensor
    returns: Tensor
    logits: Tensor
    kl_to_acted: Tensor
    kl_from_acted: Tensor
    reward: Tensor
    velocity: Tensor
    reference_velocity: Tensor
    reference_log_prob: Tensor
    teacher_log_prob: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], progress: float = 0.0, iteration: int = 0):
        self.tensors, self.progress, self.iteration = tensors, progress, iteration

    def __getattr__(self, name: str) -> Tensor:
        if name not in TermBatch.__annotations__:
            raise AttributeError(f"a batch of terms has no {name!r}; what a method's own parts bring is read as batch[{name!r}]")
        if name not in self.tensors:
            raise RunFailed(f"a term reads batch.{name}, which this loop was not asked for: a term names it in its `needs`")
        return self.tensors[name]

    def __getitem__(self, name: str) -> Tensor:
        if name in TermBatch.__annotations__:
            raise RunFailed(f"a term reads batch[{name!r}]: it is an attribute, batch.{name}")
        if name not in self.tensors:
            raise RunFailed(f"a term reads batch[{name!r}], which nothing brought: a term names it in its `needs`")
        return self.tensors[name]

    def __or__(self, others: Mapping[str, Tensor]) -> TermBatch:
        """The same batch with other tensors in the place of some."""
        return TermBatch({**self.tensors, **others}, self.progress, self.iteration)


class Term(Protocol):
    name: str
    needs: frozenset[str]

    def __call__(self, batch: TermBatch) -> Tensor: ...


def step_losses(terms: Sequence[Term], batch: TermBatch) -> list[Tensor]:
    """Each term's loss a step, of the mask's shape.

    Raises:
        RunFailed: a term gave something else.
    """
    losses = []
    weighted = batch | {"advantage": batch.advantage * batch[IMPORTANCE]} if IMPORTANCE in batch.tensors else batch
    for term in terms:
        weighed = getattr(term, "weighed", "advantage")
        loss = term(weighted if weighed == "advantage" else batch)
        if not isinstance(loss, Tensor) or loss.shape != batch.mask.shape:
            found = f"of shape {list(loss.shape)}" if isinstance(loss, Tensor) else f"that is {a_type(loss)}"
            raise RunFailed(f"term {part_name(term)} gave a loss {found}; the batch has {list(batch.mask.shape)}: one loss a step{place_of(term)}")
        if weighted is not batch and weighed != "advantage":
            loss = loss * (batch[IMPORTANCE] if weighed == "step" else batch[ANSWER_IMPORTANCE].unsqueeze(-1))
        losses.append(loss)
    return losses


@dataclass(frozen=True)
class ClippedRatio:
    """PPO's clipped surrogate (arXiv:1707.06347, eq. 7), with bounds of their own above and below; `anneal` lowers both linearly to 0 over training."""

    low: float = 0.2
    high: float = 0.2
    anneal: bool = field(default=False, kw_only=True)
    name: ClassVar[str] = "policy"
    needs: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, batch: TermBatch) -> Tensor:
        return ops.clipped_ratio_loss(batch.log_prob, batch.old_log_prob, batch.advantage, **self._bounds(batch))

    def clipped(self, batch: TermBatch) -> Tensor:
        return ops.ratio_clip_fraction(batch.log_prob, batch.old_log_prob, batch.advantage, **self._bounds(batch))

    def _bounds(self, batch: TermBatch) -> dict[str, float]:
        share = 1 - batch.progress if self.anneal else 1.0
        return {"clip_low": self.low * share, "clip_high": self.high * share}


@dataclass(frozen=True)
class Ratio:
    """The surrogate without a clip, `−ratio · A` (arXiv:1502.05477), for methods that hold the policy near the one that acted by other means."""

    name: ClassVar[str] = "policy"
    needs: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, batch: TermBatch) -> Tensor:
        return -ops.policy_ratio(batch.log_prob, batch.old_log_prob) * batch.advantage


@dataclass(frozen=True)
class ClippedSequenceRatio:
    """The clipped surrogate with one ratio an answer, normalised by length (GSPO, arXiv:2507.18071, eq. 5), for reduce="sequence-mean"."""

    clip_low: float = 3e-4
    clip_high: float = 4e-4
    name: ClassVar[str] = "policy"
    needs: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, batch: TermBatch) -> Tensor:
        log_ratio = ops.sequence_log_ratio(batch.log_prob, batch.old_log_prob, batch.mask)
        return ops.clipped_ratio_loss(log_ratio, log_ratio.new_zeros(()), batch.advantage, clip_low=self.clip_low, clip_high=self.clip_high)

    def clipped(self, batch: TermBatch) -> Tensor:
        log_ratio = ops.sequence_log_ratio(batch.log_prob, batch.old_log_prob, batch.mask)
        return ops.ratio_clip_fraction(log_ratio, log_ratio.new_zeros(()), batch.advantage, clip_low=self.clip_low, clip_high=self.clip_high)


@dataclass(frozen=True)
class ClippedImportance:
    """`−sg[clip(ratio)] · A · log π`: the clip bounds an importance weight and takes no token's gradient away (CISPO, arXiv:2506.13585, eq. 4)."""

    low: float = 1.0
    high: float = 4.0
    name: ClassVar[str] = "policy"
    needs: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, batch: TermBatch) -> Tensor:
        return ops.clipped_importance_loss(batch.log_prob, batch.old_log_prob, batch.advantage, clip_low=self.low, clip_high=self.high)

    def clipped(self, batch: TermBatch) -> Tensor:
        ratio = ops.policy_ratio(batch.log_prob.detach(), batch.old_log_prob)
        bounded = (ratio < 1 - self.low) | (ratio > 1 + self.high)  # a weight is bounded whatever the sign of what it weighs
        return (bounded & (batch.advantage != 0)).to(ratio.dtype)


@dataclass(frozen=True)
class WeightedLogLikelihood:
    """`−A · log π(a|s)`: maximum likelihood of drawn steps, weighted by what credit gives them."""

    name: ClassVar[str] = "policy"
    needs: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, batch: TermBatch) -> Tensor:
        return -batch.advantage * batch.log_prob


@dataclass(frozen=True)
class SquaredValueError:
    """`coefficient · (V(s) − return)²`."""

    coefficient: float = 0.5
    name: ClassVar[str] = "value"
    needs: ClassVar[frozenset[str]] = frozenset({"value"})

    def __call__(self, batch: TermBatch) -> Tensor:
        return self.coefficient * F.mse_loss(batch.value, batch.returns, reduction="none")


@dataclass(frozen=True)
class EntropyBonus:
    """`−coefficient · entropy` of the policy at each step."""

    coefficient: float = 0.01
    name: ClassVar[str] = "entropy"
    needs: ClassVar[frozenset[str]] = frozenset({"entropy"})

    def __call__(self, batch: TermBatch) -> Tensor:
        return -self.coefficient * batch.entropy


@dataclass(frozen=True)
class FadingEntropyBonus(EntropyBonus):
    """An entropy bonus whose coefficient falls as 1 / iteration, counted from 1."""

    def __call__(self, batch: TermBatch) -> Tensor:
        return super().__call__(batch) / (batch.iteration + 1)


@dataclass(frozen=True)
class KLToReference:
    """`coefficient` times a per-step estimate of KL(policy ‖ reference), in the loss.

    Args:
        estimator: "k1", "k2" or "k3". On policy and token by token, the gradient of k1 in a loss is zero in the mean; that of k2 is the reverse KL's with the
            distribution of prefixes held fixed, not the whole sequence's; that of k3 is the forward KL's in the same sense.
        importance_weight: multiply the estimate by the ratio to the policy that acted, with its gradient (DeepSeek-V3.2, arXiv:2512.02556). Its mean is then
            that of fresh answers after several updates too, and the gradient of k1 and of k3 is the reverse KL's, with prefixes held fixed. Of k2, whose own
            gradient is that already, the ratio is taken without its gradient (TRL has no k2). At a ratio of 1 the gradient of k3 is
            (log π − log reference) · ∇log π with it, and (1 − reference / π) · ∇log π without.
    """

    coefficient: float = 0.04
    estimator: Literal["k1", "k2", "k3"] = "k3"
    importance_weight: bool = False
    name: ClassVar[str] = "kl"
    needs: ClassVar[frozenset[str]] = frozenset({"reference_log_prob"})

    @property
    def weighed(self) -> str:
        return "step" if self.importance_weight else "advantage"

    def __call__(self, batch: TermBatch) -> Tensor:
        estimate = {"k1": ops.kl_k1, "k2": ops.kl_k2, "k3": ops.kl_k3}[self.estimator]
        loss = self.coefficient * estimate(batch.log_prob, batch.reference_log_prob)
        if not self.importance_weight:
            return loss
        ratio = ops.policy_ratio(batch.log_prob, batch.old_log_prob)
        return loss * (ratio.detach() if self.estimator == "k2" else ratio)


@dataclass(frozen=True, kw_only=True)
class KLWeighting:
    """What hyper-parameters with a KL to the reference in the loss have beside its coefficient."""

    kl_importance_weight: bool = False  # multiply a KL in the loss (beta above 0) by the ratio, as TRL does (its use_bias_correction_kl)


@dataclass(frozen=True)
class NegativeLogLikelihood:
    """`−log π(a|s)` of demonstrated actions or tokens."""

    name: ClassVar[str] = "negative_log_likelihood"
    needs: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, batch: TermBatch) -> Tensor:
        return -batch.log_prob
