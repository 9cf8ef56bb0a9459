"""Rewards from what is known of an answer: hand-worked numbers and the expectations that the papers state."""

from __future__ import annotations

import math

import pytest
import torch

from operant import ops

RATES = [(0.0, 0.0), (0.1, 0.3), (0.4, 0.2)]


@pytest.mark.parametrize(("false_positive", "false_negative"), RATES)
def test_corrections_have_the_expectations_of_the_paper(false_positive: float, false_negative: float):
    verdict = torch.tensor([1.0, 0.0], dtype=torch.float64)
    right = torch.tensor([1 - false_negative, false_negative], dtype=torch.float64)  # of the verdicts of a right answer
    wrong = torch.tensor([false_positive, 1 - false_positive], dtype=torch.float64)
    backward = ops.backward_corrected_reward(verdict, false_positive=false_positive, false_negative=false_negative)
    assert (right * backward).sum().item() == pytest.approx(1.0, abs=1e-12)
    assert (wrong * backward).sum().item() == pytest.approx(0.0, abs=1e-12)
    forward = ops.forward_corrected_weight(verdict, false_negative=false_negative)
    assert (right * forward).sum().item() == pytest.approx(0.0, abs=1e-12)
    assert (wrong * forward).sum().item() == pytest.approx(-(1 - false_positive - false_negative), abs=1e-12)


def test_group_normalisation_makes_the_backward_correction_a_no_op():
    verdict = torch.tensor([[1.0, 0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    corrected = ops.backward_corrected_reward(verdict, false_positive=0.1, false_negative=0.3)
    torch.testing.assert_close(ops.group_normalized_advantage(corrected, eps=0.0), ops.group_normalized_advantage(verdict, eps=0.0))


def test_rates_that_say_nothing_are_refused():
    with pytest.raises(ValueError, match="below 1"):
        ops.backward_corrected_reward(torch.ones(1), false_positive=0.5, false_negative=0.5)


def test_calibrated_reward_by_hand():
    correct = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    confidence = torch.tensor([0.7, 0.7, math.nan], dtype=torch.float64)
    torch.testing.assert_close(ops.calibrated_reward(correct, confidence), torch.tensor([2 - 0.09, 1 - 0.49, 0.0], dtype=torch.float64))


def test_the_best_confidence_is_the_chance_of_being_right():
    q = torch.arange(101, dtype=torch.float64) / 100
    for p in (0.0, 0.2, 0.55, 1.0):
        expected = p * ops.calibrated_reward(torch.ones_like(q), q) + (1 - p) * ops.calibrated_reward(torch.zeros_like(q), q)
        assert q[expected.argmax()].item() == pytest.approx(p, abs=1e-9)
        assert expected.max().item() == pytest.approx(1 + p * p, abs=1e-9)


def test_flaws_by_hand():
    correct, sound = torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.tensor([1.0, 0.0, 1.0, 0.0])
    assert ops.flaw_penalized_reward(correct, sound, penalty=1.0).tolist() == [1.0, 0.0, -1.0, -1.0]
    assert ops.flaw_penalized_reward(correct, sound, penalty=0.25).tolist() == [1.0, 0.75, -1.0, -1.0]


def test_answer_likelihood_by_hand():
    assert ops.answer_likelihood_reward(torch.tensor([0.75, 0.25, 1.0]), torch.tensor([0.5, 0.5, 0.0])).tolist() == [0.25, 0.0, 1.0]
