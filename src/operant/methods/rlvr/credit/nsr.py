"""NSR: learning from wrong answers alone raises pass@1 without narrowing what the policy can find; right answers may be given a small weight.

Paper: Zhu et al. 2025, arXiv:2506.01347. The advantage is `positive_weight` for a right answer and −`negative_weight` for a wrong one: (0, 1) is NSR, (1, 0)
PSR, (0.1, 1) the paper's Weighted-REINFORCE. No baseline, no normalisation, no KL. A wrong token's logit is pushed down by 1 − π, and every other is raised in
proportion to its own probability: mass moves to where the policy already believed it could be.
Settled on, as in the authors' code: PPO's clipped loss, and the mean over all tokens of the batch, those of answers whose advantage is 0 included: the fewer
wrong answers, the smaller the step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from operant import ops
from operant.core.registry import Count, NonNegative, Positive, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class NSR(GroupSettings):
    group_size: Count = 16  # answers a prompt
    positive_weight: NonNegative = 0.0  # of right answers; 0.1 is the paper's Weighted-REINFORCE
    negative_weight: NonNegative = 1.0  # of wrong answers; 0 with a positive_weight of 1 is PSR
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut


@method("nsr", family="rlvr", paper="arXiv:2506.01347", worlds=("text", "sequences"))
def nsr(h: NSR) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(partial(ops.sign_weighted_score, positive=h.positive_weight, negative=h.negative_weight)),
        terms=[ClippedRatio(h.clip, h.clip)],
        reduce="token-mean",
        **h.updates,
    )
