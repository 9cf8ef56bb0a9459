"""HAPO: every token is treated by how uncertain the policy is there: its sampling temperature, its advantage and its clip range.

Paper: Liu et al. 2025, "From Uniform to Heterogeneous", arXiv:2509.16591. The signal ĥ is the log-entropy less its 0.8-quantile in the batch, scaled to [−1, 1]
(`ops.normalized_log_entropy`). Sampling: T = 1 + 0.05 ĥ, by the range of the batch before. Advantage: mean and deviation of the reward over all tokens of the
group; A (1 + ĥ) for uncertain tokens whose ratio left a neutral zone and for certain ones within it. Clip: 0.2 (1 − ĥ) below for certain tokens, 0.2 (1 + ĥ)
above for uncertain ones. Dual clip at 10, mean over tokens, groups of equal rewards sampled again (it builds on DAPO).
Settled on: ĥ is negative for certain tokens, as the text has it; in the authors' code two signs cancel there, so that certain tokens are treated as uncertain
ones (`signed_signal=False` does that). ĥ is measured on the rollout and does not follow the updates. Groups whose advantages reach 5 get GRPO's, as in that
code. The policy learns at temperature 1 from what was drawn at T, without a correction, as there. Entropies under 1e-6 nats count as 1e-6: the lowest is the
scale of the certain side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from operant import ops
from operant.core.records import Rollout
from operant.core.registry import Count, Positive, Range, Share, method
from operant.loops.credit import Grouped
from operant.loops.fill import Fill, mixed_groups
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import TermBatch
from operant.worlds.temperature import EntropyTemperature


@dataclass(frozen=True)
class HAPO(GroupSettings):
    temperature_scale: Annotated[float, Range(0, 1, open_high=True)] = 0.05  # largest change of the sampling temperature; 0 samples at 1
    quantile: Share = 0.8  # of the log-entropies of a batch, above which tokens count as uncertain
    signed_signal: bool = True  # the signal is negative for certain tokens; False takes its magnitude, as the authors' code comes to
    clip_low: Positive = 0.2  # how far the ratio may fall below 1 where the signal is 0
    clip_high: Positive = 0.2  # how far it may rise above 1 there
    max_ratio: Annotated[float, Range(1, open_low=True)] = 10.0  # at which the loss of a negative advantage stops growing
    rounds: Count = 4  # most times that an iteration samples to fill its batch with groups of mixed scores


@method("hapo", family="rlvr", paper="arXiv:2509.16591", worlds=("text", "sequences"))
def hapo(h: HAPO) -> PolicyGradient:
    return PolicyGradient(
        sample=EntropyTemperature(h.prompts, h.group_size, h.temperature_scale, h.quantile),
        fill=Fill(mixed_groups, h.rounds),
        credit=Grouped(ops.token_weighted_advantage, measures=[answer_length]),
        mark=[EntropySignal(h.quantile, h.signed_signal)],
        terms=[HeterogeneousRatio(h.clip_low, h.clip_high, h.max_ratio)],
        reduce="token-mean",
        **h.updates,
    )


def answer_length(rollout: Rollout) -> Tensor:
    """Tokens of each answer, `[S, N]`."""
    return rollout.mask.sum(-1)


@dataclass(frozen=True)
class EntropySignal:
    """Marks each step with its ĥ, "entropy_signal".

    Args:
        quantile: of the log-entropies, where ĥ is 0.
        signed: negative for certain tokens; else their magnitude.
    """

    quantile: float
    signed: bool
    needs: ClassVar[frozenset[str]] = frozenset({"entropy"})

    def __call__(self, rollout: Rollout) -> dict[str, Tensor]:
        entropy = rollout.extras["entropy"]
        signal = ops.normalized_log_entropy(entropy, *ops.log_entropy_range(entropy, rollout.mask, quantile=self.quantile))
        return {"entropy_signal": (signal if self.signed else signal.abs()).masked_fill(~rollout.mask, 0.0)}


@dataclass(frozen=True)
class HeterogeneousRatio:
    """The dual-clipped surrogate with bounds and advantages by each token's signal.

    Args:
        clip_low, clip_high: where the signal is 0.
        max_ratio: of the dual clip.
    """

    clip_low: float
    clip_high: float
    max_ratio: float
    name: ClassVar[str] = "policy"
    needs: ClassVar[frozenset[str]] = frozenset({"entropy_signal"})

    def __call__(self, batch: TermBatch) -> Tensor:
        low, high, advantage = self._by_signal(batch)
        return ops.dual_clipped_ratio_loss(batch.log_prob, batch.old_log_prob, advantage, clip_low=low, clip_high=high, max_ratio=self.max_ratio)

    def clipped(self, batch: TermBatch) -> Tensor:
        low, high, advantage = self._by_signal(batch)
        return ops.ratio_clip_fraction(batch.log_prob, batch.old_log_prob, advantage, clip_low=low, clip_high=high, max_ratio=self.max_ratio)

    def _by_signal(self, batch: TermBatch) -> tuple[Tensor, Tensor, Tensor]:
        """(clip_low, clip_high, advantage) of each step."""
        signal = batch["entropy_signal"]
        low, high = ops.entropy_scaled_clip(signal, clip_low=self.clip_low, clip_high=self.clip_high)
        ratio = ops.policy_ratio(batch.log_prob.detach(), batch.old_log_prob)
        return low, high, ops.redistributed_advantage(batch.advantage, signal, ratio, clip_low=low, clip_high=high)
