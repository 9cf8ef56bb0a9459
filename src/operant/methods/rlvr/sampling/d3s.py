"""D3S: most of the update comes from few answers and few tokens; learn from those, few at first and more later.

Paper: "Learning More with Less", a dynamic dual-level down-sampling framework for efficient policy optimization, 2025. Advantages are GRPO's, of whole groups,
so that selection does not move the baseline. Answers: the subset of all groups together with the largest Var(A) (`ops.max_variance_subset`), as
the bound of the gradient's norm grows with it. Tokens: the largest |A| · H of the chosen answers. Both shares grow along training; clipped loss, mean over the
tokens that are left.
Settled on: shares 0.4 → 0.8, linear in the share of training done (the paper's four numbers were not found); tokens are ranked over all chosen answers
together, since within one answer |A| would not count; H is the entropy of the policy that acted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from operant import ops
from operant.core.registry import Positive, Range, method
from operant.loops.credit import Grouped
from operant.loops.focus import MostVaryingRows, TopTokens
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups

PositiveShare = Annotated[float, Range(0, 1, open_low=True)]


@dataclass(frozen=True)
class D3S(GroupSettings):
    answers_start: PositiveShare = 0.4  # share of the answers that are learned from, at the start
    answers_end: PositiveShare = 0.8  # and at the end
    tokens_start: PositiveShare = 0.4  # share of the tokens of these answers, at the start
    tokens_end: PositiveShare = 0.8  # and at the end
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut


@method("d3s", name="D3S", family="rlvr", paper="Learning More with Less", worlds=("text", "sequences"))
def d3s(h: D3S) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(ops.group_normalized_advantage),
        focus=[MostVaryingRows(h.answers_start, h.answers_end), TopTokens(h.tokens_start, h.tokens_end)],
        terms=[ClippedRatio(h.clip, h.clip)],
        reduce="token-mean",
        **h.updates,
    )
