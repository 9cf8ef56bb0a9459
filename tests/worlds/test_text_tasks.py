"""Arithmetic problems, their traces, and what is held out."""

import itertools

import numpy as np
import pytest

from operant.core.errors import BadInput
from operant.worlds.text.tasks import TEXT_TASKS, Arithmetic, Problem, _in_held_out_tenth

TASK = Arithmetic(operands=6)


def check(problem: Problem, trace: str) -> list[int]:
    """Which partial sums of a trace do not follow from the one before; also that the trace has the format."""
    operands = [int(c) for c in problem.prompt.rstrip("=").split("+")]
    partial, answer = trace.split(";")
    sums = [int(c) for c in partial.split(",")]
    assert len(sums) == len(operands) - 1 and answer == str(sums[-1])
    return [i for i, (before, digit, after) in enumerate(zip([operands[0], *sums], operands[1:], sums, strict=False)) if (before + digit) % 10 != after]


def test_the_documented_example():
    problem = Arithmetic._make([3, 5, 9], "train")
    assert (problem.prompt, problem.answer) == ("3+5+9=", "7")
    assert TASK.trace(problem, np.random.default_rng(0), corrupt=0) == "8,7;7"


def test_problems_and_traces_are_right():
    rng = np.random.default_rng(1)
    for _ in range(200):
        problem = TASK.problem(rng)
        assert len(problem.prompt) == 12 and set(problem.prompt) <= set(TASK.alphabet)
        assert str(sum(map(int, problem.prompt.rstrip("=").split("+"))) % 10) == problem.answer
        trace = TASK.trace(problem, rng, corrupt=0)
        assert check(problem, trace) == [] and TASK.verifier.score(problem, trace) == 1.0


def test_a_corrupted_trace_has_one_wrong_step_that_is_carried_on():
    rng = np.random.default_rng(2)
    places = []
    for _ in range(300):
        problem = TASK.problem(rng)
        trace = TASK.trace(problem, rng, corrupt=1)
        wrong = check(problem, trace)
        assert len(wrong) == 1 and TASK.verifier.score(problem, trace) == 0.0
        places += wrong
    assert set(places) == {0, 1, 2, 3, 4}


def test_a_quarter_is_corrupted():
    rng = np.random.default_rng(3)
    problems = [TASK.problem(rng) for _ in range(2000)]
    share = np.mean([bool(check(problem, TASK.trace(problem, rng))) for problem in problems])
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / 2000) ** 0.5


def test_the_held_out_tenth_is_a_tenth_and_never_trained():
    every = list(itertools.product(range(10), repeat=4))
    share = np.mean([_in_held_out_tenth(list(digits)) for digits in every])
    assert 0.09 < share < 0.11
    task = Arithmetic(operands=4)
    rng = np.random.default_rng(4)
    trained = {task.problem(rng).prompt for _ in range(30_000)}
    assert len(trained) > 8000  # nearly all of the nine tenths
    for split in task.splits:
        assert not trained & {problem.prompt for problem in task.held_out(split, 400)}


def test_held_out_sets():
    operands, length = TASK.held_out("operands", 256), TASK.held_out("length", 256)
    assert operands == TASK.held_out("operands", 256) and operands[:10] == TASK.held_out("operands", 10)
    assert {len(p.metadata["operands"]) for p in operands} == {6}
    assert sorted(len(p.metadata["operands"]) for p in length) == [7] * 128 + [8] * 128
    assert len({p.prompt for p in operands + length}) == 512
    assert max(len(p.prompt) for p in length) == TASK.longest_prompt
    assert max(len(TASK.trace(p, np.random.default_rng(0))) for p in length) == TASK.longest_completion


def test_bad_input():
    for call, words in (
        (lambda: Arithmetic(operands=3), "nearest is 4"),
        (lambda: TASK.held_out("depth", 1), "known: operands, length"),
        (lambda: Arithmetic(operands=4).held_out("operands", 501), "1 to 500"),
        (lambda: TASK.trace(TASK.held_out("length", 1)[0], np.random.default_rng(0), corrupt=2), "nearest is 1"),
    ):
        with pytest.raises(BadInput, match=words) as raised:
            call()
        assert "\n" not in str(raised.value)
    assert TEXT_TASKS["arithmetic"] is Arithmetic
