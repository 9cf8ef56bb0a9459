"""CISPO: REINFORCE whose importance weight is clipped, so that no token, however rare, drops out of an update. A baseline.

Paper: MiniMax 2025, arXiv:2506.13585, eq. 4 and 5: −sg[clip(r, 1 − ε_low, 1 + ε_high)] · A · log π, the mean over all tokens, advantages as in GRPO, no KL.
Settled on: no lower bound (ε_low = 1), as in the paper; its upper one is not stated, and 4 is the middle of what later work found to matter little. Dynamic
sampling and the length penalty that the paper's run also used are left to DAPO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from operant import ops
from operant.core.registry import Count, Passes, Positive, Range, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import ClippedImportance
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class CISPO:
    prompts: Count = 16  # prompts an iteration
    group_size: Annotated[int, Range(2)] = 16  # answers a prompt
    learning_rate: Positive = 3e-4  # Adam's, for a model of 1M parameters; the default shrinks with the size of a given model
    epochs: Passes = 1  # passes over each batch of answers
    minibatches: Count = 1  # optimiser steps in each pass
    micro_batch: Annotated[int, Range(0)] = 64  # answers that go through the model at once, 0 for all; never changes the loss
    clip_low: Positive = 1.0  # how far the importance weight may fall below 1; 1 sets no bound
    clip_high: Positive = 4.0  # how far it may rise above 1
    max_grad_norm: Positive = 1.0  # L2


@method("cispo", family="rlvr", paper="arXiv:2506.13585", worlds=("text", "sequences"), baseline=True)
def cispo(h: CISPO) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(ops.group_normalized_advantage),
        terms=[ClippedImportance(h.clip_low, h.clip_high)],
        reduce="token-mean",
        epochs=h.epochs,
        minibatches=h.minibatches,
        micro_batch=h.micro_batch,
        learning_rate=h.learning_rate,
        max_grad_norm=h.max_grad_norm,
    )
