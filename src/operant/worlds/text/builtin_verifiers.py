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
    return abs(given - wanted) <= Fraction(str(tolerance)) * max(abs(wanted), 1)  # the decimal that was written, and not the float below it


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
_A_DATE = re.compile(r"\d+(?:[-/]\d+)+")  # or a range, where no formula is marked
_MARKS_A_FORMULA = re.compile(r"\\boxed|(?<!\\)\$|\\[(\[]")
_MATHEMATICS = re.compile(r"[\d\\^=√π∞]")
_SAYS_THE_ANSWER = re.compile(r"(?i)\banswer(?:\s+is)?[*_ \t]*[:=]?[*_]*\s*")
_AROUND_A_FORMULA = "*_`.,; \t"
_SHORT_WORDS = "am|an|as|at|be|by|do|he|if|in|is|it|me|my|no|of|ok|on|or|so|to|up|us|vs|we"
_FORMULA = re.compile(
    rf"(?:\\[A-Za-z]+|\\[^A-Za-z]|(?<![A-Za-z\\])(?!(?i:{_SHORT_WORDS})(?![A-Za-z]))(?:sqrt|log|ln|sin|cos|tan|exp|pi|[A-Za-z]{{1,2}})(?![A-Za-z])"
    r"|[\d\s.,;:+\-−*/^=<>!|_'&%°±×·÷≤≥≠≈√πθ∞∪∩⁰¹²³⁴-⁹(){}\[\]])+"
)
_TWO_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]+\s+[A-Za-z]")
_PER_CENT = re.compile(r"\\?%|\bper ?cent\b|\bpct\b", re.IGNORECASE)
_SQUARE_ROOT = re.compile(r"√\s?(?:\(([^()]*)\)|(\d+|[A-Za-z]))")
_IN_LATEX = {"π": r"\pi ", "θ": r"\theta ", "∞": r"\infty ", "×": r"\times ", "·": r"\cdot ", "÷": r"\div ", "−": "-", "≤": r"\le ", "≥": r"\ge "}
_IN_LATEX |= {"≠": r"\ne ", "≈": r"\approx ", "±": r"\pm ", "∪": r"\cup ", "∩": r"\cap ", "²": "^2", "³": "^3", "**": "^"}


def math_verify(problem: Problem, completion: str) -> float:
    """1.0 where the completion's expression equals the answer as mathematics, by the library math-verify; decimals are what is written, to the last digit.

    The expression stands in a box or between marks of a formula, or is all there is of what is said to be the answer, or of the last line. Where the answer is
    one number, the completion's box, else a formula at its end, else the completion is read by the grammar of `numeric` first, within a millionth: the library
    takes one number out of much that is none. Raises `ValueError` where the answer is nothing that the library can read, or can find equal to itself, and where
    the completion holds mathematics of which none can be read; `NotOneNumber` where it is to give one number and gives none, and is no expression of digits.
    """
    try:
        number = None if _LIST.fullmatch(problem.answer.strip()) else read_number(problem.answer)
    except NotOneNumber:
        number = None
    marked = _MARKS_A_FORMULA.search(completion) is not None
    bare = _bare_formula(completion)
    said = None
    if number is not None:
        box, formula = last_box(completion), _closing_formula(completion)
        expression = box or formula or ("" if marked else bare)
        read, text = (read_number, formula) if formula and box is None else (last_number, completion)
        try:
            given = read(text)
        except NotOneNumber as error:
            given, said = None, error
        if given is not None:
            shares = _is_share(read_number, problem.answer, number), _is_share(read, text, given)
            if shares[0] != shares[1] and _near(*((given, 100 * number) if shares[0] else (100 * given, number)), 1e-6):  # 50% is 50, too
                return 1.0
            return float(_near(given, number, 1e-6))
        if said is not None:
            if not expression or (not marked and _A_DATE.fullmatch(expression)):
                raise said
            if _OF_DIGITS.fullmatch(expression.strip()) and not _MISREAD.search(expression):
                said = None
    wanted = _parsed_answer(problem.answer, number)
    if completion.strip() == problem.answer.strip():
        return 1.0
    text = completion if marked else bare and f"${bare}$"
    given = _parsed(text) if text else ()
    if all(isinstance(each, str) for each in given) and _MATHEMATICS.search(completion):
        raise ValueError(f"math-verify can read no formula in {completion.strip()[-80:]!r}: one stands between $ signs, in a box, or alone on the last line")
    right = bool(given) and _equal(wanted, given)
    if right and said is not None:
        raise said
    return float(right)


