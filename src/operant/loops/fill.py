"""Filling a batch: groups that teach nothing are left out, and the policy samples again until the batch is full."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from operant.core.errors import BadInput
from operant.core.records import Rollout, join_rollouts
from operant.loops.credit import Grouping, scored


@dataclass(frozen=True)
class Fill:
    """Which groups are kept, and how long the loop goes on sampling for them (dynamic sampling, DAPO, arXiv:2503.14476, section 3.2).

    All that is sampled counts as spent, kept or not. Seeds that are stacked sample as many rounds as the one that needs most.

    Attributes:
        accept: `(rollout) → bool [S, N]`, alike for all rows of a group.
        rounds: most times that the plan is carried out in an iteration; with too few groups after them, the update is made from those there are.
    """

    accept: Callable[[Rollout], Tensor]
    rounds: int = 4

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise BadInput(f"fill: rounds={self.rounds} must be 1 or more; nearest: 1")

    @property
    def parts(self) -> tuple[Any, ...]:
        return (self.accept,)

    def kept(self, rollouts: list[Rollout], accepted: list[Tensor], wanted: int) -> tuple[Rollout, Tensor]:
        """All rounds in one rollout, and how many groups of each seed were accepted, `[S]`, at most `wanted`.

        Args:
            rollouts, accepted: each round, and what `accept` said of it.
            wanted: groups.

        Rows outside the first `wanted` accepted groups are dropped; where seeds are stacked, they are masked and made probes.
        """
        accepted = torch.cat(accepted, 1)
        whole = join_rollouts(_numbered(rollouts))
        keep = torch.zeros_like(accepted)
        count = torch.zeros(len(accepted))
        for seed in range(len(accepted)):
            groups = whole.group[seed]
            first = list(dict.fromkeys(groups[accepted[seed]].tolist()))[:wanted]
            count[seed] = len(first)
            keep[seed] = torch.isin(groups, torch.tensor(first, dtype=groups.dtype, device=groups.device))
        if len(keep) == 1:
            return whole.take(keep[0].nonzero().squeeze(1)), count
        whole.mask = whole.mask & keep.unsqueeze(-1)
        whole.extras["probe"] = ~keep | whole.extras.get("probe", torch.zeros_like(keep))
        return whole, count


def _numbered(rollouts: list[Rollout]) -> list[Rollout]:
    """The rounds with group numbers that no two of them share, where the world counts groups from 0 in every round."""
    for before, after in zip(rollouts, rollouts[1:], strict=False):
        if bool(torch.isin(after.group, before.group).any()):
            after.group = after.group + int(before.group.max()) + 1 - int(after.group.min())
    return rollouts


def mixed_groups(rollout: Rollout) -> Tensor:
    """Rows of groups whose scores are not all the same, `[S, N]`: the groups that a group-relative advantage can learn from."""
    return group_statistic(rollout, lambda score, mask: _range(score, mask) > 0)


def group_statistic(rollout: Rollout, statistic: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """A statistic of each group's scores at each of its rows, `[S, N]`.

    Args:
        statistic: `(score [G, K], mask [G, K]) → [G]`; members that are not scored have mask False.
    """
    rows, among = rollout.reward.sum(-1), scored(rollout)
    found = []
    for seed in range(len(rows)):
        groups = Grouping(rollout.group[seed])
        value = statistic(groups.pack(rows[seed]), groups.pack(among[seed]))
        found.append(groups.unpack(value.unsqueeze(1).expand(groups.shape)))
    return torch.stack(found)


def _range(score: Tensor, mask: Tensor) -> Tensor:
    """Largest less smallest score of a group, 0 where none counts."""
    high = score.masked_fill(~mask, -torch.inf).amax(1)
    low = score.masked_fill(~mask, torch.inf).amin(1)
    return (high - low).clamp(min=0).masked_fill(~mask.any(1), 0.0)


@dataclass(frozen=True)
class AccuracyWindow:
    """Rows of groups whose mean score lies between two bounds, both included, `[S, N]` (online difficulty filtering, arXiv:2504.03380)."""

    low: float = 0.25
    high: float = 0.75

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise BadInput(f"accuracy window: low={self.low} is above high={self.high}; nearest: {self.high}")

    def __call__(self, rollout: Rollout) -> Tensor:
        def inside(score: Tensor, mask: Tensor) -> Tensor:
            mean = (score * mask).sum(1) / mask.sum(1).clamp(min=1)
            return (mean >= self.low) & (mean <= self.high) & mask.any(1)

        return group_statistic(rollout, inside)


class SpreadFilter:
    """Rows of groups whose scores differ enough, `[S, N]`: their standard deviation is at least `share` of its moving average.

    Source: RLPR, arXiv:2506.18254 The average is over groups and iterations, with the decay 0.99; it begins at the sixth round, and the filter
        at the eleventh.
    """

    DECAY, AVERAGE_FROM, FILTER_FROM = 0.99, 6, 11

    def __init__(self, share: float):
        self.share = share
        self._round = 0
        self._average: Tensor | None = None  # [S]

    def __call__(self, rollout: Rollout) -> Tensor:
        deviation = group_statistic(rollout, _deviation)
        self._round += 1
        if self._round >= self.AVERAGE_FROM:
            mean = deviation.mean(-1)
            self._average = mean if self._average is None else self.DECAY * self._average + (1 - self.DECAY) * mean
        if self._round < self.FILTER_FROM:
            return torch.ones_like(rollout.group, dtype=torch.bool)
        return deviation >= self.share * self._average.unsqueeze(-1)

    def state_dict(self) -> dict:
        return {"round": self._round, "average": self._average}

    def load_state_dict(self, state: dict) -> None:
        self._round, self._average = state["round"], state["average"]


def _deviation(score: Tensor, mask: Tensor) -> Tensor:
    """Population standard deviation of each group's scores, `[G]`."""
    count = mask.sum(1).clamp(min=1)
    mean = (score * mask).sum(1) / count
    return (((score - mean.unsqueeze(1)) * mask).square().sum(1) / count).sqrt()
