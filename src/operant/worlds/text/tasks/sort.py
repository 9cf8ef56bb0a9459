"""Sorting digits, worked out by insertion."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

import numpy as np

from operant.worlds.text.tasks.base import Generated, Problem, worked
from operant.worlds.text.verifiers import ExactAnswer


def insertions(digits: str) -> list[str]:
    """The sorted beginning of `digits` after each insertion from the second digit on."""
    done, found = [digits[0]], []
    for digit in digits[1:]:
        insort(done, digit)
        found.append("".join(done))
    return found


@dataclass(frozen=True)
class Insertions:
    """1.0 where each step is the sorted beginning, one digit longer than the one before, and the answer is the last of them; else 0.0."""

    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        right = insertions(problem.prompt[:-1])
        return float(worked(completion) == (right, right[-1]))


@dataclass(frozen=True)
class Sort(Generated):
    """Digits to be sorted upwards. Prompt `83146=`, trace `38,138,1348,13468;13468`: the digits inserted one after the other, then the answer.

    Held out by structure: split "digits" are lists as long as the trained ones whose digits, in whatever order, training never sees together; split "length"
    are lists one and two digits longer.

    Args:
        digits: length of a training list, 4 to 9.
    """

    digits: int = 5

    name = "sort"
    alphabet = "0123456789=,;"
    splits = ("digits", "length")
    verifier = ExactAnswer(marker=";")
    process = Insertions()

    def __post_init__(self) -> None:
        self._check_size("digits", 4, 9)

    @property
    def longest_prompt(self) -> int:
        return self.digits + 3

    @property
    def longest_completion(self) -> int:
        most = self.digits + 2
        return sum(range(2, most + 1)) + (most - 1) + most

    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.25) -> str:
        """The worked insertions; with probability `corrupt` (0 to 1) one digit, drawn uniformly, is misread as another and stays so."""
        digits = problem.prompt[:-1]
        if self._draws_corrupt(rng, corrupt):
            place = int(rng.integers(len(digits)))
            misread = (int(digits[place]) + int(rng.integers(1, 10))) % 10
            digits = f"{digits[:place]}{misread}{digits[place + 1 :]}"
        steps = insertions(digits)
        return f"{','.join(steps)};{steps[-1]}"

    def _draw(self, rng: np.random.Generator, split: str, place: int) -> Problem:
        length = self.digits + 1 + place % 2 if split == "length" else self.digits
        digits = "".join(map(str, rng.integers(10, size=length)))
        return Problem(f"{digits}=", "".join(sorted(digits)), {"split": split})

    def _key(self, problem: Problem) -> str:
        return problem.answer