def _is_share(read: Callable[[str], Fraction | None], text: str, value: Fraction) -> bool:
    """Whether the number that is read in a text is given in per cent."""
    without = _PER_CENT.sub(" ", text)
    try:
        return without != text and read(without) == 100 * value != 0
    except NotOneNumber:
        return False


def _bare_formula(completion: str) -> str | None:
    """What a text says that the answer is, or else its last line, where that is a formula without a mark of one."""
    if not (lines := [line for line in completion.splitlines() if line.strip(_AROUND_A_FORMULA)]):
        return None
    *_, named = [None, *_SAYS_THE_ANSWER.finditer(completion)]
    behind = "" if named is None else completion[named.end() :].strip()
    for line in (behind.splitlines()[0] if behind else "", lines[-1]):
        line = line.strip(_AROUND_A_FORMULA)
        if line and len(line) < 400 and _FORMULA.fullmatch(line) and not _TWO_WORDS.search(line):
            return line
    return None


def _in_latex(text: str) -> str:
    """A text whose marks of mathematics are LaTeX, which is all that math-verify reads."""
    text = _SQUARE_ROOT.sub(lambda found: rf"\sqrt{{{found[1] or found[2]}}}", text)
    for mark, command in _IN_LATEX.items():
        text = text.replace(mark, command)
    return re.sub(r"(?<![\\A-Za-z])(pi|(?<!\{)(?:exp|sin|cos|tan|log|ln))(?![A-Za-z])", r"\\\1 ", text)


def _parsed(text: str) -> tuple[Any, ...]:
    """What math-verify reads in a text, its decimals exact; strings alone where it is nothing."""
    import math_verify as library

    return tuple(_exact(each) for each in library.parse(_in_latex(text), parsing_timeout=None))


def _exact(expression: Any) -> Any:
    """An expression in which a decimal is the fraction that it writes; math-verify would round what it is compared with."""
    from latex2sympy2_extended.logic import And
    from latex2sympy2_extended.sets import FiniteSet
    from sympy import Float, Rational

    if isinstance(expression, str) or not expression.atoms(Float):
        return expression
    if isinstance(expression, FiniteSet | And):  # which lose their order when they are made anew
        return expression.func(*map(_exact, expression._unsorted_args))
    return expression.xreplace({number: Rational(str(number)) for number in expression.atoms(Float)})


def _equal(wanted: tuple[Any, ...], given: tuple[Any, ...]) -> bool:
    import math_verify as library

    return library.verify(list(wanted), list(given), numeric_precision=50, timeout_seconds=None)


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
    if number is not None:
        text = f"${number.numerator}$" if number.denominator == 1 else rf"$\frac{{{number.numerator}}}{{{number.denominator}}}$"
    else:
        text = answer if _MARKS_A_FORMULA.search(answer) else f"${answer}$"
    parsed = _parsed(text)
    if all(isinstance(each, str) for each in parsed) or not _equal(parsed, parsed):
        raise ValueError(f"math-verify cannot read the problem's answer {answer[:80]!r}")
    return parsed


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
    "reward-model": "the reward that a model gives, trained by `operant train reward-model` or by others: reward-model:FOLDER; evaluations stay the task's own",
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
    if name == "reward-model":
        if not settings:
            raise BadInput(f"verifier {spec!r}: give the model's folder, as in reward-model:runs/RUN/policies/last/seed-0")
        from operant.worlds.text.rewards import RewardVerifier

        return RewardVerifier(settings)
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
