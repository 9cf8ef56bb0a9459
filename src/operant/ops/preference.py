"""Objectives of pairs of answers, of which one is preferred. None of them averages over pairs."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid


def bradley_terry_loss(chosen: Tensor, rejected: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of a preference with the Bradley-Terry model of two scores: −(1 − ε) log σ(c − r) − ε log σ(r − c).

    Source: reward modelling of RLHF (arXiv:2203.02155, eq. 1; Bradley & Terry 1952). With ε, the labels are taken to be wrong that often (cDPO: Mitchell 2023,
    "A note on DPO with noisy preferences"); the margin that is best is then logit(1 − ε).

    Args:
        chosen, rejected: scores `[...]` of the preferred answer and of the other, any unit, with gradient. Only their difference counts.
        label_smoothing: ε, share of labels that are wrong, 0 to 0.5.

    Returns:
        `[...]`, nats, at least 0; log 2 where both scores are equal.
    """
    margin = chosen - rejected
    return -(1 - label_smoothing) * logsigmoid(margin) - label_smoothing * logsigmoid(-margin)


def dpo_loss(chosen_log_ratio: Tensor, rejected_log_ratio: Tensor, *, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """The loss of direct preference optimisation: Bradley-Terry with the scores β log(π(y|x) / π_ref(y|x)) (DPO, arXiv:2305.18290, eq. 7).

    Its gradient is −β σ(−margin) (∇ log π(chosen) − ∇ log π(rejected)) for ε = 0 (section 4).

    Args:
        chosen_log_ratio, rejected_log_ratio: log π(y|x) − log π_ref(y|x) `[...]` of whole answers, nats, with gradient.
        beta: > 0; how much a nat of log-ratio is worth. The policy that is optimal for the reward r behind the preferences is π_ref exp(r / β) / Z.
        label_smoothing: of `bradley_terry_loss`.

    Returns:
        `[...]`, nats.
    """
    return bradley_terry_loss(beta * chosen_log_ratio, beta * rejected_log_ratio, label_smoothing=label_smoothing)
