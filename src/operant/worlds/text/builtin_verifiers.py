"""Verifiers that can be named: `exact`, `numeric`, `regex`, `json-schema`, `math-verify`, `python-tests`, `noisy`, and any `module:function`.

Those that parse or run what a model wrote with more than a bounded search are functions at the top of this module, found by name in the child processes of a
`VerifierPool`. The others are objects that say they are `trusted` and are called in the process.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from operant.core.errors import BadInput, unknown
from operant.worlds.text.verifiers import ExactAnswer, Verifier

if TYPE_CHECKING:
    from operant.worlds.text.tasks import Problem

LONGEST_NUMBER = 64  # characters
LONGEST_READ = 100_000  # characters of a completion that are searched for a number or for code

_NUMBER = re.compile(r"[-+]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?:\s?/\s?\d+)?\s?%?")
_CODE = re.compile(r"```(?:python|py)?[^\S\n]*\n(.*?)```", re.DOTALL)


def read_number(text: str) -> Fraction | None:
    """A number as people write it: thousands' commas, sign, decimals, exponent up to 308, a fraction a/b, per cent. None where it is none."""
    text = text.strip().replace(",", "").replace(" ", "")
    percent = text.endswith("%")
    text = text.removesuffix("%")
    above, slash, below = text.partition("/")
    try:
        exponent = re.search(r"[eE]([-+]?\d+)", above)
        if len(text) > LONGEST_NUMBER or (exponent and abs(int(exponent[1])) > 308):
            return None
        value = Fraction(above) / (Fraction(below) if slash else 1)
    except (ValueError, ZeroDivisionError):
        return None
    return value / 100 if percent else value


@dataclass(frozen=True)
class NumericAnswer:
    """1.0 where the last number in the completion is the problem's answer, else 0.0.

    Args:
        tolerance: largest distance, as a share of the answer's size (of 1 for answers below 1).
    """

    tolerance: float = 1e-6
    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        wanted = read_number(problem.answer)
        if wanted is None:
            raise ValueError(f"the problem's answer {problem.answer!r} is no number")
        found = _NUMBER.findall(completion[-LONGEST_READ:])
        given = read_number(found[-1]) if found else None
        if given is None:
            return 0.0
        return float(abs(given - wanted) <= Fraction(self.tolerance) * max(abs(wanted), 1))


def regex(problem: Problem, completion: str) -> float:
    """1.0 where the whole completion, spaces around it aside, matches the problem's answer as a regular expression."""
    return float(re.fullmatch(problem.answer, completion.strip(), re.DOTALL) is not None)


def json_schema(problem: Problem, completion: str) -> float:
    """1.0 where the completion is JSON that its schema accepts: metadata "schema", or the answer as a schema."""
    import json

    import jsonschema

    schema = problem.metadata.get("schema")
    schema = json.loads(problem.answer) if schema is None else schema
    try:
        value = json.loads(completion)
    except (ValueError, RecursionError):
        return 0.0
    return float(jsonschema.validators.validator_for(schema)(schema).is_valid(value))


def math_verify(problem: Problem, completion: str) -> float:
    """1.0 where the last expression of the completion equals the answer as mathematics, by the library math-verify."""
    import math_verify as library

    wanted = library.parse(problem.answer if "$" in problem.answer or "\\boxed" in problem.answer else f"${problem.answer}$", parsing_timeout=None)
    return float(library.verify(wanted, library.parse(completion, parsing_timeout=None), timeout_seconds=None))


def python_tests(problem: Problem, completion: str) -> float:
    """1.0 where the completion's code passes every test of metadata "tests".

    Tests are lines of Python that raise where something is wrong (`assert f(2) == 4`), or pairs [input, output] of a program that reads standard input. The
    code is the last block between three backticks, or the whole completion. It runs in a process of its own that holds none of the worker's pipes and says that
    all passed by a word: leaving early says nothing. Code and tests share that process, so code that is made to deceive the tests themselves (an object that
    equals everything) can.
    """
    import os
    import secrets

    tests = problem.metadata.get("tests")
    if not isinstance(tests, list) or not tests:
        raise ValueError('the problem has no list of "tests" in its metadata')
    blocks = _CODE.findall(completion[-LONGEST_READ:])
    code = blocks[-1] if blocks else completion[-LONGEST_READ:]
    read, write = os.pipe()
    word = secrets.token_bytes(16)
    child = os.fork()
    if child == 0:
        try:
            os.dup2(write, 3)
            os.closerange(4, os.sysconf("SC_OPEN_MAX"))
            _run_tests(code, tests)
            os.write(3, word)
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    os.set_blocking(read, False)  # a process that the code left running may hold the other end
    try:
        said = os.read(read, 64)
    except BlockingIOError:
        said = b""
    os.close(read)
    return float(said == word)


