"""IGPO: each turn with a tool is rewarded by how much likelier it made the reference answer, the last one by the outcome.

Paper: Wang et al. 2025, arXiv:2510.14967. After each turn t and its reply the reference answer a* is put behind the answer's template and read by the policy
itself, g_t = exp(mean_k log π(a*_k | h_t, a*_<k)), and g_t − g_{t−1} is the reward of every turn but the last, without gradient. Rewards of all turns of a
group, outcomes among them, are standardised together; a turn's advantage is the discounted sum of them from it on.
Settled on: as in the paper's text and not the authors' code, whose baseline is a mean at each token's position without a deviation, and which cuts returns
where the tool speaks. gamma is 1. No penalty of the form: an answer without the template scores 0. beta is 0 by default, as of this library's GRPO.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor

from operant import ops
from operant.core.records import Rollout
from operant.core.registry import NonNegative, Positive, Share, method
from operant.loops.credit import GroupedTurns
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio, KLToReference, KLWeighting
from operant.worlds.plans import Turns


@dataclass(frozen=True)
class IGPO(KLWeighting, GroupSettings):
    turns: int = 0  # most turns of a row, 0 for the task's own number
    gamma: Share = 1.0  # discount a turn
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut
    beta: NonNegative = 0.0  # weight of the KL to the base policy


@dataclass(frozen=True)
class InformationGain:
    """The rewards, and on the last token of each turn but the last what it added to the likelihood of the reference answer."""

    needs: ClassVar[frozenset[str]] = frozenset({"turn_answer_likelihood", "start_answer_likelihood"})

    def __call__(self, rollout: Rollout) -> Tensor:
        extras, turn = rollout.extras, rollout.extras["turn"]
        ends = ops.turn_ends(turn, rollout.mask)
        value = ops.turn_sums(extras["turn_answer_likelihood"] * ends, turn, int(turn.max()) + 1)
        gain = ops.turn_gains(value, extras["start_answer_likelihood"]).gather(-1, turn)
        last = turn == turn.masked_fill(~rollout.mask, -1).amax(-1, keepdim=True)
        return rollout.reward + gain * (ends & ~last)


@method("igpo", family="agentic", paper="arXiv:2510.14967", worlds=("text",), example="text:lookup")
def igpo(h: IGPO) -> PolicyGradient:
    return PolicyGradient(
        sample=Turns(h.prompts, h.group_size, turns=h.turns),
        shape=[InformationGain()],
        credit=GroupedTurns(partial(ops.pooled_turn_advantage, gamma=h.gamma)),
        terms=[ClippedRatio(h.clip, h.clip), *([KLToReference(h.beta, "k3", h.kl_importance_weight)] if h.beta else [])],
        **h.updates,
    )
