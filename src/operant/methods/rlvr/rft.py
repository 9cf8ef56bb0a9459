"""RFT: rejection-sampling fine-tuning; the policy's own right answers are fitted by maximum likelihood, wrong ones are thrown away. A baseline.

Paper: Yuan et al. 2023, arXiv:2308.01825, section 3.3: the loss is −log π of the answers that the verifier accepts, the mean over their tokens.
Settled on: the policy samples anew before every update (the paper samples once, from the fine-tuned model, and trains on that for some epochs); a reward above
one half counts as right; `distinct` keeps one of equal answers to a prompt, where the paper compares lists of equations. Answers are fitted as they were drawn,
at temperature 1; with `epochs` above 1 there is no correction for the policy having moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from operant import ops
from operant.core.registry import Count, Positive, Range, method
from operant.loops.credit import Grouped
from operant.loops.focus import RewardedAnswers
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import Batch
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class RFT:
    prompts: Count = 16  # prompts an iteration
    group_size: Count = 16  # answers a prompt
    max_new_tokens: Annotated[int | None, Range(1)] = None  # longest answer; None for the task's own
    learning_rate: Positive = 3e-4  # Adam's; for models under 1M parameters (billions take about 1e-6)
    epochs: Count = 1  # passes over each batch of right answers
    minibatches: Count = 1  # optimiser steps in each pass
    micro_batch: Annotated[int, Range(0)] = 64  # answers that go through the model at once, 0 for all; never changes the loss
    distinct: bool = False  # of equal answers to a prompt, learn from one
    max_grad_norm: Positive = 1.0  # L2


@method("rft", family="rlvr", paper="arXiv:2308.01825", worlds=("text", "sequences"), baseline=True)
def rft(h: RFT) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size, h.max_new_tokens),
        credit=Grouped(accepted),
        focus=[RewardedAnswers(h.distinct)],
        terms=[AcceptedLikelihood()],
        reduce="token-mean",
        epochs=h.epochs,
        minibatches=h.minibatches,
        micro_batch=h.micro_batch,
        learning_rate=h.learning_rate,
        max_grad_norm=h.max_grad_norm,
    )


def accepted(score: Tensor, mask: Tensor) -> Tensor:
    """1 for answers that score above one half, 0 for all others."""
    return ops.sign_weighted_score((score > 0.5).to(score.dtype), mask, positive=1.0, negative=0.0)


@dataclass(frozen=True)
class AcceptedLikelihood:
    """`−A · log π(a|s)` over the answers that were kept, whose advantage is 1."""

    name: ClassVar[str] = "negative_log_likelihood"
    over: ClassVar[str] = "rewarded"
    needs: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, batch: Batch) -> Tensor:
        return -batch["advantage"] * batch["log_prob"]
