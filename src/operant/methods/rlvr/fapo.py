"""FAPO: right answers by flawed steps are a shortcut at first and a fault later; their advantage changes its sign by itself.

Paper: Ding et al. 2025, arXiv:2510.22543: +1 for a right answer by sound steps, 1 − λ by flawed ones, −1 for a wrong answer, normalised in the
group. With λ = 1 a flawed right answer has a positive advantage while wrong answers outnumber sound ones, and a negative one from then on.
Settled on: the task's own check of steps finds flaws (the paper trains a generative one, which matters where no program can check); clip-higher and the mean
over tokens as in the paper's DAPO setting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from operant import ops
from operant.core.registry import Count, Passes, Positive, Range, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.shape import FlawPenalty
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class FAPO:
    prompts: Count = 16  # prompts an iteration
    group_size: Annotated[int, Range(2)] = 16  # answers a prompt
    learning_rate: Positive = 3e-4  # Adam's, for a model of 1M parameters; the default shrinks with the size of a given model
    epochs: Passes = 1  # passes over each batch of answers
    minibatches: Count = 1  # optimiser steps in each pass
    micro_batch: Annotated[int, Range(0)] = 64  # answers that go through the model at once, 0 for all; never changes the loss
    penalty: Annotated[float, Range(0, 2)] = 1.0  # what a flawed right answer loses of its reward
    clip_low: Positive = 0.2  # how far the ratio may fall below 1 where the advantage is negative
    clip_high: Positive = 0.28  # how far it may rise above 1 where the advantage is positive
    max_grad_norm: Positive = 1.0  # L2


@method("fapo", name="FAPO", family="rlvr", paper="arXiv:2510.22543", worlds=("text", "sequences"))
def fapo(h: FAPO) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        shape=[FlawPenalty(h.penalty)],
        credit=Grouped(ops.group_normalized_advantage),
        terms=[ClippedRatio(h.clip_low, h.clip_high)],
        reduce="token-mean",
        epochs=h.epochs,
        minibatches=h.minibatches,
        micro_batch=h.micro_batch,
        learning_rate=h.learning_rate,
        max_grad_norm=h.max_grad_norm,
    )
