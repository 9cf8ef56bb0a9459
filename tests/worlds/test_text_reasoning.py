"""The rules of each generated task, by hand and against slow references."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from operant.core.errors import BadInput
from operant.worlds.text.tasks import Problem
from operant.worlds.text.tasks.arithmetic import Cued
from operant.worlds.text.tasks.countdown import Countdown, NotAnExpression, parse
from operant.worlds.text.tasks.graph_path import GraphPath, paths
from operant.worlds.text.tasks.knights_knaves import KnightsKnaves, holds, liar
from operant.worlds.text.tasks.program import EXAMPLES, INSTRUCTIONS, MOST_INSTRUCTIONS, Program, passes, run
from operant.worlds.text.tasks.sort import Sort
from operant.worlds.text.tasks.uncertain import CONFIDENCES, Uncertain

COUNTDOWN = Problem("3,7,4=17:", "3*7-4", {"numbers": [3, 7, 4], "target": 17})


@pytest.mark.parametrize(
    ("completion", "right"),
    [
        ("3*7=21,21-4=17;3*7-4", 1),
        (";7*3-4", 1),
        ("; (3 * 7) - 4 ", 1),
        (";-4+3*7", 0),  # no signs
        (";3*7-4+0", 0),  # a number of its own
        (";7+4+3", 0),  # another value
        (";3*7-4;", 0),
        ("3*7-4", 0),  # no marker
        (";17", 0),
        (";3*(7-4", 0),
        (";3*7-4)", 0),
        (";3**7-4", 0),
        (";37-4", 0),
        (";3*7-04", 1),
        (";3*7-٤", 0),
    ],
)
def test_countdown_answers(completion, right):
    assert Countdown.verifier.score(COUNTDOWN, completion) == right


def test_countdown_takes_fractions_on_the_way_and_no_division_by_zero():
    problem = Problem("8,3,3=24:", "", {"numbers": [8, 3, 3], "target": 24})
    assert Countdown.verifier.score(problem, ";8/(3/3)*1") == 0 and Countdown.verifier.score(problem, ";8*3/3") == 0
    assert Countdown.verifier.score(Problem("", "", {"numbers": [8, 8, 3, 3], "target": 24}), ";8/(3-8/3)") == 1
    assert Countdown.verifier.score(problem, ";8/(3-3)") == 0 and Countdown.verifier.score(problem, ";8/3/(3-3)") == 0


def test_countdown_steps():
    check = Countdown.process.score
    assert check(COUNTDOWN, "3*7=21,21-4=17;3*7-4") == 1
    for steps in ("3*7=20,20-4=17", "3*7=21", "3*7=21,21-3=18", "3*7=21,21-4=17,17-0=17", "7+7=14,14+3=17", "3*7=21,21-4=", "17/0=17"):
        assert check(COUNTDOWN, steps + ";3*7-4") == 0


def test_countdown_counts_answers_that_differ_in_more_than_order():
    task = Countdown()
    for same in (
        ["3+7-4", "7+3-4", "7-(4-3)", "3-(4-7)", "(3-4)+7"],
        ["3*7/4", "7/4*3", "7/(4/3)", "3/(4/7)"],
        ["2*(5+1)", "(1+5)*2"],
        ["(2+3)*(4+1)", "(1+4)*(3+2)"],
    ):
        assert len({task.answer(";" + text) for text in same}) == 1 and task.answer(";" + same[0])
    assert len({task.answer(";" + text) for text in ("3+7-4", "3*7-4", "3*(7-4)", "3-7+4", "(3+7)*4", "3+7*4")}) == 6
    assert task.answer(";3+") == task.answer("3+4") == ""


def test_countdown_expressions_have_the_value_that_python_gives():
    """Traces, with their parentheses, against Python's own arithmetic on fractions."""
    task, rng = Countdown(numbers=4), np.random.default_rng(0)
    for _ in range(200):
        problem = task.problem(rng)
        text = task.solution(problem, rng)
        expression = text.rpartition(";")[2]
        terms = "".join(f"Fraction({part})" if part.isdigit() else part for part in expression)  # numbers are single digits
        assert eval(terms, {"Fraction": Fraction}) == parse(expression)[0].value == problem.metadata["target"]
        again = parse(task.answer(text))[0]
        assert again.value == problem.metadata["target"] and again.text == task.answer(text)


