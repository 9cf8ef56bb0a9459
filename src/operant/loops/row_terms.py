"""Terms that give one number a row, the same at each of its steps: with `reduce="sequence-mean"` the loss is their mean over rows.

Those that couple the rows of a group need `unit="group"` too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from operant import ops
from operant.loops.terms import TermBatch


@dataclass(frozen=True)
class ClippedAnswerRatio:
    """The clipped surrogate with one ratio an answer, π(y|x) / π_old(y|x), as TRL's RLOO has it: all of an answer's tokens are one action."""

    low: float = 0.2
    high: float = 0.2
    name: ClassVar[str] = "policy"
    needs: ClassVar[frozenset[str]] = frozenset()
    weighed: ClassVar[str] = "answer"

    def __call__(self, batch: TermBatch) -> Tensor:
        log_ratio, advantage = row_log_ratio(batch).unsqueeze(-1), ops.row_mean(batch.advantage, batch.mask)
        loss = ops.clipped_ratio_loss(log_ratio, log_ratio.new_zeros(()), advantage, clip_low=self.low, clip_high=self.high)
        return loss.expand(batch.mask.shape)

    def clipped(self, batch: TermBatch) -> Tensor:
        log_ratio, advantage = row_log_ratio(batch).unsqueeze(-1), ops.row_mean(batch.advantage, batch.mask)
        clipped = ops.ratio_clip_fraction(log_ratio, log_ratio.new_zeros(()), advantage, clip_low=self.low, clip_high=self.high)
        return clipped.expand(batch.mask.shape)


@dataclass(frozen=True)
class GroupedLogRatio:
    """A loss on the log-ratios of a group's answers, log π(y|x) − log π_old(y|x), each the sum over the answer's steps.

    Args:
        loss: `(log_ratio [..., K], target [..., K], mask [..., K]) → [..., K]`, an op over the members of a group; `mask` is False where there is none.
        target: what the log-ratios are fitted to: the row's "score" (its reward), or its "advantage" (the mean over its steps, which all have the same).
    """

    loss: Callable[[Tensor, Tensor, Tensor], Tensor]
    target: Literal["score", "advantage"]
    name: str = "policy"
    weighed: ClassVar[str] = "never"  # log-ratios are fitted to targets, against each other

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"score"} if self.target == "score" else ())

    def __call__(self, batch: TermBatch) -> Tensor:
        mask, group = batch.mask, batch.group
        log_ratio = row_log_ratio(batch)
        target = batch.score if self.target == "score" else ops.row_mean(batch.advantage, mask).squeeze(-1)
        # Each row's group is a row of a table of all rows, so that nothing is read by the host; its own place in it is on the diagonal.
        together = (group.unsqueeze(-1) == group.unsqueeze(-2)) & mask.any(-1).unsqueeze(-2)
        table = self.loss(log_ratio.unsqueeze(-2).expand(together.shape), target.unsqueeze(-2).expand(together.shape), together)
        return table.diagonal(dim1=-2, dim2=-1).unsqueeze(-1).expand(mask.shape)


def row_log_ratio(batch: TermBatch) -> Tensor:
    """Log-ratio of each row's chosen steps together, `[S, n]` nats, with gradient."""
    return ops.row_sum(batch.log_prob - batch.old_log_prob, batch.mask).squeeze(-1)
