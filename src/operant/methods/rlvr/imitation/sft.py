"""SFT: supervised fine-tuning, the maximum likelihood of demonstrated completions. A baseline, and how a base policy is made.

Each token of a completion counts alike (the mean over tokens of the batch); prompts are not learnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from operant.core.registry import Count, Positive, Range, method
from operant.loops.pairs import Pairs
from operant.loops.terms import NegativeLogLikelihood


@dataclass(frozen=True)
class SFT:
    learning_rate: Positive = 2e-3  # Adam's, after a linear warm-up
    warmup_steps: Annotated[int, Range(0)] = 50  # updates until the learning rate is reached
    batch_size: Count = 64  # demonstrations an update
    max_grad_norm: Positive = 1.0  # L2


@method("sft", name="Supervised fine-tuning", family="rlvr", paper="none", worlds=("text",), baseline=True)
def sft(h: SFT) -> Pairs:
    return Pairs(
        terms=[NegativeLogLikelihood()],
        batch_size=h.batch_size,
        learning_rate=h.learning_rate,
        warmup_steps=h.warmup_steps,
        max_grad_norm=h.max_grad_norm,
        updates_per_iteration=25,
    )