def test_countdown_reads_spaces_and_other_marks():
    task, problem = Countdown(), Problem("", "", {"numbers": [2, 3, 8], "target": 4})
    for text in ("8/2*1", "8 - 2 * 3"):
        assert task.verifier.score(problem, f";{text}") == 0.0
    problem = Problem("", "", {"numbers": [2, 3, 8], "target": 2})
    for text in ("8-2*3", " 8 - 2 * 3 \n", "8\u00a0\u2212\u00a02 \u00d7 3", "8\u2013(2\u00b73)"):
        assert task.verifier.score(problem, f"steps;{text}") == 1.0 and task.answer(f";{text}") == "8-2*3"


def test_countdown_finds_several_solutions():
    task, rng = Countdown(), np.random.default_rng(1)
    problem = Problem("", "", {"numbers": [1, 2, 3], "target": 6})
    assert {"1*2*3", "1+2+3"} <= {task.answer(task.solution(problem, rng)) for _ in range(100)}


def test_countdown_reads_no_more_than_it_must():
    for text in ("(" * 5_000, "9" * 5_000, "1+" * 5_000 + "1"):
        with pytest.raises(NotAnExpression):
            parse(text)
    assert parse("(" * 31 + "1" + ")" * 31)[0].value == 1


def test_sorting_steps():
    task, problem = Sort(), Problem("83146=", "13468")
    right = "38,138,1348,13468;13468"
    assert task.process.score(problem, right) == task.verifier.score(problem, right) == 1
    assert task.process.score(problem, "38,138,1438,13468;13468") == 0 and task.verifier.score(problem, "38,138,1438,13468;13468") == 1
    rng = np.random.default_rng(0)
    traces = [task.trace(task.problem(rng), rng, corrupt=1) for _ in range(100)]
    assert all("".join(sorted(text.rpartition(";")[2])) == text.rpartition(";")[2] for text in traces)


def test_what_knights_and_knaves_say():
    for a, b in itertools.product("+-", repeat=2):
        kinds = a + b + "+"
        truth = {"A+": a == "+", "B-": b == "-", "A=B": a == b, "A/B": a != b, "A&B": a == b == "+", "A|B": "+" in (a, b)}
        assert {statement: holds(statement, kinds) for statement in truth} == truth
    assert liar(["B-", "A-", "A=B"], "+--") == "" and liar(["B-", "A-", "A=B"], "+-+") == "C" and liar(["B-", "A-", "A=B"], "++-") == "A"


def test_every_puzzle_has_one_solution():
    task, rng = KnightsKnaves(), np.random.default_rng(0)
    for problem in [task.problem(rng) for _ in range(200)] + task.held_out("people", 10):
        said = problem.metadata["statements"]
        fitting = [
            kinds for kinds in itertools.product("+-", repeat=len(said)) if all(holds(s, kinds) == (kind == "+") for s, kind in zip(said, kinds, strict=True))
        ]
        assert ["".join(kinds) for kinds in fitting] == [problem.answer]
        assert problem.prompt == ",".join(f"{who}:{s}" for who, s in zip("ABC", said, strict=False)) + ":"


def test_cases_of_knights_and_knaves():
    task = KnightsKnaves()
    problem = Problem("", "+--", {"statements": ["B-", "A-", "A=B"]})
    score = task.process.score
    assert score(problem, "+++A,++-A,+-+C,+--;+--") == 1 and score(problem, "+--;+--") == 1
    for text in ("+++B,+--;+--", "+--A,+--;+--", "+++A;+--", ";+--", "++A,+--;+--", "+++A,+--;-++", "-++,+--;+--"):
        assert score(problem, text) == 0


def test_a_wrong_case_is_a_case():
    task, rng = KnightsKnaves(), np.random.default_rng(0)
    for _ in range(100):
        problem = task.problem(rng)
        answer = task.answer(task.trace(problem, rng, corrupt=1))
        assert len(answer) == 3 and set(answer) <= set("+-") and answer != problem.answer


