"""Credit: from a scored rollout to an advantage a step, `[S, N, T]`.

A credit is any callable `(rollout) → [S, N, T]`. Its optional attribute `needs` names what the loop must compute
first: "value" (then `rollout.extras` holds `value` and
`next_value`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from operant import ops
from operant.core.records import Rollout


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
class Grouped:
    """One advantage a row, from the scores of the rows that share its group.

    Args:
        advantage: `(score [G, K], mask [G, K]) → [G, K]`, an op or any plain callable; `mask` is False where a group has fewer members, or one whose scoring
        failed.
    """

    advantage: Callable[..., Tensor]
    needs: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, rollout: Rollout) -> Tensor:
        rows = rollout.reward.sum(-1)
        scored = rollout.mask.any(-1)
        result = torch.zeros_like(rows)
        for seed in range(len(rows)):
            _, group = rollout.group[seed].unique(return_inverse=True)
            order = torch.argsort(group, stable=True)
            sizes = torch.bincount(group)
            place = torch.arange(len(order), device=order.device) - (sizes.cumsum(0) - sizes)[group[order]]
            score = rows.new_zeros(len(sizes), int(sizes.max()))
            mask = torch.zeros(score.shape, dtype=torch.bool, device=score.device)
            score[group[order], place] = rows[seed, order]
            mask[group[order], place] = scored[seed, order]
            advantage = self.advantage(score, mask)
            if not isinstance(advantage, Tensor) or advantage.shape != score.shape:
                found = list(advantage.shape) if isinstance(advantage, Tensor) else type(advantage).__name__
                name = getattr(self.advantage, "__name__", repr(self.advantage))
                raise ValueError(f"advantage {name} gave {found} for scores of shape {list(score.shape)}")
            result[seed, order] = advantage[group[order], place].to(result.dtype)
        return result.unsqueeze(-1) * rollout.mask
