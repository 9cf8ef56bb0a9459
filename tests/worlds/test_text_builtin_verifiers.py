"""Verifiers by name: right and wrong answers by hand, settings, and answers that try to cheat or to break out."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from operant.core.errors import BadInput, RunFailed
from operant.core.status import Status
from operant.worlds.text.builtin_verifiers import VERIFIERS, NoisyVerifier, NumericAnswer, make_verifier
from operant.worlds.text.json_schemas import json_schema
from operant.worlds.text.tasks import Problem
from operant.worlds.text.verifiers import ExactAnswer, VerifierPool, scorer


@pytest.mark.parametrize(
    ("answer", "completion", "score"),
    [
        ("42", "so 6 times 7 is 42.", 1.0),
        ("42", "42 and then 41", 0.0),
        ("0.5", "that is 1/2", 1.0),
        ("1234", "we get 1,234", 1.0),
        ("0.333333", "1/3", 1.0),
        ("0.3333", "1/3", 0.0),
        ("-3", "x = -3", 1.0),
        ("5", "no number", 0.0),
        ("0", "0.0000000001", 1.0),
        ("1234567", "$1,234,567", 1.0),
        ("42", "9" * 64 + "42", 0.0),
        ("9500", r"\boxed{\$9{,}500}", 1.0),
        ("500", r"\boxed{\$9{,}500}", 0.0),
        (r"\$9{,}500", "9500", 1.0),
        ("US$5", "It is $5.", 1.0),
        ("0", r"\boxed{10\,000}", 0.0),
        ("-5", "The answer is \u22125.", 1.0),
        ("5", "The answer is \u22125.", 0.0),
        ("50%", "50 percent", 1.0),
        ("50", "50%", 0.0),
        ("6", "6 \u00d7 10^6", 0.0),
        ("2", "12 cm^2", 0.0),
        ("12", "12 cm^2", 1.0),
        ("5", r"\boxed{x}, and not 5", 0.0),
        ("0.25", "25 %", 1.0),
        ("42", "1" + ",111" * 30 + ",042", 0.0),
        ("1000000", "1000001", 1.0),  # a millionth of it, to the last digit
        ("1000000", "999999", 1.0),
        ("1000000", "1000001.0001", 0.0),
        ("0.3", "0.300001", 1.0),
    ],
)
def test_numeric(answer: str, completion: str, score: float):
    assert NumericAnswer().score(Problem("?", answer), completion) == score


def test_numeric_takes_a_tolerance_and_needs_a_number_to_compare():
    assert make_verifier("numeric:tolerance=0.1").score(Problem("?", "100"), "109") == 1.0
    verdict = scorer(make_verifier("numeric")).score([(Problem("?", "yes"), "3")])[0]
    assert verdict.status == Status.CRASHED and "no number" in verdict.message


@pytest.mark.parametrize(
    ("answer", "completion"),
    [("3", "1,2,3"), ("3", "1, 2, 3"), ("5", "3-5"), ("1", "3.5.1"), ("30", "at 5:30")]
    + [("2", r"2\pi"), ("3", "3x"), ("5", "x > 5"), ("5", r"\boxed{3, 5}"), ("4", "GPT-4")]
    + [("3.5.1", "3.5.1"), ("3-5", "3-5"), ("2024-01-05", "2024-01-05"), (r"\$30 and \$40", "40"), ("1/0", "0"), ("1e999", "1e999")],
)
def test_what_is_not_one_number_is_a_status(answer: str, completion: str):
    verdict = scorer(make_verifier("numeric")).score([(Problem("?", answer), completion)])[0]
    assert verdict.status == Status.CRASHED and "number" in verdict.message


@pytest.mark.parametrize("answer", ["42\n", " 42", "\t42 ", "42\r\n"])
@pytest.mark.parametrize("name", ["exact", "numeric", "regex", "math-verify"])
def test_spaces_around_an_answer_are_no_part_of_it(pools, name: str, answer: str):
    if name == "math-verify":
        pytest.importorskip("math_verify")
    scoring = pools(name) if name in ("regex", "math-verify") else scorer(make_verifier(name))
    for completion in ("42", answer, "\n42\n"):
        assert scoring.score([(Problem("?", answer), completion)])[0].value == 1.0


def test_exact_knows_one_letter_in_two_spellings_and_a_marker_without_its_spaces():
    assert ExactAnswer().score(Problem("?", "caf\u00e9"), "cafe\u0301") == 1.0
    assert ExactAnswer("#### ").score(Problem("?", "42"), "so\n####42") == 1.0
    assert ExactAnswer(", ").score(Problem("?", "1,000"), "which is, 1,000") == 1.0
    assert [ExactAnswer("#### ", alone=alone).score(Problem("?", "42"), "42") for alone in (False, True)] == [0.0, 1.0]


class Leaves:
    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        raise SystemExit(0)


def test_a_verifier_that_leaves_does_not_end_a_run_as_if_it_were_done():
    with pytest.raises(RunFailed, match="SystemExit: 0"):
        scorer(Leaves()).score([(Problem("?", ""), "x")])


def test_a_very_long_answer_does_not_stop_the_trainer():
    items = [(Problem("?", "1"), text) for text in ("1" * 200_000, "1," * 100_000, "-" * 200_000, "1e" * 100_000, "1" + ",111" * 50_000 + "1", "1/" * 100_000)]
    assert [verdict.status for verdict in scorer(NumericAnswer()).score(items)].count(Status.CRASHED) == 5


def test_names_and_settings():
    assert make_verifier("exact:marker=;") == ExactAnswer(marker=";")
    assert make_verifier("module:function") == "module:function"
    assert make_verifier(len) is len
    for spec, line in (
        ("numerik", "numeric"),
        ("numeric:tolerance=x", "nearest: 1e-6"),
        ("numeric:precision=1", "numeric takes tolerance"),
        ("regex:a", "takes no settings"),
        ("exact:marker=", "the marker is empty"),
        ("exact:marker= ", "the marker is empty"),
        ("noisy:0.1", "0 to 1"),
        ("noisy:0.1,1.3", "0 to 1"),
    ):
        with pytest.raises(BadInput, match=line) as told:
            make_verifier(spec, base=ExactAnswer())
        assert "\n" not in str(told.value)
    with pytest.raises(BadInput, match="child processes"):
        make_verifier("noisy:0.1,0.2", base=len)
    assert all(VERIFIERS.values())


def test_noise_comes_at_its_rates_and_is_the_same_for_the_same_answer():
    noisy = make_verifier("noisy:0.1,0.3", base=ExactAnswer())
    assert isinstance(noisy, NoisyVerifier)
    problems = [Problem(str(index), "a") for index in range(4_000)]
    right = [noisy.score(problem, "a") for problem in problems]
    wrong = [noisy.score(problem, "b") for problem in problems]
    assert sum(right) / 4_000 == pytest.approx(0.7, abs=0.03)
    assert sum(wrong) / 4_000 == pytest.approx(0.1, abs=0.02)
    assert right == [noisy.score(problem, "a") for problem in problems]


CODE = {"tests": ["assert double(2) == 4", "assert double(-1) == -2"]}
PROGRAM = {"tests": [["3\n", "6"], ["5\n", "10"]]}


@pytest.fixture(scope="module")
def pools():
    made: dict[str, VerifierPool] = {}

    def pool(name: str) -> VerifierPool:
        if name not in made:
            made[name] = scorer(make_verifier(name), workers=1, time_limit=60.0)
        return made[name]

    yield pool
    for one in made.values():
        one.close()


@pytest.mark.parametrize(
    ("metadata", "completion", "value"),
    [
        (CODE, "def double(x):\n    return 2 * x", 1.0),
        (CODE, "Here it is:\n```python\ndef double(x):\n    return 2 * x\n```\nDone.", 1.0),
        (CODE, "def double(x):\n    return x * x", 0.0),
        (CODE, "def double(x:", 0.0),
        (CODE, "import os; os._exit(0)", 0.0),
        (CODE, "raise SystemExit(0)", 0.0),
        (CODE, "def double(x):\n    return double(x)", 0.0),
        (CODE, "import os\nfor fd in range(3, 60):\n    try: os.write(fd, b'x' * 16)\n    except OSError: pass\nos._exit(0)", 0.0),
        (PROGRAM, "print(2 * int(input()))", 1.0),
        (PROGRAM, "print(3)", 0.0),
    ],
)
def test_python_tests(pools, metadata: dict, completion: str, value: float):
    verdict = pools("python-tests").score([(Problem("?", "", metadata), completion)])[0]
    assert (verdict.status, verdict.value) == (Status.OK, value)


FORGE = """
import os, time
for pipe in range(3, 60):
    try: os.write(pipe, b'{"value": 1.0, "children": false}\\n')
    except OSError: pass