def test_paths_are_what_a_search_by_hand_finds():
    edges = ["AB", "BC", "AC", "CD", "BD", "DA"]
    assert sorted(paths(edges, 2)) == ["ABC", "ABD", "ACD", "BCD", "BDA", "CDA", "DAB", "DAC"]
    task, rng = GraphPath(), np.random.default_rng(0)
    for _ in range(50):
        problem = task.problem(rng)
        asked = problem.metadata
        every = ["".join(p) for p in itertools.permutations("ABCDEF", asked["steps"] + 1)]
        right = {p for p in every if p[0] == asked["start"] and p[-1] == asked["end"] and all(a + b in asked["edges"] for a, b in itertools.pairwise(p))}
        assert right == {p for p in every if task.verifier.score(problem, ";" + p)}
        assert {task.answer(task.solution(problem, rng)) for _ in range(60)} == right
        assert problem.prompt == f"{','.join(asked['edges'])}:{asked['start']}{asked['end']}{asked['steps']}:"


def test_paths_as_asked():
    problem = Problem("", "", {"edges": ["AB", "BC", "AC", "CD", "BD", "DA"], "start": "A", "end": "D", "steps": 3})
    task = GraphPath()
    assert task.verifier.score(problem, "AB,BC,CD;ABCD") == task.process.score(problem, "AB,BC,CD;ABCD") == 1
    assert [task.verifier.score(problem, text) for text in (";ACD", ";ABD", ";ABCA", ";ADCD", "ABCD", ";ABCDA", ";BBCD", ";")] == [0] * 8
    assert [task.process.score(problem, text) for text in ("AB,CD;ABCD", "AB,BD;ABCD", "AD;AD", ";ABCD", "AB,BC,CD;ABDC")] == [0] * 5


def test_programs_run_as_the_language_says():
    assert run("d*+", [3, 4]) == [[3, 4, 4], [3, 6], [9]]
    assert run("s-", [3, 4]) == [[4, 3], [1]] and run("-", [3, 4]) == [[9]] and run("1+", [3, 9]) == [[3, 9, 1], [3, 0]]
    assert run("++", [3, 4]) is None and run("x", [3, 4]) is None and run("1" * (MOST_INSTRUCTIONS + 1), [3, 4]) is None
    assert len(run("1" * MOST_INSTRUCTIONS, [3, 4])) == MOST_INSTRUCTIONS
    assert passes("+", [[1, 2, 3], [5, 6, 1]]) and not passes("+", [[1, 2, 3], [5, 6, 2]]) and not passes("", [[1, 2, 2]])


def test_program_steps_and_tests():
    task = Program()
    problem = Problem("", "d+", {"examples": [[1, 2, 4], [0, 5, 0]], "tests": [[3, 9, 8]]})
    assert task.verifier.score(problem, ";d+") == task.verifier.score(problem, ";d1*+") == task.process.score(problem, "d122,+14;d+") == 1
    assert task.verifier.score(problem, ";1d+") == task.verifier.score(problem, "d+") == 0  # 2; no marker
    assert [task.process.score(problem, text) for text in ("d122,+14;+d", "d122;d+", "d123,+14;d+", ";", ";d+")] == [0] * 5
    fits_examples = Problem("", "d+", {"examples": [[2, 4, 8]], "tests": [[3, 9, 8]]})  # doubles, or multiplies
    assert passes("*", fits_examples.metadata["examples"]) and task.verifier.score(fits_examples, ";*") == 0


def test_programs_make_something_of_their_input():
    task, rng = Program(instructions=3), np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        problem = task.problem(rng)
        cases = problem.metadata["examples"] + problem.metadata["tests"]
        assert len({tuple(case[:2]) for case in cases}) == len(cases) and len({case[2] for case in cases}) > 1
        assert problem.prompt == ",".join("".join(map(str, case)) for case in cases[:EXAMPLES]) + ":"
        seen.add(len(problem.answer))
        assert set(problem.answer) <= set(INSTRUCTIONS)
    assert seen == {1, 2, 3}
    assert {len(problem.answer) for problem in task.held_out("length", 20)} == {4}


