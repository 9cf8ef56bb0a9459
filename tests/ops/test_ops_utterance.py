"""Targets and advantages of whole utterances, by hand."""

from __future__ import annotations

import torch

from operant import ops


def test_the_target_by_hand():
    reward, done = torch.tensor([1.0, -1.0]), torch.tensor([False, True])
    behind = torch.tensor([[2.0, 4.0], [float("nan"), 9.0]])
    assert ops.utterance_q_target(reward, behind, done, gamma=0.5).tolist() == [[2.0, 3.0], [-1.0, -1.0]]


def test_the_advantage_takes_the_smaller_of_two_estimates():
    q, value = torch.tensor([[3.0, 5.0], [0.0, -2.0]]), torch.tensor([[4.0, 1.0], [1.0, 1.5]])
    assert ops.utterance_advantage(q, value).tolist() == [2.0, -3.0]
