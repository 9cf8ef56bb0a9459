"""COPO: prompts whose answers all agree still teach, by how the prompt as a whole did beside the batch's others.

Paper: Han et al. 2025, arXiv:2508.04138. Two clipped losses on the same answers: local, with GRPO's advantage, and global, with the prompt's mean reward
standardised over the batch's prompts. They are mixed for each prompt by the entropy H of its distinct final answers: w · local + (1 − w) · global,
w = σ(gamma (H − rho)); agreement gives weight to the global loss.
Settled on: H in bits, gamma 20 and rho 0.5, as in the authors' scripts (the paper's normalisation of H could not be checked); KL off by default.
The losses are mixed, not the advantages. min(r A, clip(r) A) may be multiplied by any w ≥ 0, inside or outside, so each loss takes its weight into its
advantage. But it is not additive: with A = 1 and A = −1 and r = 1.5, clip 0.2, half of each loss sums to 0.15 with slope 0.5, and the loss of the mixed
advantage, 0, is 0. The two agree wherever the ratio is within the clip, thus at the first optimiser step of a batch, and wherever both advantages have the
same sign.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from operant import ops
from operant.core.records import Rollout
from operant.core.registry import NonNegative, Positive, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio, KLToReference, KLWeighting, TermBatch
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class COPO(KLWeighting, GroupSettings):
    gamma: Positive = 20.0  # how sharply the weight turns with the entropy, a bit
    rho: NonNegative = 0.5  # bits of answer entropy at which both losses weigh alike
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut
    beta: NonNegative = 0.0  # weight of the KL to the base policy


def answers(rollout: Rollout) -> Tensor:
    """Number of the row's final answer, `[S, N]`."""
    return rollout.extras["answer"]


@dataclass(frozen=True)
class ConsistencyBlend:
    """The local advantage times w; its `mark` gives the global one times 1 − w, "global_advantage"."""

    gamma: float
    rho: float
    needs: ClassVar[frozenset[str]] = frozenset({"answer"})

    def __call__(self, rollout: Rollout) -> Tensor:
        return Grouped(self._local, measures=[answers])(rollout)

    def mark(self, rollout: Rollout) -> dict[str, Tensor]:
        return {"global_advantage": Grouped(self._global, measures=[answers])(rollout)}

    def local_weight(self, answer: Tensor, mask: Tensor) -> Tensor:
        """w of each group, 0 to 1, `[G, 1]`."""
        bits = ops.answer_entropy(answer, mask) / math.log(2)
        return (self.gamma * (bits - self.rho)).sigmoid()

    def _local(self, score: Tensor, mask: Tensor, answer: Tensor) -> Tensor:
        return self.local_weight(answer, mask) * ops.group_normalized_advantage(score, mask)

    def _global(self, score: Tensor, mask: Tensor, answer: Tensor) -> Tensor:
        return (1 - self.local_weight(answer, mask)) * ops.group_mean_advantage(score, mask)


@dataclass(frozen=True)
class GlobalClippedRatio:
    """The clipped surrogate of the global advantage."""

    low: float
    high: float
    name: ClassVar[str] = "global_policy"
    needs: ClassVar[frozenset[str]] = frozenset({"global_advantage"})
    weighed: ClassVar[str] = "step"

    def __call__(self, batch: TermBatch) -> Tensor:
        return ops.clipped_ratio_loss(batch.log_prob, batch.old_log_prob, batch["global_advantage"], clip_low=self.low, clip_high=self.high)

    def clipped(self, batch: TermBatch) -> Tensor:
        return ops.ratio_clip_fraction(batch.log_prob, batch.old_log_prob, batch["global_advantage"], clip_low=self.low, clip_high=self.high)


@method("copo", family="rlvr", paper="arXiv:2508.04138", worlds=("text", "sequences"))
def copo(h: COPO) -> PolicyGradient:
    blend = ConsistencyBlend(h.gamma, h.rho)
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=blend,
        mark=[blend.mark],
        terms=[ClippedRatio(h.clip, h.clip), GlobalClippedRatio(h.clip, h.clip), *([KLToReference(h.beta, "k3", h.kl_importance_weight)] if h.beta else [])],
        reduce="sequence-mean",
        **h.updates,
    )