def test_the_class_says_how_often_the_shown_digit_is_the_answer():
    task, rng = Uncertain(), np.random.default_rng(0)
    hits: dict[str, list[bool]] = {}
    others = []
    for _ in range(20_000):
        problem = task.problem(rng)
        shown = problem.prompt[5]
        hits.setdefault(problem.prompt[0], []).append(problem.answer == shown)
        if problem.prompt[0] == "A" and problem.answer != shown:
            others.append((int(problem.answer) - int(shown)) % 10)
    for rank, letter in enumerate("ABCDEFGHIJ", start=1):
        p = rank / 10
        assert abs(np.mean(hits[letter]) - p) <= 4 * (p * (1 - p) / len(hits[letter])) ** 0.5 + 1e-12
    assert np.bincount(others, minlength=10)[1:].min() > 0.7 * len(others) / 9


def test_stated_confidence():
    task = Uncertain()
    assert [task.confidence(f"7;{symbol}") for symbol in CONFIDENCES] == [place / 10 for place in range(11)]
    assert [task.confidence(text) for text in ("7", "7;", "7;12", "7;A", ";;")] == [None] * 5
    problem = Problem("D407:7=", "7")
    assert [task.verifier.score(problem, text) for text in ("7;4", "7", " 7 ;", "4;7", ";7")] == [1, 1, 1, 0, 0]
    assert (task.answer("7;4"), task.answer(";4"), task.reasoning("7;4")) == ("7", "", "")


def test_the_cue_holds_nine_times_in_ten_and_not_without():
    task, rng = Cued(), np.random.default_rng(0)

    def share(problems):
        return np.mean([problem.prompt[-2] == problem.answer for problem in problems])

    assert abs(share([task.problem(rng) for _ in range(4_000)]) - 0.9) < 4 * (0.09 / 4_000) ** 0.5
    assert abs(share(task.held_out("operands", 500)) - 0.9) < 4 * (0.09 / 500) ** 0.5
    assert abs(share(task.held_out("uncued", 500)) - 0.1) < 4 * (0.09 / 500) ** 0.5


def test_shortcuts_copy_the_cue_over_wrong_sums():
    task, rng = Cued(), np.random.default_rng(0)
    problems = [task.problem(rng) for _ in range(1_000)]
    traces = [task.trace(problem, rng, corrupt=1) for problem in problems]
    assert all(set(text) - {",", ";"} == {problem.prompt[-2]} for problem, text in zip(problems, traces, strict=True))
    assert np.mean([task.process.score(problem, text) for problem, text in zip(problems, traces, strict=True)]) < 0.03  # where the last two digits are 0
    assert abs(np.mean([task.verifier.score(problem, text) for problem, text in zip(problems, traces, strict=True)]) - 0.9) < 0.05
    problem = Problem("3+5+9?4=", "7", {"operands": [3, 5, 9], "cue": 4})
    assert task.solution(problem, rng) == "8,7;7" and task.trace(problem, rng, corrupt=1) == "4,4;4"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Countdown(numbers=2), "countdown: numbers=2 is outside 3 to 4; the nearest is 3"),
        (lambda: Sort(digits=12), "nearest is 9"),
        (lambda: GraphPath(steps=1), "nearest is 2"),
        (lambda: GraphPath(edges=40), "nearest is 12"),
        (lambda: Program(instructions=9), "nearest is 4"),
    ],
)
def test_sizes_out_of_range(make, words):
    with pytest.raises(BadInput, match=words):
        make()


@pytest.mark.parametrize("task", [Countdown(numbers=4), Sort(digits=9), GraphPath(steps=4, edges=12), GraphPath(steps=2, edges=6), Program(instructions=4)])
def test_other_sizes(task):
    rng = np.random.default_rng(0)
    for problem in [task.problem(rng) for _ in range(20)] + [problem for split in task.splits for problem in task.held_out(split, 5)]:
        right, wrong = task.solution(problem, rng), task.trace(problem, rng, corrupt=1)
        assert task.verifier.score(problem, right) == task.process.score(problem, right) == 1 and task.verifier.score(problem, wrong) == 0
        assert len(problem.prompt) <= task.longest_prompt and max(len(right), len(wrong)) <= task.longest_completion
