"""Advantages of answers from the scores of their group, and of their whole batch.

Scores stand as `[..., G, K]`: G groups (prompts) of K members (answers). Members whose mask is False get 0 and enter no statistic; their score may be NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor

from operant.ops.advantage import centre, group_normalized_advantage


def batch_scaled_advantage(score: Tensor, mask: Tensor | None = None, *, eps: float = 1e-6) -> Tensor:
    """Score less its group's mean, divided by the standard deviation of the whole batch's scores (Lite PPO, arXiv:2508.08221).

    The deviation is the sample's, of the scores themselves and not of the centred ones, over members: an answer counts once however long it is. With one group
    it is `group_normalized_advantage`.

    Args:
        score: `[..., G, K]`.
        mask: `[..., G, K]` bool. None: all.
        eps: added to the standard deviation, in units of the score.

    Returns:
        `[..., G, K]`; exactly 0 in groups whose scores are all equal.
    """
    members = _members(score, mask)
    batch = centre(score.flatten(-2), members.flatten(-2))
    std = (batch.square().sum(-1, keepdim=True) / (members.flatten(-2).sum(-1, keepdim=True) - 1).clamp(min=1)).sqrt().unsqueeze(-1)
    return centre(score, members) / (std + eps)


def virtual_max_advantage(score: Tensor, mask: Tensor | None = None, *, max_reward: float = 1.0, eps: float = 1e-6) -> Tensor:
    """Group-normalised advantage in which an imagined member of the highest reward enters mean and standard deviation (NGRPO, arXiv:2509.18851).

    With sample standard deviations, K members that all score `max_reward` - 1 get -1 / sqrt(K + 1) each; members that all score `max_reward` get 0.

    Args:
        score: `[..., K]`.
        mask: `[..., K]` bool. None: all.
        max_reward: of the imagined member, in units of the score.
        eps: added to the standard deviation, in units of the score.

    Returns:
        `[..., K]`. A member that is alone in its group keeps its score (mean 0, deviation 1), as in the authors' code.
    """
    members = _members(score, mask)
    extended = torch.cat([score.masked_fill(~members, 0.0), torch.full_like(score[..., :1], max_reward)], -1)
    among = torch.cat([members, torch.ones_like(members[..., :1])], -1)
    advantage = group_normalized_advantage(extended, among, eps=eps)[..., :-1]
    alone = members.sum(-1, keepdim=True) == 1
    return torch.where(alone, score.masked_fill(~members, 0.0) / (1 + eps), advantage).masked_fill(~members, 0.0)


def beta_parameters(rate: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Parameters (alpha, beta) of BNPO's normalising Beta density (arXiv:2506.02864).

    Success rates of prompts are matched to Beta(a, b) by mean m and sample variance v: a = (m (1 - m) / v - 1) m, b the same with 1 - m. The density that makes
    the gradient's variance least is Beta(1 + a/3, 1 + b/3), whose parameters are kept at 1 or more.

    Args:
        rate: `[..., G]`, share of right answers of each prompt, 0 to 1.
        mask: `[..., G]` bool. None: all.

    Returns:
        Two tensors `[..., 1]`, at least 1; both 1 where rates do not vary (a single prompt among them), which leaves REINFORCE with a baseline.
    """
    members = _members(rate, mask)
    count = members.sum(-1, keepdim=True)
    mean = rate.masked_fill(~members, 0.0).sum(-1, keepdim=True) / count.clamp(min=1)
    centred = centre(rate, members)
    variance = centred.square().sum(-1, keepdim=True) / (count - 1).clamp(min=1)
    size = torch.where(variance > 0, mean * (1 - mean) / variance - 1, 0.0)
    return (1 + size * mean / 3).clamp(min=1), (1 + size * (1 - mean) / 3).clamp(min=1)


def beta_normalized_advantage(score: Tensor, mask: Tensor | None = None, *, parameters: tuple[float, float] | None = None, max_weight: float = 1e6) -> Tensor:
    """Score less its group's mean p, divided by a Beta density: (R - p) / f(p; alpha, beta) (BNPO, arXiv:2506.02864).

    The paper derives it for binary scores; a graded one between 0 and 1 counts as that share of a success.

    Args:
        score: `[..., G, K]`, each from 0 to 1.
        mask: `[..., G, K]` bool. None: all.
        parameters: (alpha, beta); None takes `beta_parameters` of the batch. (1, 1) is the centred score, (3/2, 3/2) proportional to GRPO's advantage.
        max_weight: upper bound of 1 / f, which is unbounded where p is near 0 or 1.

    Returns:
        `[..., G, K]`; exactly 0 in groups whose scores are all equal.

    Raises:
        ValueError: a score outside 0 to 1.
    """
    members = _members(score, mask)
    score = score.masked_fill(~members, 0.0)
    outside = score[~((score >= 0) & (score <= 1))]
    if len(outside):
        raise ValueError(f"Beta normalisation takes rewards from 0 to 1; one is {outside[0].item():g}")
    count = members.sum(-1)
    rate = score.sum(-1) / count.clamp(min=1)
    if parameters is None:
        alpha, beta = beta_parameters(rate, count > 0)
    else:
        alpha, beta = (rate.new_tensor(value) for value in parameters)
    log_normalizer = alpha.lgamma() + beta.lgamma() - (alpha + beta).lgamma()
    log_density = torch.xlogy(alpha - 1, rate) + torch.special.xlog1py(beta - 1, -rate) - log_normalizer
    weight = (-log_density).exp().clamp(max=max_weight)
    return centre(score, members) * weight.unsqueeze(-1)


