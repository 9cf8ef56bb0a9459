"""Rank policy gradient: an answer's advantage is its rank among the answers to the same prompt, from −1 to 1.

Written for the tests, as a stranger would: it imports the public names of Operant and is found through its entry point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import operant
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import ClippedRatio
from operant.worlds.plans import Groups


def centred_rank(score: Tensor, mask: Tensor) -> Tensor:
    """Share of the group's other members that are worse, minus the share that is better: `score [G, K]`, `mask [G, K]` → `[G, K]` in [−1, 1]."""
    both = mask.unsqueeze(-1) & mask.unsqueeze(-2)
    worse = (torch.sign(score.unsqueeze(-1) - score.unsqueeze(-2)) * both).sum(-1)
    return worse / (mask.sum(-1, keepdim=True) - 1).clamp(min=1)


@dataclass(frozen=True)
class Rank:
    prompts: int = 4  # prompts an iteration
    group_size: int = 8  # answers a prompt
    learning_rate: float = 0.1  # Adam's
    advantage: Callable[[Tensor, Tensor], Tensor] = centred_rank  # from a group's scores to its advantages


@operant.method("rank", name="Rank policy gradient", family="outside", paper="none", worlds=("text", "sequences"), baseline=True)
def rank(h: Rank) -> PolicyGradient:
    return PolicyGradient(sample=Groups(h.prompts, h.group_size), credit=Grouped(h.advantage), terms=[ClippedRatio()], learning_rate=h.learning_rate)
