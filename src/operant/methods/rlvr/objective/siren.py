"""SIREN: entropy is held where it began, and only where it matters: over plausible tokens, at the positions that are most uncertain.

Paper: Jiang et al. 2025, "Rethinking Entropy Regularization in Large Reasoning Models", arXiv:2509.25133. GRPO (clip 0.2 below, 0.28 above, no KL) and c (H̄ −
H_anchor)². H̄ is the mean of the nucleus entropy (`ops.nucleus_entropy`) over the positions at or above its 0.8-quantile; H_anchor is H̄ of the first iteration.
Settled on: quantile and H̄ are those of the whole rollout under the policy that acted, and the square is expanded about it, c d (d + 2 (H_t − H_t,old)) at each
peak position with d = H̄ − H_anchor: value and gradient are those of the square at the first update after sampling, and no micro-batch changes them. The
authors' code takes quantile and square in each micro-batch, and divides by the padded length; here the divisor is the number of peak positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from operant import ops
from operant.core.records import Rollout
from operant.core.registry import NonNegative, Positive, Share, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio, TermBatch
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class SIREN(GroupSettings):
    top_p: Share = 0.8  # cumulative probability of the tokens whose entropy counts
    peak_quantile: Share = 0.8  # positions at or above this quantile of the entropy are held
    anchor_coefficient: NonNegative = 0.005  # weight of the squared distance to the first iteration's entropy, 1/nats²
    clip_low: Positive = 0.2  # how far the ratio may fall below 1 where the advantage is negative
    clip_high: Positive = 0.28  # how far it may rise above 1 where the advantage is positive


@method("siren", family="rlvr", paper="arXiv:2509.25133", worlds=("text", "sequences"))
def siren(h: SIREN) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(ops.group_normalized_advantage),
        mark=[PeakEntropy(h.top_p, h.peak_quantile)],
        terms=[ClippedRatio(h.clip_low, h.clip_high), AnchoredEntropy(h.anchor_coefficient, h.top_p)],
        reduce="token-mean",
        **h.updates,
    )


def token_nucleus_entropy(logits: Tensor, token: Tensor, *, top_p: float) -> Tensor:
    """`ops.nucleus_entropy` as a statistic."""
    return ops.nucleus_entropy(logits, top_p=top_p)


class PeakEntropy:
    """Marks the most uncertain steps: "peak", "peak_entropy" (before the update), and "entropy_gap", H̄ less its anchor.

    The anchor of a seed is its first iteration's H̄ and is kept.
    """

    def __init__(self, top_p: float, quantile: float):
        self.quantile = quantile
        self.statistics = {"nucleus_entropy": partial(token_nucleus_entropy, top_p=top_p)}
        self._anchor: Tensor | None = None  # [S], NaN where no step was seen yet

    def __call__(self, rollout: Rollout) -> dict[str, Tensor]:
        entropy, mask = rollout.extras["nucleus_entropy"], rollout.mask
        threshold = entropy.masked_fill(~mask, torch.nan).flatten(1).nanquantile(self.quantile, 1).view(-1, 1, 1)
        peak = mask & (entropy >= threshold)
        mean = ops.row_mean(entropy.flatten(1), peak.flatten(1)).squeeze(1).masked_fill(~peak.flatten(1).any(1), torch.nan)
        self._anchor = mean if self._anchor is None else torch.where(self._anchor.isnan(), mean, self._anchor)
        gap = (mean - self._anchor).nan_to_num()
        return {"peak": peak, "peak_entropy": entropy, "entropy_gap": gap.view(-1, 1, 1).expand(mask.shape)}

    def state_dict(self) -> dict[str, Any]:
        return {"anchor": self._anchor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._anchor = state["anchor"]


@dataclass(frozen=True)
class AnchoredEntropy:
    """`coefficient · (H̄ − H_anchor)²` over the steps that `PeakEntropy` marked, expanded about the policy that acted."""

    coefficient: float
    top_p: float
    name: ClassVar[str] = "entropy_anchor"
    over: ClassVar[str] = "peak"
    needs: ClassVar[frozenset[str]] = frozenset({"peak_entropy", "entropy_gap"})

    @property
    def statistics(self) -> dict[str, Any]:
        return {"nucleus_entropy": partial(token_nucleus_entropy, top_p=self.top_p)}

    def __call__(self, batch: TermBatch) -> Tensor:
        gap = batch["entropy_gap"]
        return self.coefficient * gap * (gap + 2 * (batch["nucleus_entropy"] - batch["peak_entropy"]))
