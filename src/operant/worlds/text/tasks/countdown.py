"""Countdown: reach a target with given numbers, each used once. Many expressions are right."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from operant.worlds.text.tasks.base import LONGEST_READ, Generated, Problem, worked

MOST = 99  # of every number that a problem or its solution has
MARKS = str.maketrans("×·∗⋅÷∕−–", "****//--")
STEP = re.compile(r"([0-9]{1,4})([-+*/])([0-9]{1,4})=([0-9]{1,6})")


class Node(NamedTuple):
    """A parsed expression. `items` are what a sum or product is made of, each with +1, or with -1 where it is subtracted or divided by."""

    kind: str  # "+", "*" or "number"
    value: Fraction
    text: str  # the same for expressions that differ in order and grouping alone
    items: tuple[tuple[int, Node], ...] = ()


class NotAnExpression(ValueError):
    """A text that is no expression over natural numbers, or divides by zero."""


def parse(text: str) -> tuple[Node, list[int]]:
    """The expression of `text` and the numbers in it, in order: natural numbers, + - * / (also as × · ÷ −), parentheses; no signs; spaces anywhere.

    Raises:
        NotAnExpression: the text is anything else, or longer than a quarter of `LONGEST_READ`, which bounds how deep parentheses are nested.
    """
    if len(text) > LONGEST_READ // 4:
        raise NotAnExpression
    tokens = re.findall(r"[0-9]+|[^0-9\s]", text.translate(MARKS))
    numbers: list[int] = []
    place = 0

    def take(kinds: str) -> str | None:
        nonlocal place
        if place < len(tokens) and tokens[place] in kinds:
            place += 1
            return tokens[place - 1]
        return None

    def operand() -> Node:
        nonlocal place
        if take("("):
            inside = chain("+", "+-", product)
            if not take(")"):
                raise NotAnExpression
            return inside
        if place == len(tokens) or not re.fullmatch(r"[0-9]{1,4}", tokens[place]):
            raise NotAnExpression
        numbers.append(int(tokens[place]))
        place += 1
        return Node("number", Fraction(numbers[-1]), str(numbers[-1]))

    def product() -> Node:
        return chain("*", "*/", operand)

    def chain(kind: str, signs: str, part: Callable[[], Node]) -> Node:
        first = part()
        items = [(1, first)]
        while sign := take(signs):
            items.append((1 if sign == kind else -1, part()))
        return first if len(items) == 1 else _join(kind, items)

    node = chain("+", "+-", product)
    if place != len(tokens):
        raise NotAnExpression
    return node, numbers


def _join(kind: str, items: list[tuple[int, Node]]) -> Node:
    """A sum or product of items, those of the same kind taken apart."""
    if kind == "*" and any(sign < 0 and item.value == 0 for sign, item in items):
        raise NotAnExpression
    flat = [(sign * inner, part) for sign, item in items for inner, part in (item.items if item.kind == kind else ((1, item),))]
    flat.sort(key=lambda item: (-item[0], item[1].text))
    value = Fraction(0 if kind == "+" else 1)
    for sign, item in flat:
        value = value + sign * item.value if kind == "+" else value * item.value**sign
    signs = {1: kind, -1: "-" if kind == "+" else "/"}
    parts = [signs[sign] + (f"({item.text})" if item.kind == "+" else item.text) for sign, item in flat]
    return Node(kind, value, "".join(parts)[1:], tuple(flat))  # the first is never subtracted, nor divided by


@dataclass(frozen=True)
class ReachesTarget:
    """1.0 where the text behind the last semicolon is an expression that uses each of the problem's numbers once and has the target as its value; else 0.0."""

    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        _, found, text = completion.rpartition(";")
        try:
            node, numbers = parse(text)
        except NotAnExpression:
            return 0.0
        return float(bool(found) and sorted(numbers) == sorted(problem.metadata["numbers"]) and node.value == problem.metadata["target"])


@dataclass(frozen=True)
class RightSteps:
    """1.0 where every step is a right equation over numbers that are left, and only the target is left in the end; else 0.0."""

    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        left = Counter(problem.metadata["numbers"])
        for step in worked(completion)[0]:
            if not (found := STEP.fullmatch(step)):
                return 0.0
            a, b, c = int(found[1]), int(found[3]), int(found[4])
            left[a] -= 1
            left[b] -= 1
            if min(left[a], left[b]) < 0 or not _holds(a, found[2], b, c):
                return 0.0
            left[c] += 1
        return float(+left == Counter([problem.metadata["target"]]))


