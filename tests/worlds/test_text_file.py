"""Problems from a file: what is read, held out and dropped, and one clear line for every fault."""

import json

import numpy as np
import pytest

from operant.core.errors import BadInput
from operant.worlds import make_world
from operant.worlds.text.tasks import Problem
from operant.worlds.text.tasks.base import in_held_out_tenth, splits_of
from operant.worlds.text.tasks.file import FileTask


def rows(count, **more):
    return [{"prompt": f"{n}+1=", "answer": str(n + 1)} | {key: value(n) for key, value in more.items()} for n in range(count)]


@pytest.fixture
def write(tmp_path):
    def to_file(content, name="problems.jsonl"):
        path = tmp_path / name
        text = content if isinstance(content, str) else "\n".join(json.dumps(row) for row in content)
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def test_rows_become_problems(write):
    task = FileTask(write([{"prompt": "1+1=", "answer": "2", "split": "test", "level": 3}, {"prompt": "é?", "answer": "ja", "source": {"page": 7}}, *rows(30)]))
    assert task.test[0] == Problem("1+1=", "2", {"split": "test", "level": 3})
    assert Problem("é?", "ja", {"source": {"page": 7}}) in task.train + task.test
    assert set("é?ja0123456789+=") == set(task.alphabet) and (task.longest_prompt, task.longest_completion) == (5, 2)
    problem = task.train[0]
    assert task.trace(problem, np.random.default_rng(0), corrupt=1) == task.solution(problem, np.random.default_rng(0)) == problem.answer
    assert task.verifier.score(problem, f" {problem.answer}\n") == 1 and task.verifier.score(problem, f"so {problem.answer}") == 0
    assert (task.answer(" 7 "), task.reasoning("7")) == ("7", "")


def test_a_tenth_is_held_out_by_the_prompt(write):
    task = FileTask(write(rows(2_000)))
    assert 150 < len(task.test) < 250 and len(task.test) + len(task.train) == 2_000
    again = FileTask(write([row | {"note": "x"} for row in reversed(rows(2_000))], "other.jsonl"))
    assert {p.prompt for p in again.test} == {p.prompt for p in task.test}
    assert task.held_out("test", 5) == task.test[:5] and len(task.held_out("test", 10_000)) == len(task.test)
    rng = np.random.default_rng(0)
    assert not {task.problem(rng).prompt for _ in range(3_000)} & {p.prompt for p in task.test}


def test_splits_that_the_file_names(write):
    task = FileTask(write(rows(20, split=lambda n: "test" if n < 3 else "train")))
    assert [p.prompt for p in task.test] == ["0+1=", "1+1=", "2+1="] and len(task.train) == 17


def test_training_rows_come_in_passages(write):
    task = FileTask(write(rows(50, split=lambda n: "test" if n == 0 else "train")))
    first, second = ([task.numbered(3, index).prompt for index in range(start, start + 49)] for start in (0, 49))
    assert sorted(first) == sorted(second) == sorted(p.prompt for p in task.train) and first != second
    assert first != [task.numbered(4, index).prompt for index in range(49)]
    assert first[10] == FileTask(task.path).numbered(3, 10).prompt
    rng = np.random.default_rng(0)
    assert {task.problem(rng).prompt for _ in range(1_000)} == set(first)


def test_solutions_are_what_is_learned_and_say_where_the_answer_stands(write):
    task = FileTask(write(rows(100, solution=lambda n: f"{n} and one more\n#### {n + 1}")))
    problem = task.train[0]
    assert task.marker == " and one more\n#### " or task.marker.endswith("#### ")
    assert task.solution(problem, np.random.default_rng(0)) == problem.metadata["solution"]
    assert task.verifier.score(problem, problem.metadata["solution"]) == 1 and not [line for line in task.notes if "held-out" not in line]
    assert task.answer(problem.metadata["solution"]) == problem.answer
    assert task.verifier.score(problem, task.reasoning(problem.metadata["solution"]) + problem.answer) == 1
    assert task.longest_completion == len("99 and one more\n#### 100")


@pytest.mark.parametrize("answer", ["42\n", " 42", "42\r\n"])
@pytest.mark.parametrize("solution", [None, "so\n#### 42"])
def test_spaces_around_an_answer_are_no_part_of_it(write, answer: str, solution: str | None):
    worked = {} if solution is None else {"solution": solution}
    task = FileTask(write([{"prompt": "p0", "answer": "42", "split": "train"} | worked, {"prompt": "p1", "answer": answer, "split": "test"} | worked]))
    for completion in ("42", answer, solution or answer):
        assert task.verifier.score(task.test[0], completion) == 1.0
        assert task.answer(completion) == "42"


def test_the_marker_is_no_part_of_what_happens_to_stand_before(write):
    task = FileTask(write(rows(40, solution=lambda n: f"1{n}7;{n + 1}")))
    assert task.marker == ";"


def test_solutions_without_a_marker_are_noted(write):
    task = FileTask(write(rows(40, solution=lambda n: f"it is {n + 1}." if n % 2 else f"{n + 1}")))
    (line,) = [line for line in task.notes if "held-out" not in line]
    assert "--verifier" in line
    assert task.verifier.score(task.train[0], task.train[0].answer) == 1