def _run_tests(code: str, tests: list[Any]) -> None:
    """Run the code and its tests here; whatever is wrong raises."""
    import contextlib
    import io
    import sys

    program = compile(code, "<answer>", "exec")
    pairs = [test for test in tests if not isinstance(test, str)]
    if len(pairs) < len(tests):
        names: dict[str, Any] = {"__name__": "answer"}
        with contextlib.redirect_stdout(io.StringIO()):
            exec(program, names)
            for test in tests:
                if isinstance(test, str):
                    exec(compile(test, "<test>", "exec"), names)
    for given, wanted in pairs:
        printed = io.StringIO()
        sys.stdin = io.StringIO(given)
        with contextlib.redirect_stdout(printed):
            exec(program, {"__name__": "__main__"})
        if printed.getvalue().split() != str(wanted).split():
            raise AssertionError(given)


@dataclass(frozen=True)
class NoisyVerifier:
    """A verifier seen through an asymmetric channel: wrong answers pass at one rate, right ones fail at another (arXiv:2510.00915).

    Which of them is decided by a hash of prompt and completion: the same answer always gets the same verdict.

    Args:
        base: a trusted verifier of 0 and 1.
        false_positive, false_negative: the rates, 0 to 1.
    """

    base: Verifier
    false_positive: float
    false_negative: float
    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        right = self.base.score(problem, completion) > 0.5
        digest = hashlib.sha256(f"{problem.prompt}\0{completion}".encode()).digest()
        draw = int.from_bytes(digest[:8], "little") / 2**64
        return float(draw >= self.false_negative if right else draw < self.false_positive)


VERIFIERS: dict[str, str] = {
    "exact": "the answer itself; exact:marker=; reads what stands behind the last such mark",
    "numeric": "the last number of the completion; numeric:tolerance=1e-3 for another share of the answer than 1e-6",
    "regex": "the whole completion matches the answer as a regular expression (child process)",
    "json-schema": 'JSON that the schema accepts: the column "schema", or the answer (child process; extra: verifiers)',
    "math-verify": "equal as mathematics, by the library math-verify (child process; extra: verifiers)",
    "python-tests": 'the completion\'s code passes the tests of the column "tests" (child process)',
    "noisy": "the task's own verifier with errors: noisy:0.1,0.3 passes a tenth of the wrong and fails three tenths of the right answers",
}
_IN_CHILDREN: dict[str, Callable] = {"regex": regex, "json-schema": json_schema, "math-verify": math_verify, "python-tests": python_tests}


def make_verifier(spec: Any, base: Any = None) -> Any:
    """The verifier that a name stands for, such as `numeric:tolerance=1e-3`; what is no name (a callable, "module:function") is given back.

    Args:
        base: the task's own verifier, which "noisy" needs.

    Raises:
        BadInput: unknown name (with the nearest), or settings that it does not take.
    """
    if not isinstance(spec, str):
        return spec
    name, colon, settings = spec.partition(":")
    if name not in VERIFIERS:
        if colon and settings.isidentifier():
            return spec
        raise unknown("verifier", name, [*VERIFIERS, "module:function"])
    if name in _IN_CHILDREN:
        if settings:
            raise BadInput(f"verifier {spec!r}: {name} takes no settings; write {name}")
        return _IN_CHILDREN[name]
    if name == "noisy":
        return NoisyVerifier(_trusted(base), *_rates(spec, settings))
    known, value = {"exact": ("marker", str), "numeric": ("tolerance", float)}[name], {}
    if settings:
        key, equals, text = settings.partition("=")
        if key != known[0] or not equals:
            raise BadInput(f"verifier {spec!r}: {name} takes {known[0]}=…, as in {name}:{known[0]}={'#### ' if name == 'exact' else '1e-3'}")
        try:
            value = {key: known[1](text)}
        except ValueError:
            raise BadInput(f"verifier {spec!r}: tolerance={text!r} is no number; nearest: 1e-6") from None
        if name == "numeric" and not (math.isfinite(value[key]) and value[key] >= 0):
            raise BadInput(f"verifier {spec!r}: tolerance={text} must be 0 or more; nearest: 0")
    return ExactAnswer(**value) if name == "exact" else NumericAnswer(**value)


def _trusted(base: Any) -> Any:
    if not getattr(base, "trusted", False):
        raise BadInput("verifier noisy: the task's own verifier runs in child processes, and its errors cannot be added to: use a task that compares only")
    return base


def _rates(spec: str, settings: str) -> tuple[float, float]:
    try:
        rates = tuple(float(part) for part in settings.split(","))
        if len(rates) != 2 or not all(0 <= rate <= 1 for rate in rates):
            raise ValueError
    except ValueError:
        raise BadInput(f"verifier {spec!r}: give the rates of false positives and false negatives, 0 to 1, as in noisy:0.1,0.3") from None
    return rates
