"""ROVER: the value of the uniform policy, held as the policy's own log-ratios, and fitted by its Bellman equation.

Paper: He et al. 2025, arXiv:2509.24981. In a tree with 0/1 rewards at its leaves, to act greedily on the uniform policy's Q is optimal, and a softmax of Q
keeps several right answers. Q(s, a) = rho · (log π − log π_old), fitted by squared error to r̃ + mean over a' of Q(s', a'), without gradient, with 0 after
the last token; r̃ is the reward less the group's mean, at every token. No critic, clipping, KL or entropy term.
Settled on: the mean over the vocabulary is that of the next position, mean(logits) − logsumexp(logits), new less old; rho multiplies both Q and the next
value, as in the equations (one branch of the authors' code scales the next value alone). Tokens count alike, 4 minibatches a batch as in their countdown
runs. The theorem needs deterministic transitions and 0/1 rewards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from operant import ops
from operant.core.registry import Count, Positive, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import LOG_RATIO_ROUNDING, TermBatch
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class ROVER(GroupSettings):
    minibatches: Count = 4  # optimiser steps in each pass
    rho: Positive = 1.0  # temperature: Q is so many times the log-ratio


@method("rover", family="rlvr", paper="arXiv:2509.24981", worlds=("text", "sequences"))
def rover(h: ROVER) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(partial(ops.group_normalized_advantage, normalize_std=False)),
        terms=[UniformPolicyValue(h.rho)],
        reduce="token-mean",
        **h.updates,
    )


@torch.no_grad()
def vocabulary_mean(logits: Tensor, token: Tensor) -> Tensor:
    """Mean log-probability over the vocabulary, `[R]` from logits `[R, V]`. It enters targets alone, so no gradient is kept."""
    return ops.mean_log_prob(logits)


@dataclass(frozen=True)
class UniformPolicyValue:
    """`(Q − target)²` of each token, Q being `rho` times its log-ratio and the target `ops.uniform_policy_target`."""

    rho: float = 1.0
    name: ClassVar[str] = "policy"
    weighed: ClassVar[str] = "never"  # the advantage is in what Q is fitted to
    fresh: ClassVar[bool] = True
    statistics: ClassVar[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = {"mean_log_prob": vocabulary_mean}
    old_statistics: ClassVar[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = {"old_mean_log_prob": vocabulary_mean}

    def __call__(self, batch: TermBatch) -> Tensor:
        target = ops.uniform_policy_target(batch.advantage, batch["mean_log_prob"], batch["old_mean_log_prob"], batch.mask, temperature=self.rho)
        error = self.rho * (batch.log_prob - batch.old_log_prob) - target
        return error.masked_fill(error.detach().abs() <= LOG_RATIO_ROUNDING * self.rho, 0.0).square()
