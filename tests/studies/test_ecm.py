"""A circuit's formula by hand, and the prompts that it is held against."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from operant import studies
from operant.core.errors import BadInput
from operant.studies.ecm import MOST_STEPS, Condition, Shown, conditions, fitted, held_out, induced, power, spearman
from operant.worlds.text.tasks import Problem


def test_power_and_voltage_by_hand():
    three = torch.tensor([0.5, 0.1, 0.25], dtype=torch.float64)
    found = power(three, torch.tensor([0.0, 5.0], dtype=torch.float64), torch.tensor([1.0, 2.0], dtype=torch.float64))
    assert found.tolist() == pytest.approx([0.16, (1 / 1.5) ** 2])
    embedding = {"a": torch.tensor([3.0, 4.0]), "b": torch.tensor([0.0, 5.0])}
    assert induced(embedding, Problem("", "", {"letter": "a", "shown": ["a", "b", "a"]})) == pytest.approx((25 + 20 + 25) / 5)


def test_ranks_share_their_mean():
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0])) == pytest.approx(0.5)
    assert spearman(np.array([1.0, 1.0, 2.0]), np.array([5.0, 5.0, 9.0])) == pytest.approx(1.0)
    assert spearman(np.array([1.0, 1.0]), np.array([1.0, 2.0])) == 0.0


def test_prompts_are_of_their_kind():
    task, rng = Shown(wrong=0.0), np.random.default_rng(0)
    for condition in conditions():
        found = task.of(condition, rng)
        *shown, question = found.prompt.split(",")
        letter = found.metadata["letter"]
        assert len(shown) == condition.demonstrations and sum(each[0] == letter for each in shown) == condition.similar
        assert question == letter + "+" * (condition.steps - 1) + "=" and len(found.prompt) <= task.longest_prompt
        if condition.similar:
            digit = next(int(each[1]) for each in shown if each[0] == letter)
            assert found.answer == str((digit + condition.steps - 1) % 5)
        assert set(found.prompt + found.answer) <= set(task.alphabet)
    wrong = [Shown(wrong=1.0).of(Condition(8, 8, MOST_STEPS), rng) for _ in range(50)]
    assert len({mark for each in wrong for mark in each.prompt if mark.isdigit()}) == 5
    learned = task.problem(rng)
    assert len(learned.prompt) == 1 and task.solution(learned, rng) == learned.answer and learned.answer[-2] == "="
    assert len(task.held_out("fresh", 3)) == 3 and task.held_out("fresh", 3) == task.held_out("fresh", 3)


def test_a_circuits_accuracies_are_predicted_by_a_circuit():
    kinds = conditions()
    voltage = np.array([float(kind.similar) for kind in kinds])
    accuracy = power(
        torch.tensor([0.5, 0.06, 0.2], dtype=torch.float64), torch.from_numpy(voltage), torch.tensor([float(kind.steps) for kind in kinds])
    ).numpy()
    found = fitted(kinds, voltage, accuracy, held_out(len(kinds), 0.34, 0))
    assert found["ecm"]["mse"] < 1e-8 and found["ecm"]["rho"] > 0.999 and found["line in demonstrations and steps"]["mse"] > 1e-4
    assert found["ecm"]["parameters"] == pytest.approx({"own": 0.5, "each": 0.06, "resistance": 0.2}, rel=1e-3)


def test_too_little_to_predict_is_one_line(tmp_path):
    with pytest.raises(BadInput, match="too few to predict"):
        studies.run("ecm", out=tmp_path / "study", held_out=0.01)