time.sleep(0.1)
"""
STEAL = """
import os
for pipe in range(3, 60):
    try: os.set_blocking(pipe, False), os.read(pipe, 10000)
    except OSError: pass
"""
ORPHAN = """
import os, time
if os.fork() == 0:
    os.setsid()
    time.sleep(60)
    os._exit(0)
"""
DOUBLE = "def double(x):\n    return 2 * x"


@pytest.mark.parametrize(
    ("completion", "status", "value"),
    [
        (FORGE, Status.OK, 0.0),
        (STEAL + DOUBLE, Status.OK, math.nan),  # right; 0 where it took what the judge said to it before it could answer
        (ORPHAN + DOUBLE, Status.OK, 1.0),  # right, and its orphan ends with it
        ("import os\nos.kill(os.getppid(), 9)", Status.OK, 0.0),
    ],
)
def test_an_attack_by_code_reaches_no_other_answer(pools, completion: str, status: Status, value: float):
    problem = Problem("?", "", CODE)
    verdicts = pools("python-tests").score([(problem, completion), (problem, "x"), (problem, DOUBLE)])
    assert verdicts[0].status == status and (math.isnan(value) or verdicts[0].value == value)
    assert [(verdict.status, verdict.value) for verdict in verdicts[1:]] == [(Status.OK, 0.0), (Status.OK, 1.0)]


def test_python_tests_without_tests_is_a_fault_of_the_data(pools):
    verdict = pools("python-tests").score([(Problem("?", ""), "pass")])[0]
    assert verdict.status == Status.CRASHED and "tests" in verdict.message


@pytest.mark.parametrize(
    ("name", "problem", "right", "wrong"),
    [
        ("regex", Problem("?", r"[ab]+\d"), " abba7 ", "abba"),
        ("json-schema", Problem("?", '{"type": "object", "required": ["a"]}'), '{"a": 1}', '{"b": 1}'),
        ("json-schema", Problem("?", "", {"schema": {"type": "integer"}}), "3", "not json"),
        ("math-verify", Problem("?", r"\frac{1}{2}"), r"so it is $\boxed{0.5}$", r"so it is $\boxed{0.6}$"),
    ],
)
def test_the_others(pools, name: str, problem: Problem, right: str, wrong: str):
    if name == "math-verify":
        pytest.importorskip("math_verify")
    found = pools(name).score([(problem, right), (problem, wrong)])
    assert [(verdict.status, verdict.value) for verdict in found] == [(Status.OK, 1.0), (Status.OK, 0.0)], [verdict.message for verdict in found]


@pytest.mark.parametrize(
    ("completion", "score"),
    [
        ('{"a": 1}', 1.0),
        ('  {"a": 1}\n', 1.0),
        ('\ufeff{"a": 1}', 1.0),
        ('```json\n{"a": 1}\n```', 1.0),
        ('```JSON\r\n{"a": 1}\r\n```', 1.0),
        ('~~~\n{"a": 1}\n~~~\n', 1.0),
        ('{"a": 1.0}', 1.0),
        ('{"a": 1} and so', 0.0),
        ('Here: {"a": 1}', 0.0),
        ('Here:\n```json\n{"a": 1}\n```', 0.0),
        ('```json\n{"a": 1}\n```\n```json\n{"a": 1}\n```', 0.0),
        ('```python\n{"a": 1}\n```', 0.0),
        ('{"a": 1, "a": 1}', 0.0),
        ('{"a": 1, "b": NaN}', 0.0),
        ('{"a": 1, "b": [-Infinity]}', 0.0),
        ("{'a': 1}", 0.0),
        ('{"a": 1,}', 0.0),
        ('{"a": true}', 0.0),
        ('{"a": 1}\n{"a": 1}', 0.0),
        ("", 0.0),
    ],
)
def test_json_is_json(pools, completion: str, score: float):
    pytest.importorskip("jsonschema")
    problem = Problem("?", "-", {"schema": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}})
    assert pools("json-schema").score([(problem, completion)])[0][:3] == (score, Status.OK, "")


@pytest.mark.parametrize(
    "schema", ["42", "not json", '{"type": "foo"}', '{"name": "Ann", "age": 3}', '["type"]', '{"required": "a"}', '{"a": NaN}', '{"minimum": "1"}']
)
def test_a_schema_that_is_none_is_a_status(pools, schema: str):
    pytest.importorskip("jsonschema")
    for completion in ("3", "no json"):
        verdict = pools("json-schema").score([(Problem("?", schema), completion)])[0]
        assert verdict.status == Status.CRASHED and "schema" in verdict.message


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"multipleOf": 0.01}, ["19.99", "0", "1e400", "-19.99", "1.10e1"], ["19.995", "1e-400", "1e-5000000"]),
        ({"multipleOf": 0.1}, ["0.3", "1.1"], ["0.35"]),
        ({"multipleOf": 7}, ["7e300", "0e-9", "1" * 6000], ["8e300", "1" * 5000]),  # six ones are 7 times 15873
        ({"type": "integer"}, ["1" * 5000, "-" + "9" * 5000, "1.0", "1e3"], ["1." + "1" * 5000, "1.5", "1e-3"]),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "type": "integer"}, ["1" * 5000], ["1.0"]),
        ({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": ["integer", "array"], "items": {"$ref": "#"}}, ["[1.0, [2]]"], ["[1.5]"]),
        ({"minimum": 0.1}, ["0.1", "0.10000000000000000001"], ["0.09999999999999999999"]),
        ({"const": 0.3}, ["0.30", "3e-1"], ["0.30000000000000001"]),
        ({"uniqueItems": True}, ["[1, true]"], ["[0.1, 0.10]"]),
        ({"pattern": "^a$"}, ['"a"'], ['"a\\n"', '"a\\nb"']),
        ({"pattern": r"^\d\w$"}, ['"4a"'], ['"\u0664a"', '"4\u00e9"']),
        ({"pattern": r"^[\s$.\w]+$"}, ['"\u00a0$._"'], ['"[]"']),
        ({"pattern": r"^(?<one>.)-\k<one>$"}, ['"4-4"'], ['"4-5"', '"\\r-\\r"']),
        ({"pattern": "^[^]$|^[]$"}, ['"\\n"'], ['""']),
        ({"patternProperties": {"^a$": False}}, ['{"a\\n": 1}', '{"b": 1}'], ['{"a": 1}']),
        ({"properties": {"pattern": {"pattern": "^a$"}, "enum": {"enum": ["^a$"]}}}, ['{"pattern": "a", "enum": "^a$"}'], ['{"pattern": "a\\n"}']),
        ({"format": "email"}, ['"a.b+c@d.org"', "5"], ['"notmail"', '"@"', '"a@"', '"a b@c.org"', '"a@b.org\\n"']),
        ({"format": "date"}, ['"2024-02-29"'], ['"2023-02-29"', '"2024-2-9"']),
        ({"format": "date-time"}, ['"2024-02-29T23:59:60Z"', '"2024-02-29t00:00:00.5+02:00"'], ['"2024-02-30T00:00:00Z"', '"2024-02-29 00:00"']),
        ({"format": "time"}, ['"23:00:00Z"'], ['"24:00:00Z"', '"23:00"']),
        ({"format": "ipv4"}, ['"1.2.3.4"'], ['"1.2.3"', '"1.2.3.256"']),
        ({"format": "ipv6"}, ['"::1"'], ['"1.2.3.4"']),
        ({"format": "hostname"}, ['"a-b.org"'], ['"a_b"', '"-a"', '""']),
        ({"format": "uri"}, ['"http://a.org/b?c=%20#d"', '"urn:a"'], ['"a.org"', '"http://a b"']),
        ({"format": "uuid"}, ['"123e4567-e89b-12d3-a456-426614174000"'], ['"123e4567"']),
        ({"format": "regex"}, ['"(?<a>b)"'], ['"("']),
        ({"format": "int32"}, ["5", '"x"'], []),
    ],
)
def test_a_schema_means_what_it_says(schema: dict, right: list[str], wrong: list[str]):
    pytest.importorskip("jsonschema")
    for problem in (Problem("?", "-", {"schema": schema}), Problem("?", json.dumps(schema))):
        assert [json_schema(problem, text) for text in (*right, *wrong)] == [1.0] * len(right) + [0.0] * len(wrong)


@pytest.mark.parametrize(
    ("schema", "named"), [({"items": {"format": "duration"}}, "duration"), ({"pattern": "("}, "pattern"), ({"pattern": r"\p{L}"}, "pattern")]
)
def test_what_a_schema_says_and_cannot_be_checked_is_a_status(schema: dict, named: str):
    pytest.importorskip("jsonschema")
    for completion in ("[]", '"P1D"', "no json"):
        with pytest.raises(ValueError, match=named):
            json_schema(Problem("?", "-", {"schema": schema}), completion)


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "(?P<n>", "\\"])
def test_a_pattern_that_is_none_is_a_status(pools, pattern: str):
    assert pools("regex").score([(Problem("?", pattern), "x")])[0].status == Status.CRASHED


@pytest.mark.parametrize(
    ("pattern", "completion", "score"), [("a\\ ", "a ", 1.0), ("a\\ ", "a", 0.0), ("yes|no", "yes, no", 0.0), ("a.b", "a\nb", 1.0), ("(?i)yes", "Yes", 1.0)]
)
def test_a_pattern_is_matched_in_whole(pools, pattern: str, completion: str, score: float):
    assert pools("regex").score([(Problem("?", pattern), completion)])[0].value == score


@pytest.mark.parametrize(
    ("answer", "completion", "score"),
    [
        (r"\$18.90", r"\$18.90", 1.0),
        (r"\$18.90", r"\boxed{18.90}", 1.0),
        (r"\$32,348", r"\boxed{\$32,348}", 1.0),
        (r"\$32,348", r"\boxed{348}", 0.0),
        ("US$5", "US$5", 1.0),
        ("US$5", r"\boxed{5}", 1.0),
        ("US$5", "no number", 0.0),
        ("10000", r"so it is $\boxed{10\,000}$", 1.0),
        ("0", r"so it is $\boxed{10\,000}$", 0.0),
        ("10", "6 \u00d7 10^6", 0.0),
        ("6000000", "It is 6 \u00d7 10^6.", 1.0),
        ("-5", "The answer is \u22125.", 1.0),
        ("4", r"$\sqrt{16}$", 1.0),
        ("50", r"$50\%$", 1.0),
        ("10000", "$$10\\,000$$", 1.0),
        ("10000", r"We get \(4\) and \[10\,000\].", 1.0),
        ("9", r"It costs \$5, and now \$9.", 1.0),
        ("4", r"so $x = \sqrt{16}$.", 1.0),
        ("24", r"\boxed{4!}", 1.0),
        ("10000", r"We add $4$ and get $10\,000$.", 1.0),
        ("10", r"We add $4$ and get $10\,000$.", 0.0),
        ("10", "She pays $5 and gets $10.", 1.0),
        ("6", r"\boxed{2 \cdot 3}", 1.0),
        ("5", r"\boxed{2\pi}", 0.0),
        ("5", r"\boxed{(3, 5)}", 0.0),
        ("5", r"\boxed{x}", 0.0),
        ("2,3", r"\boxed{2, 3}", 1.0),
        ("2,3", r"\boxed{2,3}", 1.0),
        ("2,3", r"\boxed{2.3}", 0.0),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\boxed{\begin{pmatrix} 1 \\ 2 \end{pmatrix}}", 1.0),
        (r"2\pi", r"$\boxed{2 \cdot \pi}$", 1.0),
        ("x^2 + 1", "$1 + x^2$", 1.0),
        (r"\$30 and \$40", r"\$30 and \$40", 1.0),
        (r"\$30 and \$40", r"\boxed{18.90}", 0.0),
        ("50%", "50", 1.0),  # per cent or not, on either side, and never both
        ("50%", "$50$", 1.0),
        ("50%", r"\boxed{50}", 1.0),
        (r"50\%", "It is 0.5.", 1.0),
        ("50", "It is 50 percent.", 1.0),
        ("0.5", r"\boxed{50\%}", 1.0),
        ("50%", "5000", 0.0),
        ("5000%", "50%", 0.0),
        ("5000", "20% off, so 50", 0.0),
        ("4", r"\sqrt{16}", 1.0),  # a formula without marks, alone on the last line or said to be the answer
        ("4", "We find\nx = \\sqrt{16}", 1.0),
        ("4", r"The answer is \sqrt{16}.", 1.0),
        ("6", r"2 \cdot 3", 1.0),
        ("24", "4!", 1.0),
        ("5", "4!", 0.0),
        ("x+1", "1+x", 1.0),
        ("x+1", "**Answer:** 1+x\nConfidence: 90%", 1.0),
        ("x+1", "Answer:\n1 + x", 1.0),
        ("x+1", "1+y", 0.0),
        ("x+1", "```\n1+x,\n```", 1.0),
        ("e^x", "exp(x)", 1.0),
        (r"\sin(x)", "y = sin(x)", 1.0),
        (r"\sqrt{2}", "\u221a2 \u2248 1.41", 1.0),
        ("x^2-1", "(x-1)(x+1)", 1.0),
        ("x^2", "x\u00b2", 1.0),
        (r"\frac{\pi}{2}", "pi/2", 1.0),
        ("2\u03c0", r"\boxed{2\pi}", 1.0),
        (r"\sqrt{2}", "\u221a2", 1.0),
        ("x+1", "I do not know.", 0.0),
        ("x+1", "no", 0.0),
        ("(1,2)", "(1, 2)", 1.0),  # in brackets in order, without them in any
        ("(1,2)", "1, 2", 1.0),
        ("(1,2)", "(2,1)", 0.0),
        ("(1,2)", "2, 1", 0.0),
        ("1,2", "2,1", 1.0),
        (r"\{1,2\}", "$\\{2, 1\\}$", 1.0),
        ("(1.5, 2)", r"$(\frac{3}{2}, 2)$", 1.0),  # decimals are what they write
        ("x+0.5", r"$\frac{1}{2}+x$", 1.0),
        (r"\begin{pmatrix}1.5\\2\end{pmatrix}", r"$\begin{pmatrix}\frac{3}{2}\\2\end{pmatrix}$", 1.0),
        ("1<x<2.5", r"$1<x<\frac52$", 1.0),
        (r"\sqrt{3+2\sqrt{2}}", r"$1+\sqrt{2}$", 1.0),
        (r"\sqrt{2}", "1.41421356", 0.0),
        (r"\sqrt{2}", "$1.4142135623730950488016887242096980785696718753769$", 0.0),
        (r"2\pi", "6.2831853", 0.0),
        (r"\frac{\sqrt{2}}{2}", r"\boxed{0.7071067811865476}", 0.0),
        (r"\pi x", "$3.14159265x$", 0.0),
        (r"(\sqrt{2}, 2)", "$(1.41421356, 2)$", 0.0),
        ("1.41421356", r"$\sqrt{2}$", 0.0),
        (r"\frac{1}{3}", "0.333333", 1.0),  # numbers within a millionth, as by numeric
    ],
)
def test_mathematics(pools, answer: str, completion: str, score: float):
    pytest.importorskip("math_verify")
    assert pools("math-verify").score([(Problem("?", answer), completion)])[0][:3] == (score, Status.OK, "")


@pytest.mark.parametrize(
    ("answer", "completion"),
    [("5", "5!"), ("3", "3x"), ("2", r"It is 2\pi"), ("101", r"\boxed{101_2}"), ("5", r"\boxed{> 5x}"), ("0", r"\boxed{0x1F}"), ("3", r"\boxed{3ab}")]
    + [("6", "x = 5 or x = 6"), ("3", r"\boxed{It is 5 or 3.}"), ("5", r"\boxed{2(3)}"), ("2", r"\boxed{1 3/2}"), ("3", r"\boxed{5} or \boxed{3}")]
    + [("2024", "on 2024-01-05"), ("3", "5 ft. 3 in."), ("6", r"\boxed{x = 5 \quad y = 6}"), ("10", "7 out of 10"), ("1", "1e999"), ("5", "at least 5")],
)
def test_mathematics_takes_no_number_out_of_what_is_none(pools, answer: str, completion: str):
    pytest.importorskip("math_verify")
    verdict = pools("math-verify").score([(Problem("?", answer), completion)])[0]
    assert verdict.value == 0.0 or (verdict.status == Status.CRASHED and "one number" in verdict.message)


@pytest.mark.parametrize(
    ("answer", "completion"),
    [("x+1", "I think it may be 1+x, maybe 2"), ("x+1", "so it is x^2 or so"), ("-2", "3-5"), ("2018", "2024-01-05"), ("7", "5 or 6")]
    + [("4", r"It is \sqrt{16} then")],
)
def test_mathematics_that_is_not_read_is_a_status_and_no_wrong_answer(pools, answer: str, completion: str):
    pytest.importorskip("math_verify")
    assert pools("math-verify").score([(Problem("?", answer), completion)])[0].status == Status.CRASHED


@pytest.mark.parametrize("answer", [r"\frac{a}{b", r"\boxed{", "$$"])
def test_mathematics_that_cannot_be_read_is_a_status(pools, answer: str):
    pytest.importorskip("math_verify")
    verdict = pools("math-verify").score([(Problem("?", answer), "$5$")])[0]
    assert verdict.status == Status.CRASHED and "cannot read" in verdict.message


def test_a_pattern_that_never_ends_is_a_timeout():
    with scorer(make_verifier("regex"), workers=1, time_limit=0.5) as pool:
        verdict = pool.score([(Problem("?", r"(a+)+b"), "a" * 40)])[0]
    assert verdict.status == Status.TIMEOUT


def test_an_answer_reads_no_secret(tmp_path: Path, pools):
    folder = tmp_path / "locked"
    folder.mkdir()
    secret = folder / "secret"
    secret.write_text("the word")
    secret.chmod(0o600)
    folder.chmod(0o700)
    pool = pools("python-tests")
    if "reading" in pool.unenforced:
        pytest.skip("this kernel cannot bound what is read; the run says so")
    code = f"def double(x):\n    open({str(secret)!r}).read()\n    return 2 * x"
    listing = f"import os\ndef double(x):\n    os.listdir({str(folder)!r})\n    return 2 * x"
    for completion in (code, listing):
        assert pool.score([(Problem("?", "", CODE), completion)])[0].value == 0.0
