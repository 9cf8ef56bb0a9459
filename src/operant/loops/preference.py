"""Terms on pairs of answers, of which one is preferred, for `loops.pairs.Preferences`.

The rows of a pair stand side by side, the preferred one in front; with `reduce="sequence-mean"` the loss is the mean over pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from operant import ops
from operant.loops.terms import TermBatch


def by_pairs(x: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers a row `[S, 2B]` of the preferred answers and of the others, `[S, B]` each."""
    return x.unflatten(1, (-1, 2)).unbind(2)


def at_rows(x: Tensor, batch: TermBatch) -> Tensor:
    """Numbers a pair `[S, B]` at every step of both of its rows."""
    return x.repeat_interleave(2, 1).unsqueeze(-1).expand(batch.mask.shape)


@dataclass(frozen=True)
class PreferredLogRatio:
    """A loss on the log-ratios of both answers to the reference, log π(y|x) − log π_ref(y|x), each the sum over the answer's steps.

    Args:
        loss: `(chosen [S, B], rejected [S, B]) → [S, B]`, an op over pairs.
        beta: what a nat is worth, for the rewards that are told: "reward_margin", and "preferred", how often the preferred answer has the larger one.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    beta: float
    name: ClassVar[str] = "preference"
    needs: ClassVar[frozenset[str]] = frozenset({"reference_log_prob"})

    def __call__(self, batch: TermBatch) -> Tensor:
        return at_rows(self.loss(*self._log_ratios(batch)), batch)

    def tells(self, batch: TermBatch) -> dict[str, Tensor]:
        return _told(*(self.beta * log_ratio for log_ratio in self._log_ratios(batch)), batch)

    @staticmethod
    def _log_ratios(batch: TermBatch) -> tuple[Tensor, Tensor]:
        return by_pairs(ops.row_sum(batch.log_prob - batch.reference_log_prob, batch.mask).squeeze(-1))


@dataclass(frozen=True)
class PreferredReward:
    """The Bradley-Terry cross-entropy of a reward model (`ops.bradley_terry_loss`)."""

    label_smoothing: float = 0.0
    name: ClassVar[str] = "preference"
    needs: ClassVar[frozenset[str]] = frozenset({"reward"})

    def __call__(self, batch: TermBatch) -> Tensor:
        return at_rows(ops.bradley_terry_loss(*by_pairs(batch.reward), label_smoothing=self.label_smoothing), batch)

    def tells(self, batch: TermBatch) -> dict[str, Tensor]:
        return _told(*by_pairs(batch.reward), batch)


def _told(chosen: Tensor, rejected: Tensor, batch: TermBatch) -> dict[str, Tensor]:
    margin = chosen - rejected
    return {"reward_margin": at_rows(margin, batch), "preferred": at_rows((torch.sign(margin) + 1) / 2, batch)}
