"""Dr. GRPO: GRPO without its two biases; no division by the group's standard deviation, and none by the answer's own length. A baseline.

Paper: Liu et al. 2025, arXiv:2503.20783, section 3.2. The advantage is the centred reward; token losses are summed over an answer and divided by a constant.
Its gradient is (K − 1)/K times that of RLOO, over that constant: a multiple of the unbiased policy gradient.
Settled on: the constant is a hyper-parameter of its own and not the generation limit, so that changing the limit does not change the step; Adam makes it matter
only to the clip of the gradient's norm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from operant import ops
from operant.core.registry import Count, NonNegative, Passes, Positive, Range, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import ClippedRatio, KLToReference, KLWeighting
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class DrGRPO(KLWeighting):
    prompts: Count = 16  # prompts an iteration
    group_size: Annotated[int, Range(2)] = 16  # answers a prompt
    learning_rate: Positive = 3e-4  # Adam's, for a model of 1M parameters; the default shrinks with the size of a given model
    epochs: Passes = 1  # passes over each batch of answers
    minibatches: Count = 1  # optimiser steps in each pass
    micro_batch: Annotated[int, Range(0)] = 64  # answers that go through the model at once, 0 for all; never changes the loss
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut
    beta: NonNegative = 0.0  # weight of the KL to the base policy
    reduce_length: Count = 16  # tokens; what an answer's summed loss is divided by, however long the answer is
    max_grad_norm: Positive = 1.0  # L2


@method("dr-grpo", name="Dr. GRPO", family="rlvr", paper="arXiv:2503.20783", worlds=("text", "sequences"), baseline=True)
def dr_grpo(h: DrGRPO) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(partial(ops.group_normalized_advantage, normalize_std=False)),
        terms=[ClippedRatio(h.clip, h.clip), *([KLToReference(h.beta, "k3", h.kl_importance_weight)] if h.beta else [])],
        reduce="sequence-sum",
        reduce_length=h.reduce_length,
        epochs=h.epochs,
        minibatches=h.minibatches,
        micro_batch=h.micro_batch,
        learning_rate=h.learning_rate,
        max_grad_norm=h.max_grad_norm,
    )
