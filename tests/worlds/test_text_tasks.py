"""Arithmetic: problems, traces, and what is held out; and what every generated task keeps to."""

import itertools
import json

import numpy as np
import pytest

from operant.core.errors import BadInput
from operant.worlds.text.tasks import TEXT_TASKS, Arithmetic, Problem, TurnTask
from operant.worlds.text.tasks.base import in_held_out_tenth

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
    share = np.mean([in_held_out_tenth(bytes(digits)) for digits in every])
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


def test_the_first_held_out_sums_never_change():
    """Scores of different versions are compared on them."""
    assert [p.prompt for p in TASK.held_out("operands", 3)] == ["3+1+2+0+4+9=", "9+7+8+0+0+1=", "1+0+8+3+5+6="]
    assert [p.prompt for p in TASK.held_out("length", 2)] == ["3+3+2+5+8+9+8=", "9+1+0+9+7+5+2+5="]


@pytest.mark.parametrize("name", [name for name, task in TEXT_TASKS.items() if not issubclass(task, TurnTask)])
class TestEveryTask:
    def test_solutions_are_right_and_in_the_form_that_the_task_says(self, name):
        task, rng = TEXT_TASKS[name](), np.random.default_rng(5)
        problems = [task.problem(rng) for _ in range(100)] + [p for split in task.splits for p in task.held_out(split, 10)]
        for problem in problems:
            text = task.solution(problem, rng)
            assert task.verifier.trusted and task.verifier.score(problem, text) == 1.0
            assert task.verifier.score(problem, task.reasoning(text) + problem.answer) == 1.0
            assert task.verifier.score(problem, task.reasoning("") + problem.answer) == 1.0
            assert len(problem.prompt) <= task.longest_prompt and len(text) <= task.longest_completion
            assert set(problem.prompt + text) <= set(task.alphabet)
            assert json.loads(json.dumps(problem.metadata)) == problem.metadata
            if task.process is not None:
                assert task.process.trusted and task.process.score(problem, text) == 1.0

    def test_wrong_traces_have_the_form_of_right_ones(self, name):
        task, rng = TEXT_TASKS[name](), np.random.default_rng(6)
        problems = [task.problem(rng) for _ in range(200)]
        for problem in problems:
            text = task.trace(problem, rng, corrupt=1.0)
            assert len(text) <= task.longest_completion and set(text) <= set(task.alphabet) and task.answer(text)
            if name != "cued":  # whose wrong traces often have right answers
                assert task.verifier.score(problem, text) == 0.0
        of_right = [len(task.trace(problem, rng, corrupt=0.0)) for problem in problems]
        of_wrong = [len(task.trace(problem, rng, corrupt=1.0)) for problem in problems]
        assert abs(np.mean(of_right) - np.mean(of_wrong)) <= 0.25 * np.mean(of_right)

    def test_test_problems_are_the_same_in_every_run_and_never_trained(self, name):
        task, rng = TEXT_TASKS[name](), np.random.default_rng(7)
        trained = {task.problem(rng).prompt for _ in range(3_000)}
        for split in task.splits:
            found = task.held_out(split, 10)
            assert found == TEXT_TASKS[name]().held_out(split, 10) and found[:4] == task.held_out(split, 4)
            assert len({problem.prompt for problem in found}) == 10
            assert not trained & {problem.prompt for problem in found}
        assert len(task.held_out(task.splits[0], 128)) == 128

    def test_nothing_that_a_model_writes_breaks_a_check(self, name):
        task = TEXT_TASKS[name]()
        problem = task.problem(np.random.default_rng(8))
        rng = np.random.default_rng(9)
        texts = ["", ";", ";;", ",", " ; ", ";" * 5_000, "(" * 5_000, ";" + "(" * 5_000, ";" + "9*" * 30_000, "\ud83d\ude00;\u0663", "1/0;1/0", "a\nb;c", ";-1"]
        texts += ["".join(rng.choice(list(task.alphabet), size=int(rng.integers(1, 60)))) for _ in range(300)]
        for text in texts:
            assert task.verifier.score(problem, text) in (0.0, 1.0)
            assert isinstance(task.answer(text), str) and isinstance(task.reasoning(text), str)
            assert (task.process or task.verifier).score(problem, text) in (0.0, 1.0)

    def test_bad_input_is_one_clear_line(self, name):
        task = TEXT_TASKS[name]()
        problem = task.problem(np.random.default_rng(0))
        for call, words in (
            (lambda: task.held_out("depth", 1), f"{name}: unknown split 'depth'; known: {task.splits[0]}"),
            (lambda: task.held_out(task.splits[0], 0), f"{name}: 0 test problems"),
            (lambda: task.trace(problem, np.random.default_rng(0), corrupt=-1), "the nearest is 0"),
        ):
            with pytest.raises(BadInput, match=words) as raised:
                call()
            assert "\n" not in str(raised.value)


def test_arithmetic_steps_are_checked():
    problem = Arithmetic._make([3, 5, 9], "train")
    assert [TASK.process.score(problem, text) for text in ("8,7;7", "8,7;8", "9,7;7", "7;7", "8,7,7;7", "8,7")] == [1, 0, 0, 0, 0, 0]
    assert (TASK.answer("8,7;7"), TASK.answer("8,7"), TASK.answer("1;2; 3 ")) == ("7", "", "3")
    assert (TASK.reasoning("8,7;7"), TASK.reasoning("8,7"), TASK.reasoning("")) == ("8,7;", "8,7;", ";")
