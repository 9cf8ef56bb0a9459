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
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from operant.core.errors import BadInput, unknown
from operant.worlds.text.json_schemas import json_schema
from operant.worlds.text.numbers import NotOneNumber, last_box, last_number, read_number
from operant.worlds.text.python_tests import python_tests
from operant.worlds.text.verifiers import ExactAnswer, Verifier

if TYPE_CHECKING:
    from operant.worlds.text.tasks import Problem


@dataclass(frozen=True)
class NumericAnswer:
    """1.0 where the number that the completion gives (`numbers.last_number`) is the problem's answer (`numbers.read_number`), else 0.0.

    A completion without any number gets 0.0. Raises `NotOneNumber` where the answer is not one number, or the completion's only looks like one.

    Args:
        tolerance: largest distance, as a share of the answer's size (of 1 for answers below 1).
    """

    tolerance: float = 1e-6
    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        wanted, given = _wanted_number(problem), last_number(completion)
        return float(given is not None and _near(given, wanted, self.tolerance))


def _wanted_number(problem: Problem) -> Fraction:
    try:
        return read_number(problem.answer)
    except NotOneNumber as error:
        raise NotOneNumber(f"the problem's answer: {error}") from None


def _near(given: Fraction, wanted: Fraction, tolerance: float) -> bool:
    return abs(given - wanted) <= Fraction(repr(tolerance)) * max(abs(wanted), 1)  # the decimal that was written, and not the float below it


def regex(problem: Problem, completion: str) -> float:
    """1.0 where the whole completion matches the problem's answer as a regular expression, spaces around either aside.

    Raises `re.error` where the answer is no regular expression.
    """
    patterns = [re.compile(problem.answer, re.DOTALL)]
    if not problem.answer.rstrip().endswith("\\"):  # the space behind a backslash belongs to the pattern
        patterns.append(re.compile(problem.answer.strip(), re.DOTALL))
    return float(any(pattern.fullmatch(text) for pattern in patterns for text in dict.fromkeys((completion.strip(), completion))))


_LIST = re.compile(r"[-+]?\d+(?:,[-+]?\d{1,2})+")  # in collections of mathematics two numbers, and not one with decimals
_OF_DIGITS = re.compile(r"(?:[A-Za-z]\s?=)?(?:\\(?:sqrt|[dt]?frac|[dt]?binom|cdot|times|div|left|right|log|ln)(?![A-Za-z])|[\d.\s+\-*/^!|(){}\[\]])+")
_MISREAD = re.compile(r"\d\s+\d|\d\s*\(|[)}\]]\s*\d|\)\s*\(|\d\s*\\[dt]?frac|\d\.\d*\.|[-+]\s*[-+]")  # products, mixed numbers and signs, by math-verify


def math_verify(problem: Problem, completion: str) -> float:
    """1.0 where the completion's expression equals the answer as mathematics, by the library math-verify.

    Where the answer is one number, the completion's box, else a formula at its end, else the completion is read by the grammar of `numeric` first: the library
    takes one number out of much that is none. Raises `ValueError` where the answer is nothing that the library can read, or can find equal to itself, and
    `NotOneNumber` where the library finds a number right in what is neither one number nor an expression of digits alone.
    """
    import math_verify as library

    try:
        number = None if _LIST.fullmatch(problem.answer.strip()) else read_number(problem.answer)
    except NotOneNumber:
        number = None
    said = None
    if number is not None:
        box, formula = last_box(completion), _closing_formula(completion)
        expression = box or formula
        try:
            given = read_number(formula) if formula and box is None else last_number(completion)
        except NotOneNumber as error:
            given, said = None, error
        if given is not None:
            if _near(given, number, 1e-6) or "%" not in problem.answer + completion:
                return float(_near(given, number, 1e-6))
        elif said is not None and expression and _OF_DIGITS.fullmatch(expression.strip()) and not _MISREAD.search(expression):
            said = None
    wanted = _parsed_answer(problem.answer, number)
    if completion.strip() == problem.answer.strip():
        return 1.0
    right = library.verify(list(wanted), library.parse(completion, parsing_timeout=None), timeout_seconds=None)
    if right and said is not None:
        raise said
    return float(right)


def _closing_formula(completion: str) -> str | None:
    """What the last formula of a text says, where no digit stands behind it; `$` behind a backslash is money."""
    end, opening = max((completion.rfind(closing), opening) for opening, closing in (("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")))
    if opening == "$" and completion[end - 1 : end] == "$":
        end, opening = end - 1, "$$"
    start = completion.rfind(opening, 0, max(end, 0))
    if start < 0 or "\\" in (completion[start - 1 : start], completion[end - 1 : end]) or re.search(r"\d", completion[end:]):
        return None
    return completion[start + len(opening) : end] or None


@lru_cache(maxsize=1024)
def _parsed_answer(answer: str, number: Fraction | None) -> tuple[Any, ...]:
    """What math-verify reads an answer as."""
    import math_verify as library

    if number is not None:
        text = f"${number.numerator}$" if number.denominator == 1 else rf"$\frac{{{number.numerator}}}{{{number.denominator}}}$"
    else:
        text = answer if re.search(r"(?<!\\)\$|\\boxed|\\[(\[]", answer) else f"${answer}$"
    parsed = library.parse(text, parsing_timeout=None)
    if all(isinstance(each, str) for each in parsed) or not library.verify(parsed, parsed, timeout_seconds=None):
        raise ValueError(f"math-verify cannot read the problem's answer {answer[:80]!r}")
    return tuple(parsed)


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
    "numeric": "the number in the last \\boxed{}, else behind the last ####, else the last number; numeric:tolerance=1e-3 for another share than 1e-6",
    "regex": "the whole completion matches the answer as a regular expression (child process)",
    "json-schema": 'JSON, alone or in one fenced block, that the schema accepts: the column "schema", or the answer (child process; extra: verifiers)',
    "math-verify": "equal as mathematics, by the library math-verify (child process; extra: verifiers)",
    "python-tests": 'the completion\'s code passes the tests of the column "tests" (child process)',
    "noisy": "the task's own verifier with errors: noisy:0.1,0.3 passes a tenth of the wrong and fails three tenths of the right answers",
}
_IN_CHILDREN: dict[str, Callable] = {"regex": regex, "json-schema": json_schema, "math-verify": math_verify, "python-tests": python_tests}

ANSWER_IS_A_RULE = (regex, json_schema, python_tests)  # the problem's answer says what is right, and is no right completion itself


def make_verifier(spec: Any, base: Any = None) -> Any:
    """The verifier that a name stands for, such as `numeric:tolerance=1e-3`; what is no name (a callable, "module:function") is given back.

    Args:
        base: the task's own verifier, which "noisy" needs.

    Raises:
        BadInput: unknown name (with the nearest), or settings that it does not take.
    """
    if not isinstance(spec, str):
        if spec is not None and not callable(getattr(spec, "score", spec)):
            raise BadInput(f"verifier {spec!r}: give a name ({', '.join(VERIFIERS)}), module:function, a callable, or an object with `score`")
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
        if name == "exact" and not text.strip():
            raise BadInput(f"verifier {spec!r}: the marker is empty; write exact to compare whole completions, or a mark as in exact:marker=#### ")
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
