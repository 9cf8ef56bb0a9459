"""Values of whole utterances (ArCHer, arXiv:2402.19446): two regressions that go through each other, and the advantage of an utterance.

Each value has two estimates, on the last axis.
"""

from __future__ import annotations

import torch
from torch import Tensor


def utterance_q_target(reward: Tensor, next_value: Tensor, done: Tensor, *, gamma: float) -> Tensor:
    """What Q_i(s, u) is regressed to: r + gamma V_i(s'), V the target network's (ArCHer, arXiv:2402.19446, section 3).

    Args:
        reward: `[...]`, of the turn.
        next_value: `[..., 2]`, of the history with the reply; without gradient, and not looked at where `done`.
        done: `[...]` bool.
        gamma: discount a turn, 0 to 1.

    Returns:
        `[..., 2]`.
    """
    return reward.unsqueeze(-1) + gamma * torch.where(done.unsqueeze(-1), 0.0, next_value)


def utterance_advantage(q: Tensor, value: Tensor) -> Tensor:
    """min_i Q_i(s, u) - min_i V_i(s), `[...]` from two estimates each, `[..., 2]` (ArCHer, arXiv:2402.19446)."""
    return q.amin(-1) - value.amin(-1)