def _holds(a: int, operation: str, b: int, c: int) -> bool:
    return {"+": a + b == c, "-": a - b == c, "*": a * b == c, "/": b != 0 and b * c == a}[operation]


@dataclass(frozen=True)
class Term:
    """A number at hand: its value, the expression that made it, and that expression's last operation."""

    value: int
    text: str
    last: str = ""

    def inside(self, operation: str, right: bool) -> str:
        """The expression as an operand, in parentheses where it needs them."""
        loose = {"+": "", "-": "+-" if right else "", "*": "+-", "/": "+-*/" if right else "+-"}[operation]
        return f"({self.text})" if self.last and self.last in loose else self.text


def _combine(a: Term, b: Term) -> list[tuple[str, Term]]:
    """The equations `a operation b` whose results are whole numbers from 1 to `MOST`, and the results."""
    values = {"+": a.value + b.value, "-": a.value - b.value, "*": a.value * b.value}
    if b.value > 1 and a.value % b.value == 0:
        values["/"] = a.value // b.value
    return [
        (f"{a.value}{operation}{b.value}={value}", Term(value, a.inside(operation, False) + operation + b.inside(operation, True), operation))
        for operation, value in values.items()
        if 1 <= value <= MOST
    ]


def _search(terms: list[Term], rng: np.random.Generator, wanted: Callable[[int], bool]) -> tuple[list[str], str] | None:
    """(equations, expression) of the first way in random order to make all `terms` one number that is `wanted`; None where there is none."""
    if len(terms) == 1:
        return ([], terms[0].text) if wanted(terms[0].value) else None
    pairs = [(i, j) for i in range(len(terms)) for j in range(len(terms)) if i != j]
    ways = [(i, j, *way) for i, j in pairs for way in _combine(terms[i], terms[j])]
    for place in rng.permutation(len(ways)):
        i, j, step, term = ways[place]
        rest = [other for k, other in enumerate(terms) if k not in (i, j)]
        if (found := _search([*rest, term], rng, wanted)) is not None:
            return [step, *found[0]], found[1]
    return None


@dataclass(frozen=True)
class Countdown(Generated):
    """Numbers from 1 to 9 and a target to be made of all of them with + - * /, from 1 to 99.

    Prompt `3,7,4=17:`, trace `3*7=21,21-4=17;3*7-4`: one equation after the other, then the whole expression. The canonical answer is the same for expressions
    that differ in order and grouping alone, such as `3+7-4` and `7-(4-3)`.

    Held out by structure: split "targets" are problems whose numbers, in whatever order, training never sees with that target; split "length" has one number
    more.

    Args:
        numbers: how many a training problem has, 3 or 4.
    """

    numbers: int = 3

    name = "countdown"
    base_range = (0.12, 0.5)  # nothing is right by chance, and a quarter of the problems takes ten times the examples of the other tasks
    teacher_range = (0.25, 1.0)  # right traces do not say how a solution is found: imitation is at 0.28 after 1,700 updates, and at 0.35 after 2,900
    alphabet = "0123456789+-*/()=,;:"
    splits = ("targets", "length")
    verifier = ReachesTarget()
    process = RightSteps()

    def __post_init__(self) -> None:
        self._check_size("numbers", 3, 4)

    @property
    def longest_prompt(self) -> int:
        return 2 * (self.numbers + 1) + 3

    @property
    def longest_completion(self) -> int:
        most = self.numbers + 1
        return 9 * (most - 1) + (2 * most - 1) + 2 * (most - 2)

    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.25) -> str:
        """A solution found by a search in random order; with probability `corrupt` (0 to 1) right equations that end elsewhere than at the target."""
        target, wrong = problem.metadata["target"], self._draws_corrupt(rng, corrupt)
        steps, expression = _search([Term(n, str(n)) for n in problem.metadata["numbers"]], rng, lambda value: (value == target) != wrong)
        return f"{','.join(steps)};{expression}"

    def answer(self, completion: str) -> str:
        try:
            return parse(super().answer(completion))[0].text
        except NotAnExpression:
            return ""

    def _draw(self, rng: np.random.Generator, split: str, place: int) -> Problem:
        numbers = rng.integers(1, 10, size=self.numbers + (split == "length")).tolist()
        steps, expression = _search([Term(n, str(n)) for n in numbers], rng, lambda value: True)
        target = int(steps[-1].partition("=")[2])
        return Problem(f"{','.join(map(str, numbers))}={target}:", expression, {"numbers": numbers, "target": target, "split": split})

    def _key(self, problem: Problem) -> str:
        return f"{sorted(problem.metadata['numbers'])} {problem.metadata['target']}"
