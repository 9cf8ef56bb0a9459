"""OREAL: right answers are cloned, wrong ones pushed down, and a token reward model says which of their tokens count.

Paper: Lyu et al. 2025, arXiv:2502.06781. Of each prompt with both, one right and one wrong answer are learned from. Right: −log π · A · w⁺; wrong: −0.5 · (π
/ π_old) · A · w⁻; A is the leave-one-out advantage among all answers of the prompt, w⁺ = max(2 σ(m_t) − 1, 0), w⁻ = max(1 − 2 σ(m_t), 0), m_t the running
mean of the token model's logits, which stand before each token. That model learns by cross-entropy of its mean logit with the outcome, alone for the first
iterations. KL to the base policy by k3 on all of these tokens, weight 0.01.
Settled on: each of the two objectives is divided by its own number of tokens, as in the authors' code; the token model's loss by all tokens, so that longer
answers weigh more in it. The token model is a copy of the policy with one output; one Adam and one clip serve both. The right and the wrong answer are the
first of their kind, which is a random draw as answers are exchangeable. An answer whose scoring failed leaves its group (there: −1). Prompts are not
re-weighted by pass rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from operant import ops
from operant.core.records import Rollout
from operant.core.registry import NonNegative, Range, method
from operant.loops.credit import Grouped, Grouping, scored
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import KLToReference, KLWeighting, TermBatch
from operant.nets.language import TokenCritic
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class OREAL(KLWeighting, GroupSettings):
    group_size: Annotated[int, Range(2)] = 16  # answers a prompt, of which two are learned from
    positive: NonNegative = 1.0  # weight of right answers
    negative: NonNegative = 0.5  # weight of wrong answers
    beta: NonNegative = 0.01  # weight of the KL to the base policy
    token_reward: bool = True  # with the token reward model; without it every token counts alike (the authors ran both)
    critic_iterations: Annotated[int, Range(0)] = 10  # first iterations, in which only the token reward model learns


@method("oreal", family="rlvr", paper="arXiv:2502.06781", worlds=("text", "sequences"))
def oreal(h: OREAL) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(ops.leave_one_out),
        mark=[one_right_one_wrong],
        focus=[either_side],
        terms=[
            Cloning(h.positive, h.token_reward, h.critic_iterations),
            WrongAnswers(h.negative, h.token_reward, h.critic_iterations),
            *([KLToReference(h.beta, "k3", h.kl_importance_weight)] if h.beta else []),
            *([TokenReward()] if h.token_reward else []),
        ],
        policy=TokenCritic("model") if h.token_reward else None,
        reduce="token-mean",
        **h.updates,
    )


def one_right_one_wrong(rollout: Rollout) -> dict[str, Tensor]:
    """The steps of the first "right" and of the first "wrong" answer of each group that has both, `[S, N, T]` each.

    Right is a reward above 0.5.
    """
    among = scored(rollout)
    right = among & (rollout.reward.sum(-1) > 0.5)
    wrong = among & ~right
    kept = []
    for seed in range(len(among)):
        groups = Grouping(rollout.group[seed])
        sides = [groups.pack(side[seed]) for side in (right, wrong)]
        mixed = sides[0].any(1, keepdim=True) & sides[1].any(1, keepdim=True)
        kept.append(groups.unpack(mixed & torch.stack([side & (side.cumsum(1) == 1) for side in sides]).any(0)))
    keep = rollout.mask & torch.stack(kept).unsqueeze(-1)
    return {"right": keep & right.unsqueeze(-1), "wrong": keep & wrong.unsqueeze(-1)}


def either_side(rollout: Rollout) -> Tensor:
    """The steps of both, `[S, N, T]`."""
    return rollout.extras["right"] | rollout.extras["wrong"]


@dataclass(frozen=True)
class _Side:
    """The objective on one side of the outcomes.

    Args:
        coefficient: its weight.
        weighted: by the token reward model; then 0 in the first `critic_iterations`. Otherwise every token counts alike.
    """

    coefficient: float
    weighted: bool
    critic_iterations: int

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"value"} if self.weighted else ())

    def weights(self, batch: TermBatch) -> tuple[Tensor | float, Tensor | float]:
        """Of tokens in right and in wrong answers, each times the coefficient."""
        if not self.weighted:
            return self.coefficient, self.coefficient
        scale = self.coefficient * (batch.iteration >= self.critic_iterations)
        right, wrong = ops.token_outcome_weights(batch.value, batch.mask)
        return scale * right, scale * wrong


@dataclass(frozen=True)
class Cloning(_Side):
    """`−coefficient · log π · A · w⁺` on the tokens of right answers."""

    name: ClassVar[str] = "right"
    over: ClassVar[str] = "right"

    def __call__(self, batch: TermBatch) -> Tensor:
        return -self.weights(batch)[0] * batch.advantage * batch.log_prob


@dataclass(frozen=True)
class WrongAnswers(_Side):
    """`−coefficient · (π / π_old) · A · w⁻` on the tokens of wrong answers."""

    name: ClassVar[str] = "wrong"
    over: ClassVar[str] = "wrong"

    def __call__(self, batch: TermBatch) -> Tensor:
        return -self.weights(batch)[1] * batch.advantage * ops.policy_ratio(batch.log_prob, batch.old_log_prob)


@dataclass(frozen=True)
class TokenReward:
    """Cross-entropy of the answer's outcome with the mean of its tokens' logits, the same at every step of a row."""

    name: ClassVar[str] = "token_reward"
    needs: ClassVar[frozenset[str]] = frozenset({"value", "score"})

    def __call__(self, batch: TermBatch) -> Tensor:
        logit = ops.row_mean(batch.value, batch.mask)
        label = (batch.score > 0.5).to(logit.dtype).unsqueeze(-1)
        return functional.binary_cross_entropy_with_logits(logit, label, reduction="none").expand(batch.mask.shape)
