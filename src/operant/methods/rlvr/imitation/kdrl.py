"""KDRL: the verifier's reward and a teacher's distribution teach together, on the student's own answers.

Paper: Xu et al. 2025, arXiv:2506.02208: J = J_GRPO − β KL(π ‖ teacher), the KL being estimated by k2 on the student's samples: differentiated as a
loss, k2 has the gradient of the reverse KL, k3 that of another divergence. β falls linearly over training (0.005 → 0.001); distilling only wrong answers saves
teacher tokens.
Settled on: one optimiser step a batch, as the estimator is on-policy; the KL is a term of the loss and no reward, which group normalisation would distort; the
decrement of β is linear in the share of training done. Token by token, the KL's gradient holds the distribution of prefixes fixed. `reward_weight` 0 distils
alone. The teacher is the task's own (`--teacher` takes another); it must share the tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from operant import ops
from operant.core.registry import Count, NonNegative, Positive, Range, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.teacher import KLToTeacher
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class KDRL:
    prompts: Count = 16  # prompts an iteration
    group_size: Annotated[int, Range(2)] = 16  # answers a prompt
    learning_rate: Positive = 3e-4  # Adam's, for a model of 1M parameters; the default shrinks with the size of a given model
    micro_batch: Annotated[int, Range(0)] = 64  # answers that go through the model at once, 0 for all; never changes the loss
    beta: NonNegative = 5e-3  # weight of the KL to the teacher at the start
    beta_end: NonNegative = 1e-3  # and at the end
    estimator: Literal["k1", "k2", "k3"] = "k2"  # of the KL; k2 is the one whose gradient is the reverse KL's
    distil: Literal["all", "wrong"] = "all"  # which answers the teacher corrects
    reward_weight: NonNegative = 1.0  # of the verifier's advantage; 0 distils alone
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut
    max_grad_norm: Positive = 1.0  # L2


@method("kdrl", family="rlvr", paper="arXiv:2506.02208", worlds=("text", "sequences"))
def kdrl(h: KDRL) -> PolicyGradient:
    def advantage(score, mask):
        return h.reward_weight * ops.group_normalized_advantage(score, mask)

    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(advantage),
        terms=[ClippedRatio(h.clip, h.clip), KLToTeacher(h.beta, h.beta_end, h.estimator, wrong_only=h.distil == "wrong")],
        reduce="token-mean",
        micro_batch=h.micro_batch,
        learning_rate=h.learning_rate,
        max_grad_norm=h.max_grad_norm,
    )
