"""RLCR: an answer that states how sure it is, and is rewarded for being right and for knowing it, becomes calibrated at no cost in accuracy.

Paper: Damani et al. 2025, arXiv:2507.16806: the reward is 1[right] − (q − 1[right])², q the stated confidence; any bounded proper scoring rule
would do, the logarithmic one would not. Trained by GRPO.
Settled on: the Brier score enters as 1 − (q − 1[right])², as in the authors' code, so that an honest answer that is wrong is worth more than one whose
confidence cannot be read (0). The task says where the confidence stands (`text:uncertain`). Advantages are centred and scaled in the group, as in GRPO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from operant import ops
from operant.core.registry import Count, Passes, Positive, Range, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.shape import CalibratedReward
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class RLCR:
    prompts: Count = 16  # prompts an iteration
    group_size: Annotated[int, Range(2)] = 16  # answers a prompt
    learning_rate: Positive = 3e-4  # Adam's, for a model of 1M parameters; the default shrinks with the size of a given model
    epochs: Passes = 1  # passes over each batch of answers
    minibatches: Count = 1  # optimiser steps in each pass
    micro_batch: Annotated[int, Range(0)] = 64  # answers that go through the model at once, 0 for all; never changes the loss
    clip: Positive = 0.2  # the ratio's distance from 1 beyond which it is cut
    max_grad_norm: Positive = 1.0  # L2


@method("rlcr", name="RLCR", family="rlvr", paper="arXiv:2507.16806", worlds=("text", "sequences"))
def rlcr(h: RLCR) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        shape=[CalibratedReward()],
        credit=Grouped(ops.group_normalized_advantage),
        terms=[ClippedRatio(h.clip, h.clip)],
        reduce="sequence-mean",
        epochs=h.epochs,
        minibatches=h.minibatches,
        micro_batch=h.micro_batch,
        learning_rate=h.learning_rate,
        max_grad_norm=h.max_grad_norm,
    )
