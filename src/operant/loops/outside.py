"""Learning from answers that the policy did not draw: which rows they are, and the objectives that are for them alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from operant import ops
from operant.core.records import Rollout
from operant.loops.terms import TermBatch


def outside_answers(rollout: Rollout) -> dict[str, Tensor]:
    """The steps of given answers, `[S, N, T]`: a `mark`, for terms `over` them. With their "given_log_prob" where an iteration has no given answer."""
    outside = rollout.extras.get("outside", torch.zeros_like(rollout.group, dtype=torch.bool)).unsqueeze(-1)
    given = {} if "given_log_prob" in rollout.extras else {"given_log_prob": torch.zeros_like(rollout.log_prob)}
    return {"outside_answers": rollout.mask & outside} | given


def own_answers(rollout: Rollout) -> Tensor:
    """The steps of drawn answers, `[S, N, T]`: a `focus`, behind the mark `outside_answers`."""
    return rollout.mask & ~rollout.extras["outside_answers"]


def uniform_log_prob(logits: Tensor, token: Tensor) -> Tensor:
    """log(1 / V) for each token, `[R]`: a statistic, for what is assumed of an unknown writer."""
    return torch.full(token.shape, -float(torch.log(torch.tensor(float(logits.shape[-1])))), dtype=logits.dtype, device=logits.device)


@dataclass(frozen=True)
class MixedImportance:
    """Unclipped policy gradient on given answers, by the balance-heuristic ratio and by how unlikely each token is (RL-PLUS, arXiv:2508.00222).

    Args:
        gamma: exponent of the exploration weight.
    """

    gamma: float = 1.0
    name: ClassVar[str] = "outside"
    over: ClassVar[str] = "outside_answers"
    needs: ClassVar[frozenset[str]] = frozenset()
    old_statistics: ClassVar[dict] = {"uniform_log_prob": uniform_log_prob}

    def __call__(self, batch: TermBatch) -> Tensor:
        behaviour = ops.assumed_behaviour_log_prob(batch.old_log_prob, batch["uniform_log_prob"])
        ratio = ops.mixed_importance_ratio(batch.log_prob, batch.old_log_prob, behaviour)
        return -ratio * batch.advantage * ops.exploration_weight(batch.log_prob, gamma=self.gamma)


@dataclass(frozen=True)
class RehearsalDivergence:
    """`coefficient · f(π / π₀)` at each token of rehearsed answers, which the starting policy π₀ drew (DPH-RL, arXiv:2509.07430)."""

    coefficient: float
    kind: Literal["forward-kl", "js", "alpha"] = "forward-kl"
    alpha: float = 0.2
    name: ClassVar[str] = "rehearsal"
    over: ClassVar[str] = "outside_answers"
    needs: ClassVar[frozenset[str]] = frozenset({"given_log_prob"})

    def __call__(self, batch: TermBatch) -> Tensor:
        log_ratio = (batch.log_prob - batch["given_log_prob"]) * batch["outside_answers"]
        return self.coefficient * ops.f_generator(log_ratio, kind=self.kind, alpha=self.alpha)
