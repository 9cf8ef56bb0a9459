"""RL-PLUS: right answers from outside, weighted by how little the policy expects them, widen what sampling alone could only sharpen.

Paper: Dong et al. 2025, arXiv:2508.00222. Own answers are learned from as in GRPO; worked answers from outside join their group's statistics and are learned
from by a ratio of multiple importance sampling, 2π / (π_ω + π_old), without a clip, each token weighted by (1 − π)^γ. The writer is unknown and
assumed half the present policy and half uniform.
Settled on: γ = 1 and one outside answer beside sixteen own ones (the paper's values were not found); each of the two objectives is the mean over its tokens.
In tasks with small vocabularies the uniform half is far from 0, so that ratios are much tamer than for large ones. Outside answers are the task's worked
solutions; in a file of problems, its "solution" column.
"""

from __future__ import annotations

from dataclasses import dataclass

from operant import ops
from operant.core.registry import Count, NonNegative, Positive, method
from operant.loops.credit import Grouped
from operant.loops.outside import MixedImportance, outside_answers, own_answers
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import WithSolutions


@dataclass(frozen=True)
class RLPlus(GroupSettings):
    solutions: Count = 1  # answers from outside a prompt, beside the drawn ones
    gamma: NonNegative = 1.0  # exponent of the exploration weight of outside tokens
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut, of own answers


@method("rl-plus", name="RL-PLUS", family="rlvr", paper="arXiv:2508.00222", worlds=("text", "sequences"))
def rl_plus(h: RLPlus) -> PolicyGradient:
    return PolicyGradient(
        sample=WithSolutions(h.prompts, h.group_size, solutions=h.solutions),
        credit=Grouped(ops.group_normalized_advantage),
        mark=[outside_answers],
        focus=[own_answers],
        terms=[ClippedRatio(h.clip, h.clip), MixedImportance(h.gamma)],
        reduce="token-mean",
        **h.updates,
    )
