"""Rewards made from what is known of an answer: a verifier's word, its faults, a stated confidence, the soundness of the steps."""

from __future__ import annotations

import torch
from torch import Tensor


def backward_corrected_reward(reward: Tensor, *, false_positive: float | Tensor, false_negative: float | Tensor) -> Tensor:
    """(r - rho_0) / (1 - rho_0 - rho_1): its mean over a noisy verifier's verdicts is the true reward (arXiv:2510.00915, backward correction).

    Args:
        reward: `[...]`, the verifier's verdicts, 0 or 1.
        false_positive: rho_0, chance that a wrong answer is called right.
        false_negative: rho_1, chance that a right answer is called wrong; rho_0 + rho_1 < 1.

    Raises:
        ValueError: rho_0 + rho_1 is 1 or more: such verdicts say nothing.
    """
    informative = 1 - false_positive - false_negative
    if not bool(torch.as_tensor(informative > 0).all()):
        raise ValueError("false_positive + false_negative must be below 1: such verdicts say nothing")
    return (reward - false_positive) / informative


def forward_corrected_weight(reward: Tensor, *, false_negative: float | Tensor) -> Tensor:
    """Weight of the score function that needs the rate of false negatives alone: rho_1 where r is 1, rho_1 - 1 where it is 0.

    Source: arXiv:2510.00915, forward correction. Its mean is 0 for a right answer and -(1 - rho_0 - rho_1) for a wrong one, so that the expected update is a
        positive multiple of the clean gradient, as long
    as no baseline takes the constant away.

    Args:
        reward: `[...]`, the verifier's verdicts, 0 or 1.
        false_negative: rho_1, chance that a right answer is called wrong, 0 to 1.
    """
    return reward - 1 + false_negative


def calibrated_reward(correct: Tensor, confidence: Tensor) -> Tensor:
    """1[right] + 1 - (q - 1[right])^2: correctness and the Brier score of a stated confidence (RLCR, arXiv:2507.16806, and 1 as in the authors' code).

    For a chance p of being right the best q is p, and the expected reward is then 1 + p^2: it pays to be right and to say how sure one is.

    Args:
        correct: `[...]`, 0 or 1.
        confidence: `[...]`, q in [0, 1]; NaN where none could be read, which gives 0.
    """
    return torch.where(confidence.isnan(), 0.0, correct + 1 - (confidence - correct).square())


def flaw_penalized_reward(correct: Tensor, sound: Tensor, *, penalty: float) -> Tensor:
    """+1 for a right answer by sound steps, 1 - penalty by flawed ones, -1 for a wrong answer (FAPO, arXiv:2510.22543).

    Normalised in its group with penalty 1, a flawed right answer has the sign of (share of wrong) - (share of sound right) answers.

    Args:
        correct, sound: `[...]`, 0 or 1.
        penalty: lambda, 0 to 2.
    """
    return torch.where(correct > 0.5, 1 - penalty * (sound <= 0.5).to(correct.dtype), -1.0)


def answer_likelihood_reward(probability: Tensor, alone: Tensor) -> Tensor:
    """clip(f - f_0, 0, 1): how much an answer's own reasoning raises the mean probability of the reference answer's tokens (RLPR, arXiv:2506.18254).

    Args:
        probability: `[...]`, f, mean probability of the reference answer's tokens behind the reasoning, 0 to 1.
        alone: `[...]`, f_0, the same behind no reasoning.
    """
    return (probability - alone).clamp(0, 1)
