"""Objectives that fit log-ratios log pi(y|x) - log pi_old(y|x): to a verifier's label, to an advantage, or to a value. None of them averages over rows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from operant.ops.advantage import centre


def leave_one_out(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Each member of a group less the mean of the others: x_i - mean over j != i of x_j (RLOO, arXiv:2402.14740, section 2.3). Differentiable in every member.

    Args:
        x: `[..., K]`, one a member.
        mask: `[..., K]` bool; members that are False get 0 and enter no mean (they may be NaN). None: all.

    Returns:
        `[..., K]`; 0 for a member without another, and exactly 0 where all are equal up to rounding (`centre`).
    """
    mask = torch.ones_like(x, dtype=torch.bool) if mask is None else mask.bool()
    count = mask.sum(-1, keepdim=True, dtype=x.dtype)
    return centre(x, mask) * (count / (count - 1).clamp(min=1))


def class_balanced_weight(label: Tensor, mask: Tensor | None = None) -> Tensor:
    """Weight that lets right and wrong members of a group count alike, K / (2 K_class); 1 where all labels are equal (PACS, arXiv:2509.02522).

    Args:
        label: `[..., K]`, 0 or 1.
        mask: `[..., K]` bool; members that are False get 0 and are not counted. None: all.

    Returns:
        `[..., K]`; the weights of a group sum to the number of its members.
    """
    mask = torch.ones_like(label, dtype=torch.bool) if mask is None else mask.bool()
    right = (label > 0.5) & mask
    count = mask.sum(-1, keepdim=True, dtype=label.dtype)
    of_class = torch.where(right, right.sum(-1, keepdim=True), (mask & ~right).sum(-1, keepdim=True)).to(label.dtype)
    weight = torch.where((of_class == count) | (of_class == 0), 1.0, count / (2 * of_class).clamp(min=1))
    return weight.masked_fill(~mask, 0.0)


def leave_one_out_cross_entropy(log_ratio: Tensor, label: Tensor, mask: Tensor | None = None, *, beta: float = 1.0, balanced: bool = True) -> Tensor:
    """Binary cross-entropy of a verifier's label with logit psi_i = beta (rho_i - mean over j != i of rho_j) (PACS, arXiv:2509.02522).

    Its gradient is w_i (sigmoid(psi_i) - label_i) times that of psi_i. Where every rho is 0 it is, without weights and summed over the group, that of
    -beta sum_i A_i rho_i, A being the leave-one-out advantage of the labels.

    Args:
        log_ratio: rho `[..., K]`, of whole answers, nats, with gradient.
        label: `[..., K]`, 0 or 1.
        mask: `[..., K]` bool; members that are False get 0 and enter no score. None: all.
        beta: scale of the scores, > 0.
        balanced: weigh by `class_balanced_weight`.

    Returns:
        `[..., K]`, a loss a member.
    """
    mask = torch.ones_like(log_ratio, dtype=torch.bool) if mask is None else mask.bool()
    label = label.to(log_ratio.dtype).masked_fill(~mask, 0.0)
    loss = functional.binary_cross_entropy_with_logits(beta * leave_one_out(log_ratio, mask), label, reduction="none")
    return (loss * class_balanced_weight(label, mask) if balanced else loss).masked_fill(~mask, 0.0)


