"""RFT: rejection-sampling fine-tuning; the policy's own right answers are fitted by maximum likelihood, wrong ones are thrown away. A baseline.

Paper: Yuan et al. 2023, arXiv:2308.01825, section 3.3: the loss is −log π of the answers that the verifier accepts, the mean over their tokens.
Settled on: the policy samples anew before every update (the paper samples once, from the fine-tuned model, and trains on that for some epochs); a reward above
one half counts as right; `distinct` keeps one of equal answers to a prompt, where the paper compares lists of equations. A minibatch's sum is divided by its
tokens times the rollout's share of accepted ones: with one minibatch, by the number of accepted tokens. With `epochs` above 1 there is no correction for the
policy having moved.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from operant.core.records import Rollout
from operant.core.registry import Count, method
from operant.loops.credit import scored
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.settings import GroupSettings
from operant.loops.terms import WeightedLogLikelihood
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class RFT(GroupSettings):
    group_size: Count = 16  # answers a prompt
    distinct: bool = False  # of equal answers to a prompt, learn from one


@method("rft", family="rlvr", paper="arXiv:2308.01825", worlds=("text", "sequences"), baseline=True)
def rft(h: RFT) -> PolicyGradient:
    return PolicyGradient(
        sample=Groups(h.prompts, h.group_size),
        credit=AcceptedAnswers(h.distinct),
        terms=[WeightedLogLikelihood()],
        reduce="token-mean",
        **h.updates,
    )


@dataclass(frozen=True)
class AcceptedAnswers:
    """Credit of right answers alone: all tokens over accepted ones, 0 for others, so that the mean over all tokens is the mean over accepted ones.

    Args:
        distinct: of equal answers to a prompt, the first alone.
    """

    distinct: bool

    def __call__(self, rollout: Rollout) -> Tensor:
        right = scored(rollout) & (rollout.reward.sum(-1) > 0.5)
        if self.distinct:
            right = right & _first_of_equals(rollout)
        accepted = rollout.mask & right.unsqueeze(-1)
        share = accepted.sum((-2, -1), keepdim=True) / rollout.mask.sum((-2, -1), keepdim=True).clamp(min=1)
        return torch.where(accepted, 1 / share, 0.0).to(rollout.reward.dtype)


def _first_of_equals(rollout: Rollout) -> Tensor:
    """Rows `[S, N]` whose tokens no earlier row of their group has."""
    first = torch.zeros_like(rollout.group, dtype=torch.bool)
    for seed, groups in enumerate(rollout.group.tolist()):
        seen: dict[tuple, int] = {}
        for row, (answer, mask) in enumerate(zip(rollout.action[seed], rollout.mask[seed], strict=True)):
            seen.setdefault((groups[row], *answer[mask].tolist()), row)
        first[seed, list(seen.values())] = True
    return first
