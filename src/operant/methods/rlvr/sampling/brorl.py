"""BroRL: the recipe of ProRL with few prompts and very many answers to each, and a learning rate that grows with the group.

Paper: Hu et al. 2025, arXiv:2510.01180: 512 answers a prompt in the place of 16, where more steps have stopped helping.
Settled on: groups of 128 at the scale of small models; the learning rate is multiplied by (group_size / 16)^scaling, a square root by default, since how the
paper scales it could not be checked; resets of the reference stay on a schedule (`reset_every`), for the paper starts from a run that was reset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from operant import ops
from operant.core.registry import Count, NonNegative, Positive, Range, Share, method
from operant.loops.credit import Grouped
from operant.loops.fill import Fill, mixed_groups
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.reference import Reference
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio, KLToReference, KLWeighting
from operant.worlds.plans import Groups

USUAL_GROUP = 16  # the group that `learning_rate` is for


@dataclass(frozen=True)
class BroRL(KLWeighting, GroupSettings):
    prompts: Count = 2  # prompts an iteration
    group_size: Annotated[int, Range(2)] = 128  # answers a prompt
    learning_rate: Positive = 3e-4  # Adam's for groups of 16; for models under 1M parameters (billions take about 1e-6)
    scaling: Share = 0.5  # power of group_size / 16 that multiplies the learning rate
    temperature: Positive = 1.2  # of sampling and learning; evaluation is at 1
    clip_low: Positive = 0.2  # how far the ratio may fall below 1 where the advantage is negative
    clip_high: Positive = 0.4  # how far it may rise above 1 where the advantage is positive
    rounds: Count = 4  # most times that an iteration samples to fill its batch with groups of mixed scores
    beta: NonNegative = 0.001  # weight of the KL to the reference
    reset_every: Annotated[int, Range(0)] = 0  # iterations between resets of the reference; 0 for none


@method("brorl", name="BroRL", family="rlvr", paper="arXiv:2510.01180", worlds=("text", "sequences"))
def brorl(h: BroRL) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size, h.temperature),
        fill=Fill(mixed_groups, h.rounds),
        credit=Grouped(ops.group_normalized_advantage),
        terms=[ClippedRatio(h.clip_low, h.clip_high), *([KLToReference(h.beta, "k3", h.kl_importance_weight)] if h.beta else [])],
        reference=Reference("reset", every=h.reset_every) if h.reset_every else Reference(),
        reduce="token-mean",
        **(h.updates | {"learning_rate": h.learning_rate * (h.group_size / USUAL_GROUP) ** h.scaling}),
    )
