"""T-PPO: PPO on answers that are written a window at a time, so that short ones need not wait for long ones.

Paper: Fan et al. 2025, arXiv:2506.15050. Every iteration continues all answers at work by at most a window of tokens and replaces those that ended. The
advantage is GAE that takes the value behind the cut for the last known one (section 3.1); the policy learns from this window's tokens alone, the critic from
finished answers alone, by their Monte Carlo returns (section 3.2).
Settled on: tokens of earlier windows were drawn by earlier policies; no loss of the policy sees them, so their log-probabilities are not kept, and there is no
correction for them. Of a finished answer the critic learns from all tokens, those of earlier windows too. The critic is a copy of the model with one output,
which starts at 0 and learns at the policy's rate. gamma is 1. Advantages are not normalised: while nothing ends they are differences of the critic's values,
and normalising would blow its errors up. A token at a cut gets no credit, and those before it what the critic sees in them; thus windows must hold many tokens
(the paper's hold thousands): short ones learn worse than PPO does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from operant.core.records import Rollout
from operant.core.registry import Count, NonNegative, Positive, Share, method
from operant.loops.credit import TokenGAE, scored
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio, SquaredValueError
from operant.nets.language import TokenCritic
from operant.worlds.trees import Windows


@dataclass(frozen=True)
class TPPO(GroupSettings):
    prompts: Count = 16  # problems whose answers are at work at a time
    group_size: Count = 16  # answers a problem
    window: Count = 16  # most new tokens of an answer in an iteration
    minibatches: Count = 4  # optimiser steps in each pass
    lam: Share = 0.95  # lambda of the policy's GAE; the critic's is 1
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut
    value_coefficient: NonNegative = 0.5  # weight of the squared value error


def finished_answers(rollout: Rollout) -> dict[str, Tensor]:
    """The tokens that the critic learns from, "finished": those of answers that have their score; and what it is fitted to there, "returns"."""
    present = rollout.extras.get("present", rollout.mask)
    return {"finished": present & scored(rollout).unsqueeze(-1), "returns": rollout.reward.flip(-1).cumsum(-1).flip(-1)}


@dataclass(frozen=True)
class FinishedValueError(SquaredValueError):
    """The squared value error on finished answers."""

    over: ClassVar[str] = "finished"


@method("t-ppo", family="rlvr", paper="arXiv:2506.15050", worlds=("text", "sequences"))
def t_ppo(h: TPPO) -> PolicyGradient:
    return PolicyGradient(
        policy=TokenCritic("model"),
        sample=Windows(h.prompts, h.group_size, h.window),
        credit=TokenGAE(1.0, h.lam),
        mark=[finished_answers],
        terms=[ClippedRatio(h.clip, h.clip), FinishedValueError(h.value_coefficient)],
        reduce="token-mean",
        **h.updates,
    )