def test_what_is_dropped_is_noted(write):
    doubled = [
        *rows(40, split=lambda n: "test" if n < 4 else "train"),
        *rows(6, split=lambda n: "test" if n < 4 else "train"),
        {"prompt": "0+1=", "answer": "one", "split": "train"},
    ]
    task = FileTask(write(doubled))
    assert len(task.train) == 36 and len(task.test) == 4
    assert task.notes == [
        "6 of 47 rows stand there more than once; each was taken once",
        "1 training rows have the prompt of a test row and were left out",
        'only 4 held-out problems: scores on them say little; mark more rows with "split": "test"',
    ]


def test_rows_that_tests_score_need_no_answer_and_numbers_are_answers(write):
    task = FileTask(write([{"prompt": f"{n}+1=", "answer": n + 1, "split": "test" if n < 4 else "train"} for n in range(8)]))
    assert task.test[0].answer == "1" and task.verifier.score(task.test[0], "1") == 1
    scored = [{"prompt": f"write f{n}", "tests": [f"assert f() == {n}"], "split": "test" if n < 2 else "train"} for n in range(4)]
    assert FileTask(write(scored)).test[0].answer == ""
    with pytest.raises(BadInput, match="the answer is empty"):
        FileTask(write([{"prompt": "a", "answer": ""}, {"prompt": "b", "answer": "x"}]))


def test_empty_lines_carriage_returns_and_a_mark_in_front_are_no_faults(tmp_path):
    path = tmp_path / "windows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(json.dumps(row) for row in rows(60)).encode() + b"\r\n\r\n")
    assert len(FileTask(path).train) + len(FileTask(path).test) == 60


def test_line_separators_inside_a_row_are_no_ends_of_lines(write):
    lines = [json.dumps({"prompt": f"a\u2028{n}", "answer": "x"}, ensure_ascii=False) for n in range(40)]
    assert len(FileTask(write("\n".join(lines))).train) > 20


GOOD = json.dumps({"prompt": "1+1=", "answer": "2"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"{GOOD}\nnot json", "line 2 is not JSON"),
        (f"{GOOD}\n\n[1, 2]", "line 3 is no object but a list"),
        ('{"prompt": "1+1="}', "line 1 has no 'answer'; it has 'prompt'"),
        ("{}", "line 1 has no 'prompt'; it has nothing"),
        ('{"prompt": "1+1=", "answer": true}', "line 1: 'answer' is true or false; it must be a string"),
        ('{"prompt": ["1"], "answer": "2"}', "'prompt' is a list"),
        ('{"prompt": "1", "answer": "2", "solution": null}', "'solution' is null"),
        ('{"prompt": " ", "answer": "2"}', "line 1: the prompt is empty"),
        ('{"prompt": "1", "answer": ""}', "line 1: the answer is empty"),
        ('{"prompt": "1", "answer": "2", "split": "valid"}', "'split' is 'valid'; 'train' or 'test'"),
        ("", "has no rows"),
        (f"{GOOD}\n{GOOD}", "every row has the same prompt"),
        (rows(3, split=lambda n: "train"), "has no test rows"),
        (rows(3, split=lambda n: "test"), "has no training rows"),
        ('{"prompt": "' + "[" * 3, "line 1 is not JSON"),
        ("[" * 100_000, "line 1 is not JSON"),
    ],
)
def test_faults_are_one_clear_line(write, content, words):
    with pytest.raises(BadInput, match=words) as raised:
        FileTask(write(content))
    assert "\n" not in str(raised.value) and "problems.jsonl" in str(raised.value)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes('{"prompt": "é", "answer": "x"}'.encode("latin-1"))
    for name, words in (("none.jsonl", "No such file"), ("latin.jsonl", "UTF-8"), (".", "cannot be read")):
        with pytest.raises(BadInput, match=words):
            FileTask(tmp_path / name)


def test_requests_that_cannot_be_met(write):
    task = FileTask(write(rows(60)))
    for call, words in ((lambda: task.held_out("length", 1), "known: test"), (lambda: task.held_out("test", 0), "0 test rows")):
        with pytest.raises(BadInput, match=words):
            call()


def test_the_scheme_makes_a_world_of_it(write):
    path = write(rows(60))
    world = make_world(f"file:{path}")
    assert world.task == f"file:{path}" and world.kind == "text" and world.base_split == "test"
    before = world.fingerprint()
    write(rows(61))
    assert make_world(f"file:{path}").fingerprint() != before
    assert world.tokenizer.decode(world.tokenizer.encode("1+1=")) == "1+1="
    with pytest.raises(BadInput, match="No such file"):
        make_world(f"file:{path}.jsonl")


@pytest.mark.parametrize("count", [2, 3, 5, 8, 13, 42])
def test_a_small_file_has_rows_of_both_kinds(count: int):
    """Whatever its prompts are; equal prompts stay together, and a row that says which it is, is that."""
    for start in range(0, 40 * count, count):
        prompts = [f"{start + number}+1=" for number in range(count)]
        found = splits_of([(prompt, None) for prompt in [*prompts, *prompts]])
        assert set(found) == {"train", "test"} and found[:count] == found[count:]
        assert splits_of([(prompt, None) for prompt in reversed(prompts)]) == found[:count][::-1]
        assert set(splits_of([(prompts[0], "train"), *((prompt, None) for prompt in prompts[1:])])) == {"train", "test"}
        assert set(splits_of([(prompts[0], "test"), *((prompt, None) for prompt in prompts[1:])])) == {"train", "test"}
    many = [f"{number}+2=" for number in range(400)]
    assert [split == "test" for split in splits_of([(prompt, None) for prompt in many])] == [in_held_out_tenth(prompt) for prompt in many]
    assert splits_of([("a", "train"), ("b", "train")]) == ["train", "train"]
