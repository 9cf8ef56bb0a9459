"""Lp-Reg: rare tokens that the policy finds plausible are not pushed out by wrong answers; they carry exploration.

Paper: Huang et al. 2025, "Low-probability Tokens Sustain Exploration in Reinforcement Learning with Verifiable Reward", arXiv:2510.03222. Of the steps with a
negative advantage, the `share` of lowest probability whose token survives a min-p filter of the acting policy, and is less likely than in the filtered
and renormalised distribution, have the loss −A r + c k3(π, proxy) in the place of the clipped one, k3 = exp(d) − d − 1, d = log proxy − log π. All other steps
have GRPO's clipped loss with wide bounds; mean over tokens, no KL.
Settled on: the lowest share is that of the whole rollout under the policy that acted (the authors' code: of each micro-batch, under the present one), and at
least one step, so that a small batch does not switch the term off without a word as it does there. k3 is not cut at 10. The clip is 1.0 below, which is none,
and 9 above. On fresh answers d is −log of the mass that the filter keeps, so that k3 pulls only as hard as there is mass filtered out; it grows as the policy
moves away from the one that acted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from operant import ops
from operant.core.records import Rollout
from operant.core.registry import NonNegative, Positive, Range, Share, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio, TermBatch
from operant.worlds.plans import Groups

PositiveShare = Annotated[float, Range(0, 1, open_low=True)]


@dataclass(frozen=True)
class LpReg(GroupSettings):
    group_size: Annotated[int, Range(2)] = 8  # answers a prompt
    kappa: Share = 0.02  # tokens less likely than this share of the likeliest are noise and not protected
    share: PositiveShare = 0.01  # of the steps with a negative advantage, the least likely ones that may be protected
    coefficient: NonNegative = 1.0  # weight of the KL to the filtered distribution
    clip_low: Positive = 1.0  # how far the ratio may fall below 1; 1 sets no bound
    clip_high: Positive = 9.0  # how far it may rise above 1


@method("lp-reg", name="Lp-Reg", family="rlvr", paper="arXiv:2510.03222", worlds=("text", "sequences"))
def lp_reg(h: LpReg) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(ops.group_normalized_advantage),
        mark=[RarePushedDown(h.share)],
        terms=[ProtectedRatio(h.clip_low, h.clip_high, h.coefficient, h.kappa)],
        reduce="token-mean",
        **h.updates,
    )


@dataclass(frozen=True)
class RarePushedDown:
    """Marks as "rare" the least likely steps among those whose advantage is negative.

    Args:
        share: of those steps, above 0.
    """

    share: float

    def __call__(self, rollout: Rollout) -> dict[str, Tensor]:
        return {"rare": ops.top_share(-rollout.log_prob, rollout.mask & (rollout.extras["advantage"] < 0), self.share)}


@dataclass(frozen=True)
class ProtectedRatio(ClippedRatio):
    """The clipped surrogate, and for rare steps below their proxy the unclipped one with `coefficient · k3(π, proxy)`.

    Args:
        coefficient: of k3.
        kappa: of the proxy (`ops.min_p_log_prob` of the policy that acted).
    """

    coefficient: float = 1.0
    kappa: float = 0.02
    needs: ClassVar[frozenset[str]] = frozenset({"rare"})
    fresh: ClassVar[bool] = True

    @property
    def old_statistics(self) -> dict[str, Any]:
        return {"proxy_log_prob": partial(ops.min_p_log_prob, kappa=self.kappa)}

    def __call__(self, batch: TermBatch) -> Tensor:
        log_prob, proxy, kept = batch.log_prob, batch["proxy_log_prob"], self._kept(batch)
        # Elsewhere the divergence is that of the policy from itself: 0, as is its gradient.
        divergence = ops.kl_k3(log_prob, torch.where(kept, proxy, log_prob.detach()))
        surrogate = -ops.policy_ratio(log_prob, batch.old_log_prob) * batch.advantage
        return torch.where(kept, surrogate + self.coefficient * divergence, super().__call__(batch))

    def clipped(self, batch: TermBatch) -> Tensor:
        return super().clipped(batch).masked_fill(self._kept(batch), 0.0)

    def _kept(self, batch: TermBatch) -> Tensor:
        return batch["rare"] & (batch.log_prob.detach() < batch["proxy_log_prob"])
