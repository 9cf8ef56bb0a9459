"""PACS: the verifier's verdict is a label, and the policy's own log-ratios against its siblings' are the logit that is trained to predict it.

Paper: Li et al. 2025, arXiv:2509.02522. For the n answers of a prompt r_i = beta · Σ_t (log π − log π_old), ψ_i = r_i − mean of the other r_j, and the loss
is the binary cross-entropy of ψ_i with the reward. Its gradient is (σ(ψ) − R) ∇ψ: a policy gradient whose weight shrinks once ψ predicts the label. Right
and wrong answers of a prompt weigh alike (n / (2 n_class)); a group with one label alone keeps weight 1 and still teaches.
Settled on: log-ratios are summed over the answer's own tokens, its padding left out; 4 minibatches a batch as in the authors' runs, for in the first of them
every ψ is 0 and the step is plain RLOO; 16 answers a prompt, as the other methods here (the paper has 8). Rewards must be 0 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from torch import Tensor

from operant import ops
from operant.core.registry import Count, Positive, Range, method
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.row_terms import GroupedLogRatio
from operant.loops.settings import GroupSettings
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class PACS(GroupSettings):
    minibatches: Count = 4  # optimiser steps in each pass, of whole groups
    micro_batch: Annotated[int, Range(0)] = 64  # answers that go through the model at once, in whole groups, 0 for all; never changes the loss
    beta: Positive = 1.0  # scale of the scores (2 in some of the paper's runs)
    balanced: bool = True  # right and wrong answers of a prompt weigh alike


@method("pacs", family="rlvr", paper="arXiv:2509.02522", worlds=("text", "sequences"))
def pacs(h: PACS) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=Grouped(label_advantage),
        terms=[GroupedLogRatio(partial(ops.leave_one_out_cross_entropy, beta=h.beta, balanced=h.balanced), target="score")],
        unit="group",
        reduce="sequence-mean",
        **h.updates,
    )


def label_advantage(score: Tensor, mask: Tensor) -> Tensor:
    """The leave-one-out advantage of labels, `[G, K]`: what the first step of a batch weighs answers by, where class weights are off. For people to see alone.

    Raises:
        ValueError: a score is neither 0 nor 1, and no label.
    """
    odd = mask & (score != 0) & (score != 1)
    if bool(odd.any()):
        raise ValueError(f"rewards are labels here and must be 0 or 1; one is {score[odd][0].item():g}")
    return ops.leave_one_out(score, mask)