def standardized_log_ratio_loss(log_ratio: Tensor, advantage: Tensor, mask: Tensor | None = None, *, std_floor: float = 1e-3) -> Tensor:
    """Squared error between a group's standardised log-ratio and its advantage (Reg-GRPO, arXiv:2506.07464): (A_i - (rho_i - mean rho) / max(std, std_floor))².

    It is 0 for pi = pi_old exp(A / beta) / Z with any beta up to 1 / std_floor: standardising takes out Z and beta. The standard deviation is the sample's
    (K - 1), as in `group_normalized_advantage`, and has gradient where it is above the floor. Below it, as before the first update where every rho is 0, the
    divisor is the floor: then the loss is the plain regression of rho on A * std_floor. Log-ratios that lie within a tenth of the floor of each other count as
    equal: they differ by the rounding of two passes, which the floor's square would blow up to a step.

    Args:
        log_ratio: rho `[..., K]`, of whole answers, nats, with gradient.
        advantage: `[..., K]`, standardised within the group.
        mask: `[..., K]` bool; members that are False get 0 and enter no statistic. None: all.
        std_floor: smallest divisor, nats, > 0; well above the rounding error of a log-ratio.

    Returns:
        `[..., K]`, a loss a member.
    """
    mask = torch.ones_like(log_ratio, dtype=torch.bool) if mask is None else mask.bool()
    centred = centre(log_ratio, mask)
    value = centred.detach()
    alike = value.amax(-1, keepdim=True) - value.amin(-1, keepdim=True) <= std_floor / 10
    centred = torch.where(alike, centred - value, centred)
    variance = centred.square().sum(-1, keepdim=True) / (mask.sum(-1, keepdim=True) - 1).clamp(min=1)
    return (advantage.masked_fill(~mask, 0.0) - centred / variance.clamp(min=std_floor**2).sqrt()).square()


def log_ratio_regression_loss(log_ratio: Tensor, advantage: Tensor, *, beta: float) -> Tensor:
    """Squared error between a log-ratio and the scaled advantage, (A / beta - rho)² (DAPO, arXiv:2412.18279).

    Over a softmax's actions, weighted by nu, its minimiser has residuals A / beta - rho in proportion to pi / nu.

    Args:
        log_ratio: rho `[...]`, nats, with gradient.
        advantage: `[...]`.
        beta: > 0; the larger, the smaller the step away from the reference.
    """
    return (advantage / beta - log_ratio).square()


def mean_log_prob(logits: Tensor) -> Tensor:
    """Mean over the vocabulary of the log-probability, mean(logits) - logsumexp(logits), nats. The tail dominates it: use float32 or more.

    Args:
        logits: `[..., V]`. The result is `[...]`.
    """
    return logits.mean(-1) - logits.logsumexp(-1)


def uniform_policy_target(reward: Tensor, mean_log_prob: Tensor, old_mean_log_prob: Tensor, mask: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Bellman target of the uniform policy's value, r + mean over a' of Q(s', a'), for Q = temperature (log pi - log pi_old) (ROVER, arXiv:2509.24981).

    The mean over actions is temperature (`mean_log_prob` - `old_mean_log_prob`) of the next step, and 0 after the last one.

    Args:
        reward: `[..., T]`, at every step.
        mean_log_prob, old_mean_log_prob: `[..., T]`, means over the vocabulary before each step, of the policy and of the one that acted.
        mask: `[..., T]` bool, the steps that were chosen.
        temperature: rho of the paper, > 0.

    Returns:
        `[..., T]`, without gradient.
    """
    value = temperature * (mean_log_prob - old_mean_log_prob).detach().masked_fill(~mask.bool(), 0.0)
    return reward + torch.cat([value[..., 1:], torch.zeros_like(value[..., :1])], -1)


def running_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of a row's chosen steps up to and with each step, `[..., T]` -> `[..., T]`; 0 before the first one.

    Args:
        x: `[..., T]`; what stands where the mask is False does not matter, NaN included.
        mask: `[..., T]` bool.
    """
    mask = mask.bool()
    return x.masked_fill(~mask, 0.0).cumsum(-1) / mask.cumsum(-1).clamp(min=1)


def token_outcome_weights(logit: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of the tokens of right and of wrong answers from a token reward model (OREAL, arXiv:2502.06781): max(2 s - 1, 0) and max(1 - 2 s, 0).

    s is the sigmoid of the running mean of the logits: how likely the answer is right, judged by its tokens so far.

    Args:
        logit: `[..., T]`, of the token reward model.
        mask: `[..., T]` bool, the steps that were chosen.

    Returns:
        (weight in right answers, weight in wrong ones), `[..., T]` each, 0 to 1, without gradient.
    """
    lean = 2 * running_mean(logit.detach(), mask).sigmoid() - 1
    return lean.clamp(min=0), (-lean).clamp(min=0)
