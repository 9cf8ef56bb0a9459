"""Credit: from a scored rollout to an advantage a step, `[S, N, T]`.

A credit is any callable `(rollout) → [S, N, T]`. Its optional attributes `needs` and `statistics` say what the loop must put into `rollout.extras` first (see
`loops.parts`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from operant import ops
from operant.core.random import Streams
from operant.core.records import Rollout
from operant.core.status import Status


class LearnedCredit:
    """A credit that has something of its own to learn, such as a critic that is trained apart from the policy. Its state is saved with the run's.

    Attributes:
        metrics: what a person wants to see of its newest call, `[S]` by name.
    """

    metrics: dict[str, Tensor] = {}

    def begin(self, policy: Any, streams: Streams) -> None:
        """Make what is learned, before the first call.

        Args:
            policy: what acts.
            streams: the run's; draws take names of their own.
        """
        raise NotImplementedError

    def __call__(self, rollout: Rollout) -> Tensor:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class GAE:
    """Generalised advantage estimation (arXiv:1506.02438, eq. 16)."""

    gamma: float = 0.99
    lam: float = 0.95
    needs: ClassVar[frozenset[str]] = frozenset({"value"})

    def __call__(self, rollout: Rollout) -> Tensor:
        extras = rollout.extras
        return ops.gae(rollout.reward, extras["value"], extras["next_value"], rollout.terminated, rollout.truncated, gamma=self.gamma, lam=self.lam)


@dataclass(frozen=True)
class TokenGAE:
    """GAE over the tokens of answers.

    An answer is over at its last token, be that an end token or the limit. One that is still being written bootstraps by `ops.extended_gae`.
    """

    gamma: float = 1.0
    lam: float = 0.95
    needs: ClassVar[frozenset[str]] = frozenset({"value"})

    def __call__(self, rollout: Rollout) -> Tensor:
        extras = rollout.extras
        last = rollout.terminated | rollout.truncated
        going = last & extras["unfinished"].unsqueeze(-1) if "unfinished" in extras else torch.zeros_like(last)
        return ops.extended_gae(rollout.reward, extras["value"], extras["next_value"], last & ~going, going, gamma=self.gamma, lam=self.lam)


@dataclass(frozen=True)
class Grouped:
    """One advantage a row, from the scores of the rows that share its group.

    Args:
        advantage: `(score [G, K], mask [G, K], *measured [G, K]) → [G, K]`, an op or any plain callable, over all groups of a seed's batch; `mask` is False
            where a group has fewer members, and at rows that are not scored (see `scored`).
        measures: further numbers a row, `(rollout) → [S, N]`, which `advantage` is given in this order. What one `needs`, the loop provides.
    """

    advantage: Callable[..., Tensor]
    measures: Sequence[Callable[[Rollout], Tensor]] = ()

    @property
    def needs(self) -> frozenset[str]:
        return frozenset().union(*(getattr(measure, "needs", frozenset()) for measure in self.measures))

    def __call__(self, rollout: Rollout) -> Tensor:
        rows = rollout.reward.sum(-1)
        among = scored(rollout)
        measured = [measure(rollout) for measure in self.measures]
        result = torch.zeros_like(rows)
        for seed in range(len(rows)):
            groups = Grouping(rollout.group[seed])
            score, mask = groups.pack(rows[seed]), groups.pack(among[seed])
            advantage = self.advantage(score, mask, *(groups.pack(value[seed]) for value in measured))
            if not isinstance(advantage, Tensor) or advantage.shape != score.shape:
                found = list(advantage.shape) if isinstance(advantage, Tensor) else type(advantage).__name__
                name = getattr(self.advantage, "__name__", repr(self.advantage))
                raise ValueError(f"advantage {name} gave {found} for scores of shape {list(score.shape)}")
            result[seed] = groups.unpack(advantage).to(result.dtype)
        return result.unsqueeze(-1) * rollout.mask


@dataclass(frozen=True)
class GroupedTurns:
    """One advantage a turn, from the rewards of all turns of the rows that share its group.

    Args:
        advantage: `(reward [G, K, M], mask [G, K, M]) → [G, K, M]`, an op or any plain callable, over all groups of a seed's batch; `mask` is False where a row
            has fewer turns, a group fewer rows, and at rows that are not scored (see `scored`). The reward of a turn is the sum over its tokens.
    """

    advantage: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, rollout: Rollout) -> Tensor:
        turn, mask = rollout.extras.get("turn", torch.zeros_like(rollout.action)), rollout.mask
        turns = int(turn.max()) + 1
        reward = ops.turn_sums(rollout.reward, turn, turns)
        among = (ops.turn_sums(mask.to(reward.dtype), turn, turns) > 0) & scored(rollout).unsqueeze(-1)
        result = torch.zeros_like(rollout.reward)
        for seed in range(len(turn)):
            groups = Grouping(rollout.group[seed])
            advantage = self.advantage(groups.pack(reward[seed]), groups.pack(among[seed]))
            result[seed] = groups.unpack(advantage).to(result.dtype).gather(-1, turn[seed])
        return result * mask


class Grouping:
    """Which rows of one seed belong together, as a table of G groups with up to K members.

    Args:
        group: number of each row's group, `[N]` int64, in any order.
    """

    def __init__(self, group: Tensor):
        _, number = group.unique(return_inverse=True)
        self._order = torch.argsort(number, stable=True)
        sizes = torch.bincount(number)
        self._row = number[self._order]
        self._place = torch.arange(len(group), device=group.device) - (sizes.cumsum(0) - sizes)[self._row]
        self.shape = (len(sizes), int(sizes.max()))

    def pack(self, x: Tensor) -> Tensor:
        """`[N, …]` as `[G, K, …]`; 0 or False where a group has fewer members. Differentiable."""
        return x.new_zeros(*self.shape, *x.shape[1:]).index_put((self._row, self._place), x[self._order])

    def unpack(self, x: Tensor) -> Tensor:
        """`[G, K, …]` as `[N, …]`. Differentiable."""
        return torch.empty_like(x[self._row, self._place]).index_put((self._order,), x[self._row, self._place])


def scored(rollout: Rollout) -> Tensor:
    """Rows whose score counts in their group, `[S, N]` bool: their scoring did not fail, their answer is not still being written, and they are no probe."""
    among = rollout.status == int(Status.OK)
    for name in ("unfinished", "probe"):
        if name in rollout.extras:
            among = among & ~rollout.extras[name]
    return among & rollout.mask.any(-1)
