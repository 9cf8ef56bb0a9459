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
from operant.worlds.text.python_tests import python_tests
from operant.worlds.text.verifiers import ExactAnswer, Verifier

if TYPE_CHECKING:
    from operant.worlds.text.tasks import Problem

LONGEST_NUMBER = 64  # characters
LONGEST_READ = 100_000  # characters of a completion that are searched for a number or for code

_NUMBER = re.compile(r"[-+]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?:\s?/\s?\d+)?\s?%?")


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