def median_split_advantage(score: Tensor, mask: Tensor | None, metric: Tensor, inter_weight: Tensor | float, *, high_factor: float = 1.0) -> Tensor:
    """Advantage over the two halves of a group, split at the median of a metric (CANON, arXiv:2509.23962).

    inter: score less the mean score of the other half; intra: less that of the own half; their mix is inter_weight * inter + (1 - inter_weight) * intra. With
    equal halves and a weight of 1/2 that is the centred score.

    Args:
        score: `[..., K]`.
        mask: `[..., K]` bool. None: all.
        metric: `[..., K]`. The low half are the floor(n / 2) members of lowest metric; ties are split in the order of the members.
        inter_weight: 0 to 1, a number or `[..., K]`.
        high_factor: multiplies the high half's scores in the inter-group comparison; below 1 it favours the low half.

    Returns:
        `[..., K]`; 0 for a member that is alone in its group, and with a high_factor of 1 where all scores are equal up to rounding.
    """
    members = _members(score, mask)
    score = score.masked_fill(~members, 0.0)
    centred = centre(score, members)  # differences of centred scores are those of the scores, and 0 where all are equal
    level = (score - centred).masked_fill(~members, 0.0)
    order = metric.masked_fill(~members, torch.inf).argsort(dim=-1, stable=True)
    rank = torch.empty_like(order).scatter_(-1, order, torch.arange(order.shape[-1], device=order.device).expand_as(order))
    count = members.sum(-1, keepdim=True)
    low = members & (rank < count // 2)
    high = members & ~low

    def mean(half: Tensor) -> Tensor:
        return (centred * half).sum(-1, keepdim=True) / half.sum(-1, keepdim=True).clamp(min=1)

    favour = (1 - high_factor) * level
    inter = torch.where(high, high_factor * centred - mean(low) - favour, centred - high_factor * mean(high) + favour)
    intra = centred - torch.where(high, mean(high), mean(low))
    return (inter_weight * inter + (1 - inter_weight) * intra).masked_fill(~members | (count < 2), 0.0)


def group_mean_advantage(score: Tensor, mask: Tensor | None = None, *, eps: float = 1e-6) -> Tensor:
    """Mean score of each group, standardised over the groups of the batch and given to all members (COPO, arXiv:2508.04138, global advantage).

    Args:
        score: `[..., G, K]`.
        mask: `[..., G, K]` bool. None: all.
        eps: added to the (sample) standard deviation, in units of the score.

    Returns:
        `[..., G, K]`; exactly 0 where all groups have the same mean, as a single group has.
    """
    members = _members(score, mask)
    count = members.sum(-1)
    mean = score.masked_fill(~members, 0.0).sum(-1) / count.clamp(min=1)
    return group_normalized_advantage(mean, count > 0, eps=eps).unsqueeze(-1) * members


def answer_entropy(answer: Tensor, mask: Tensor | None = None) -> Tensor:
    """Entropy of the distribution of distinct answers within a group, -sum_a p_a log p_a, nats: 0 where all agree, log K where all differ.

    Args:
        answer: `[..., K]` int64, equal numbers for equal answers.
        mask: `[..., K]` bool. None: all.

    Returns:
        `[..., 1]`; 0 for an empty group.
    """
    members = _members(answer, mask)
    count = members.sum(-1, keepdim=True).clamp(min=1)
    same = ((answer.unsqueeze(-1) == answer.unsqueeze(-2)) & members.unsqueeze(-2)).sum(-1)
    # A class of n_a members counts n_a times, each with log(n_a / n) / n.
    return -((same.clamp(min=1) / count).log() * members).sum(-1, keepdim=True) / count


def sign_weighted_score(score: Tensor, mask: Tensor | None = None, *, positive: float, negative: float) -> Tensor:
    """Reinforcement of right and of wrong answers apart, without a baseline: positive * R - negative * (1 - R) (arXiv:2506.01347).

    (1, 0) is positive-sample reinforcement, (0, 1) negative-sample reinforcement, (0.1, 1) W-REINFORCE, (1, 1) REINFORCE with rewards of 1 and -1.

    Args:
        score: `[..., K]`, 0 to 1.
        mask: `[..., K]` bool. None: all.
        positive, negative: weights, at least 0.
    """
    return (positive * score - negative * (1 - score)).masked_fill(~_members(score, mask), 0.0)


def _members(x: Tensor, mask: Tensor | None) -> Tensor:
    return torch.ones_like(x, dtype=torch.bool) if mask is None else mask.bool()
