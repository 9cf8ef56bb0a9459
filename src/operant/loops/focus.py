"""Which steps are learned from, once credit is given: callables `(rollout) → mask [S, N, T]`, which see `rollout.extras["advantage"]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from operant import ops
from operant.core.records import Rollout


@dataclass(frozen=True)
class MostVaryingRows:
    """The rows, of all groups together, whose advantages vary most (`ops.max_variance_subset`); at least two.

    Args:
        start, end: share of the rows at the beginning and at the end of training, 0 to 1; linear between them.
    """

    start: float
    end: float

    def __call__(self, rollout: Rollout) -> Tensor:
        among = rollout.mask.any(-1)
        count = (_between(self, rollout) * among.sum(-1)).round().long().clamp(min=2)
        advantage = ops.row_mean(rollout.extras["advantage"], rollout.mask).squeeze(-1)
        return rollout.mask & ops.max_variance_subset(advantage, among, count).unsqueeze(-1)


@dataclass(frozen=True)
class TopTokens:
    """The steps with the largest product of the advantage's magnitude and the policy's entropy, of all rows together (`ops.top_share`).

    Args:
        start, end: share of the steps at the beginning and at the end of training, 0 to 1; linear between them.
    """

    start: float
    end: float
    needs: ClassVar[frozenset[str]] = frozenset({"entropy"})

    def __call__(self, rollout: Rollout) -> Tensor:
        return ops.top_share(rollout.extras["advantage"].abs() * rollout.extras["entropy"], rollout.mask, _between(self, rollout))


def _between(schedule: MostVaryingRows | TopTokens, rollout: Rollout) -> float:
    return schedule.start + (schedule.end - schedule.start) * rollout.progress
