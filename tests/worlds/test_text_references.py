"""The rows' own answers are scored before a run: what is refused, what is told, and how many are looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from text_own_verifiers import half, minus

import operant
from operant.core.errors import BadInput
from operant.worlds import make_world
from operant.worlds.plans import Groups
from operant.worlds.text import references
from operant.worlds.text.builtin_verifiers import json_schema, make_verifier, math_verify, python_tests, regex
from operant.worlds.text.references import check_references
from operant.worlds.text.tasks import Problem
from operant.worlds.text.tasks.base import Reference
from operant.worlds.text.tasks.file import FileTask

HERE = str(Path(__file__).parent)


@pytest.fixture
def write(tmp_path):
    def to_file(rows: list[dict]) -> Path:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps({"prompt": f"p{place}", "split": "test" if place % 2 else "train"} | row) + "\n" for place, row in enumerate(rows)))
        return path

    return to_file


def check(path: Path, verifier, name: str = "it") -> list[str]:
    return check_references(FileTask(path).references, verifier, task="file:x", name=name)


def test_rows_that_are_rejected_refuse_the_run_with_their_lines(write):
    answers = ["42", "yes", r"\$9{,}500", "3.5.1", "US$5", "1/2", "a", "b", "c", "d"]
    with pytest.raises(BadInput) as told:
        check(write([{"answer": answer} for answer in answers]), make_verifier("numeric"), "numeric")
    line = str(told.value)
    assert "numeric rejects the own answer of 6 of 10 rows: line 2: crashed, NotOneNumber" in line and "line 4: " in line and "; and 2 more" in line
    assert "\n" not in line and "line 3:" not in line


def test_a_few_rows_are_told_of(write):
    notes = check(write([{"answer": "yes"}] + [{"answer": str(n)} for n in range(19)]), make_verifier("numeric"))
    assert len(notes) == 1 and "1 of 20 rows: line 1: crashed" in notes[0]
    assert check(write([{"answer": str(n)} for n in range(20)]), make_verifier("numeric")) == []


@pytest.mark.parametrize(
    ("verifier", "good", "bad"),
    [
        (
            python_tests,
            {"answer": "-", "solution": "def f(x):\n    return x", "tests": ["assert f(1) == 1"]},
            {"answer": "-", "solution": "x", "tests": ["assert f(1) == 1"]},
        ),
        (python_tests, {"answer": "-", "tests": ["assert f(1) == 1"]}, {"answer": "-", "tests": ["assert f(1) =="]}),
        (regex, {"answer": r"\d+", "solution": "42"}, {"answer": r"\d+", "solution": "x"}),
        (regex, {"answer": r"\d+"}, {"answer": "("}),
        (json_schema, {"answer": '{"type": "integer"}', "solution": "3"}, {"answer": '{"type": "integer"}', "solution": "3.5"}),
        (json_schema, {"answer": '{"type": "integer"}'}, {"answer": '{"type": "foo"}'}),
        (math_verify, {"answer": r"\frac{1}{2}", "solution": r"so $\boxed{0.5}$"}, {"answer": r"\frac{a}{b"}),
    ],
)
def test_every_kind_of_verifier(write, verifier, good: dict, bad: dict):
    if verifier in (math_verify, json_schema):
        pytest.importorskip(verifier.__name__ if verifier is math_verify else "jsonschema")
    notes = check(write([good, good]), verifier)
    assert notes == [] if "solution" in good or verifier is math_verify else '2 rows have no "solution"' in notes[0]
    with pytest.raises(BadInput, match="2 of 3 rows: line 2: .*; line 3: "):
        check(write([good, bad, bad | {"answer": bad["answer"] + " "}]), verifier)


def test_a_verifier_of_ones_own(write, monkeypatch):
    rows = write([{"answer": "1"}, {"answer": "2"}])
    monkeypatch.syspath_prepend(HERE)
    for verifier in (half, "text_own_verifiers:half"):
        with pytest.raises(BadInput, match="1 of 2 rows: line 2: reward 0"):
            check(rows, verifier)
    assert check(rows, minus) == []  # never above 0, but above what an empty completion gets


def test_a_solution_that_is_rejected_where_the_answer_is_not_is_told_of(write):
    rows = [{"answer": "42", "solution": "42, as 6 * 7 shows"}] + [{"answer": "5", "solution": "#### 5"}] * 2
    assert "takes the answer alone: line 1" in check(write(rows), make_verifier("numeric"))[0]


def test_a_base_policy_is_not_taught_solutions_that_are_never_right(write):
    world = make_world(f"file:{write([{'prompt': f'{a}+4=', 'answer': str(a + 4), 'solution': f'{a}+4={a + 4}'} for a in range(40)])}", verifier="exact")
    with pytest.raises(BadInput, match=r"rejects the solution of 40 of 40 rows and takes the answer alone: line 1: '0\+4=4'\. The base policy would learn"):
        world.check(None, [0], 4)


def test_of_a_large_file_a_sample_is_scored(monkeypatch):
    monkeypatch.setattr(references, "MOST_ROWS", 50)
    rows = [Reference(f"line {n}", Problem("?", str(n)), (str(n),), False) for n in range(200)]
    assert check_references(rows, make_verifier("numeric"), task="t", name="numeric") == ["the own answers of 50 of 200 rows were scored before the run"]
    monkeypatch.setattr(references, "MOST_SECONDS", 0.0)
    assert "16 of 200" in check_references(rows, make_verifier("numeric"), task="t", name="numeric")[0]


@pytest.mark.parametrize("given", [{"verifier": "numeric"}, {"verifier": "noisy:0.1,0.3", "evaluate_with": "numeric"}])
def test_a_run_is_refused_before_its_directory_exists(write, tmp_path, given: dict):
    path = write([{"answer": answer} for answer in ("1", "2", "yes", "no")])
    with pytest.raises(BadInput, match="numeric rejects the own answer of 2 of 4 rows: line 3"):
        operant.train("grpo", f"file:{path}", steps=1, out=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_what_is_told_stands_in_the_notes_of_the_world(write):
    world = make_world(f"file:{write([{'answer': 'yes'}] + [{'answer': str(n)} for n in range(30)])}", verifier="numeric")
    assert not any("rejects" in note for note in world.notes)
    world.check(Groups(2, 2), [0])
    assert any("numeric rejects the own answer of 1 of 31 rows: line 1" in note for note in world.notes)
    assert world.from_scratch().notes is not None
