"""Importance ratios of answers that another policy wrote, and of steps that it took."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mixed_importance_ratio(log_prob: Tensor, old_log_prob: Tensor, behaviour_log_prob: Tensor) -> Tensor:
    """Balance-heuristic ratio of two proposals, 2 pi / (pi_omega + pi_old) (RL-PLUS, arXiv:2508.00222).

    Bounded by twice the ratio to either proposal, so that an unlikely token under one of them does not blow it up.

    Args:
        log_prob: `[...]`, under the policy being trained, with gradient.
        old_log_prob: `[...]`, under the policy that sampled this iteration.
        behaviour_log_prob: `[...]`, under the policy that wrote the answer, known or assumed (`assumed_behaviour_log_prob`).
    """
    return (log_prob + math.log(2) - torch.logaddexp(behaviour_log_prob, old_log_prob)).exp()


def truncated_importance(log_prob: Tensor, behaviour_log_prob: Tensor, *, most: float) -> Tensor:
    """min(most, pi / mu), without gradient: the weight of a step that another policy took (IMPALA, arXiv:1802.01561, section 4.1: rho-bar).

    What is truncated is biased towards the policy that acted, and its variance is bounded.

    Args:
        log_prob: `[...]`, under the policy that is trained.
        behaviour_log_prob: `[...]`, under the policy that acted.
        most: the largest weight, > 0.
    """
    return (log_prob - behaviour_log_prob).detach().exp().clamp(max=most)


def assumed_behaviour_log_prob(old_log_prob: Tensor, uniform_log_prob: Tensor) -> Tensor:
    """log(pi_old / 2 + 1 / (2 V)): what is assumed of a writer of whom nothing is known, half the present policy and half uniform (RL-PLUS).

    Args:
        old_log_prob: `[...]`, under the policy that sampled this iteration.
        uniform_log_prob: `[...]`, -log V, V the number of tokens.
    """
    return torch.logaddexp(old_log_prob, uniform_log_prob) - math.log(2)


def exploration_weight(log_prob: Tensor, *, gamma: float) -> Tensor:
    """(1 - pi)^gamma, without gradient: the less likely a right token, the more it counts (RL-PLUS, arXiv:2508.00222).

    Args:
        log_prob: `[...]`, of the token under the policy being trained.
        gamma: exponent, >= 0; 0 weighs all alike.
    """
    return (-torch.expm1(log_prob.detach().clamp(max=0))).pow(gamma)
