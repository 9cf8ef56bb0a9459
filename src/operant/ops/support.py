"""What training does to the set of right answers that a policy reaches, and to their mass.

Empirical support: Wu et al. 2025, "The Invisible Leash", arXiv:2507.14843. Mass balance of one softmax step: Hu et al. 2025, BroRL, arXiv:2510.01180.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class SupportCounts(NamedTuple):
    """How many right answers are in reach, `[...]` each: before and after, after alone, before alone, and neither."""

    preserved: Tensor
    expanded: Tensor
    shrunk: Tensor
    out: Tensor


class SupportDynamics(NamedTuple):
    """What became of the right answers in reach, `[...]` float64 each; NaN where there is nothing to divide by.

    `retention` (SRR) = P / (P + S), in [0, 1]. `discovery` (NDR) = E / (P + E), in [0, 1]. `harmonic` (SDS): their harmonic mean. `net_change` (NSCR) =
    (E - S) / (P + E + S), in [-1, 1]: below 0 where more fell out of reach than came into it.
    """

    retention: Tensor
    discovery: Tensor
    harmonic: Tensor
    net_change: Tensor


class MassBalance(NamedTuple):
    """First-order change of the right tokens' mass in one step, `[...]`, by what causes it; the change is their sum.

    `reinforced`: right tokens that were sampled, at least 0. `suppressed`: wrong ones that were sampled, at least 0. `unsampled`: the tokens that were not, of
    either sign.
    """

    reinforced: Tensor
    suppressed: Tensor
    unsampled: Tensor


def support_counts(before: Tensor, after: Tensor, right: Tensor, *, threshold: float, threshold_after: float | None = None) -> SupportCounts:
    """Sort right answers by whether their probability exceeds a threshold before and after training (arXiv:2507.14843, empirical support).

    Args:
        before, after: probabilities or observed shares of each answer, `[..., M]` in [0, 1].
        right: which answers are right, `[..., M]` bool.
        threshold: an answer is in reach where its probability is above it.
        threshold_after: the same after training. None: as before.

    Returns:
        int64 `[...]` each.
    """
    reached = before > threshold
    reaches = after > (threshold if threshold_after is None else threshold_after)
    cases = (reached & reaches, ~reached & reaches, reached & ~reaches, ~reached & ~reaches)
    return SupportCounts(*((right & case).sum(-1) for case in cases))


def support_dynamics(preserved: Tensor, expanded: Tensor, shrunk: Tensor) -> SupportDynamics:
    """Retention, discovery, their harmonic mean and net change of the empirical support (arXiv:2507.14843).

    The harmonic mean is 2PE / (P² + 2PE + ES), which is 0 where answers are in reach and nothing was kept or nothing is new.

    Args:
        preserved, expanded, shrunk: counts `[...]`, at least 0.
    """
    p, e, s = (torch.as_tensor(count).double() for count in (preserved, expanded, shrunk))
    return SupportDynamics(p / (p + s), e / (p + e), 2 * p * e / (p.square() + 2 * p * e + e * s), (e - s) / (p + e + s))


def sampled_logit_step(probability: Tensor, right: Tensor, sampled: Tensor, *, reward: float = 1.0, penalty: float = -1.0) -> Tensor:
    """Direction in which one policy-gradient step over the distinct sampled tokens moves a softmax's logits (BroRL, arXiv:2510.01180).

    Token i moves by p_i (R_i - S), where R is `reward` on sampled right tokens, `penalty` on sampled wrong ones and 0 on the others, and S = Σ p_i R_i. It is
    the exact gradient of S in the logits. The paper's step is this times η / N.

    Args:
        probability: `[..., V]`, sums to 1.
        right, sampled: `[..., V]` bool.
        reward: at least 0; `penalty`: at most 0.

    Returns:
        `[..., V]`.
    """
    value = sampled * torch.where(right, reward, penalty).to(probability)
    return probability * (value - (probability * value).sum(-1, keepdim=True))


def mass_balance(probability: Tensor, right: Tensor, sampled: Tensor, *, reward: float = 1.0, penalty: float = -1.0) -> MassBalance:
    """First-order change of the right tokens' mass Q along `sampled_logit_step`, per unit of η / N (BroRL, arXiv:2510.01180, theorem on one step).

    With A and B the sampled right and wrong tokens, X₂ = Σ_X p², and S as in `sampled_logit_step`:
    (reward - S) (1 - Q) A₂ + (S - penalty) Q B₂ + S (Q U₂(wrong) - (1 - Q) U₂(right)), U being what was not sampled. The last term alone can be negative, and
    it vanishes as more is sampled.

    Args, shapes: as `sampled_logit_step`; returns `[...]` each.
    """
    value = sampled * torch.where(right, reward, penalty).to(probability)
    mean = (probability * value).sum(-1)
    mass = (probability * right).sum(-1)

    def squares(where: Tensor) -> Tensor:
        return (probability.square() * where).sum(-1)

    return MassBalance(
        (reward - mean) * (1 - mass) * squares(sampled & right),
        (mean - penalty) * mass * squares(sampled & ~right),
        mean * (mass * squares(~sampled & ~right) - (1 - mass) * squares(~sampled & right)),
    )
