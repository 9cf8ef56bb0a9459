"""DPH-RL: a mass-covering divergence to the starting policy, on its own right answers, keeps the many ways that plain training loses.

Paper: Li et al. 2025, arXiv:2509.07430 Before training the starting policy is sampled: prompts that it nearly always solves become the rehearsal
set (its right answers are kept with their log-probabilities), the others are trained on by a clipped loss without KL. On rehearsed answers the loss is f(π /
π₀) a token, the generator of the forward KL, the Jensen-Shannon divergence (twice it, in nats) or an alpha divergence. No reference model is run.
Settled on: the forward KL in its non-negative form u − 1 − log u; the coefficient 0.05 for it (the paper has 0.01 to 0.05, 0.05 to 0.2 for JS), u held at
e⁴⁰; a prompt is mastered from 7 of 8 right on. Token-wise ratios under given prefixes make this a sum of conditional divergences; keeping only right answers,
it is not exactly the mean under π₀. The probes count as spent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from operant import ops
from operant.core.registry import Count, NonNegative, Positive, Range, method
from operant.loops.credit import Grouped
from operant.loops.outside import RehearsalDivergence, outside_answers, own_answers
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import ClippedRatio
from operant.worlds.rehearsal import Rehearsal


@dataclass(frozen=True)
class DPHRL(GroupSettings):
    pool: Count = 256  # prompts that the starting policy is tried on before training
    tries: Count = 8  # answers to each of them
    mastered: Annotated[float, Range(0, 1, open_low=True)] = 0.875  # share of right tries from which on a prompt is rehearsed
    rehearsals: Count = 64  # kept answers an iteration
    divergence: Literal["forward-kl", "js", "alpha"] = "forward-kl"  # from the starting policy, on its kept answers
    alpha: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.2  # of the alpha divergence
    coefficient: NonNegative = 0.05  # weight of the divergence
    clip_low: Positive = 0.2  # how far the ratio may fall below 1 where the advantage is negative
    clip_high: Positive = 0.28  # how far it may rise above 1 where the advantage is positive


@method("dph-rl", name="DPH-RL", family="rlvr", paper="arXiv:2509.07430", worlds=("text", "sequences"))
def dph_rl(h: DPHRL) -> PolicyGradient:
    return PolicyGradient(
        sample=Rehearsal(h.prompts, h.group_size, pool=max(h.pool, h.prompts), tries=h.tries, mastered=h.mastered, rehearsals=h.rehearsals),
        credit=Grouped(ops.group_normalized_advantage),
        mark=[outside_answers],
        focus=[own_answers],
        terms=[ClippedRatio(h.clip_low, h.clip_high), RehearsalDivergence(h.coefficient, h.divergence, h.alpha)],
        reduce="token-mean",
        **h.updates,
    )
