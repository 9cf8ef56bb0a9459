"""DAPO: GRPO that keeps exploring: a higher upper clip, only groups that are neither all right nor all wrong, and the mean over all tokens. A baseline.

Paper: Yu et al. 2025, arXiv:2503.14476: objective eq. 8, dynamic sampling section 3.2, token mean section 3.3, soft overlong punishment eq. 13. No KL.
Settled on: groups are judged by their rewards before the punishment of length, so that answers which are all right do not teach by their lengths alone (the
authors' code filters by correctness, too). The punishment needs the longest answer in tokens, and is off by default: small tasks have no long answers.
Answers that are sampled and not kept count as spent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from torch import Tensor

from operant import ops
from operant.core.records import Rollout
from operant.core.registry import Count, Positive, Range, method
from operant.loops.credit import Grouped
from operant.loops.fill import Fill, mixed_groups
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.shape import OverlongPenalty
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class DAPO(GroupSettings):
    clip_low: Positive = 0.2  # how far the ratio may fall below 1 where the advantage is negative
    clip_high: Positive = 0.28  # how far it may rise above 1 where the advantage is positive
    rounds: Count = 4  # most times that an iteration samples to fill its batch with groups of mixed scores
    overlong_buffer: Annotated[int, Range(0)] = 0  # tokens before the longest answer in which a penalty grows to -1; 0 for none


@method("dapo", family="rlvr", paper="arXiv:2503.14476", worlds=("text", "sequences"), baseline=True)
def dapo(h: DAPO) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        shape=[OverlongPenalty(h.overlong_buffer)] if h.overlong_buffer else [],
        fill=Fill(mixed_outcomes, h.rounds),
        credit=Grouped(ops.group_normalized_advantage),
        terms=[ClippedRatio(h.clip_low, h.clip_high)],
        reduce="token-mean",
        **h.updates,
    )


def mixed_outcomes(rollout: Rollout) -> Tensor:
    """`mixed_groups`, of the rewards before the punishment of length, `[S, N]`."""
    return mixed_groups(replace(rollout, reward=rollout.extras.get("unshaped_reward", rollout.reward)))
