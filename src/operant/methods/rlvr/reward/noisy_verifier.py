"""Backward and forward correction: the gradient that a faultless verifier would give, from the verdicts of one whose rates of error are known.

Paper: arXiv:2510.00915. A verifier calls wrong answers right at the rate ρ₀ and right ones wrong at ρ₁. Backward: (r − ρ₀) / (1 − ρ₀ − ρ₁) has the true
reward as its mean. Forward: the score function is weighted by ρ₁ or ρ₁ − 1, which needs ρ₁ alone. ρ₁ can be estimated on
the way, by checking a share of the rejected answers again.
Settled on: both corrections are affine in the verdict, with constants that a group shares: under GRPO's group mean and standard deviation backward changes
nothing at all, and forward nothing either. So here backward has the leave-one-out baseline without a deviation, which keeps the gradient unbiased in scale
too, and forward has no baseline. Class-conditional noise leaves the direction of the plain gradient alone; an optimiser that forgets scale, as Adam does,
then forgets the backward correction: its use lies in rates that are known a sample, and in mixing this loss with others. The forward formula follows the
abstract and its own expectation. Appeals go to the task's own verifier; train with `--verifier noisy:0.1,0.3` to see noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from operant import ops
from operant.core.registry import Positive, Share, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.shape import NoiseCorrection
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class NoisyVerifier(GroupSettings):
    correction: Literal["backward", "forward"] = "backward"  # of the reward, or of the weight of each answer
    false_positive: Share = 0.1  # rate at which the verifier calls wrong answers right
    false_negative: Share = 0.3  # rate at which it calls right answers wrong; the start of the estimate where there are appeals
    appeals: Share = 0.0  # share of rejected answers that are checked again to estimate the false negatives; 0 for none
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut

    def __post_init__(self) -> None:
        if self.false_positive + self.false_negative >= 1:
            raise ValueError(
                f"false_positive {self.false_positive:g} and false_negative {self.false_negative:g} must be below 1 together: such verdicts say nothing"
            )


@method("noisy-verifier", name="Verifier-noise correction", family="rlvr", paper="arXiv:2510.00915", worlds=("text", "sequences"))
def noisy_verifier(h: NoisyVerifier) -> PolicyGradient:
    def uncentred(score, mask):
        return score * mask

    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        shape=[NoiseCorrection(h.correction, h.false_positive, h.false_negative, h.appeals)],
        credit=Grouped(ops.leave_one_out if h.correction == "backward" else uncentred),
        terms=[ClippedRatio(h.clip, h.clip)],
        reduce="sequence-mean",
        **h.updates,
    )
