"""Rewards made from rewards, before credit: callables `(rollout) → reward [S, N, T]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from operant import ops
from operant.core.records import Rollout


@dataclass(frozen=True)
class KLInReward:
    """`reward − coefficient · KL estimate` at every chosen step, the estimate being of the policy that acted against the reference (RLHF's token penalty).

    With k1, returns of these rewards give the gradient of the whole sequence's reverse KL; k2 and k3 in a reward are another penalty.
    """

    coefficient: float = 0.001
    estimator: Literal["k1", "k2", "k3"] = "k1"
    needs: ClassVar[frozenset[str]] = frozenset({"reference_log_prob"})

    def __call__(self, rollout: Rollout) -> Tensor:
        estimate = {"k1": ops.kl_k1, "k2": ops.kl_k2, "k3": ops.kl_k3}[self.estimator]
        penalty = estimate(rollout.log_prob, rollout.extras["reference_log_prob"])
        return rollout.reward - self.coefficient * penalty.masked_fill(~rollout.mask, 0.0)
