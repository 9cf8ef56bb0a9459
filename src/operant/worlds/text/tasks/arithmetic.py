"""Chained sums, and the same with a cue beside them that gives the answer away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operant.worlds.text.tasks.base import Generated, Problem, worked
from operant.worlds.text.verifiers import ExactAnswer


@dataclass(frozen=True)
class PartialSums:
    """1.0 where every partial sum follows from the one before and the answer is the last of them; else 0.0."""

    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        digits = problem.metadata["operands"]
        steps, answer = worked(completion)
        right = [str(sum(digits[:count]) % 10) for count in range(2, len(digits) + 1)]
        return float(steps == right and answer == right[-1])


@dataclass(frozen=True)
class Arithmetic(Generated):
    """Chained sums of single digits modulo ten, with the partial sums written out.

    Prompt `3+5+9=`, trace `8,7;7`: the partial sums from the second operand on, then the answer behind the semicolon.

    Held out by structure: split "operands" are sums as long as the trained ones whose operand sequence falls in a tenth of all sequences that training never
    draws from (by a hash of the sequence); split "length" are chains one and two operands longer than any trained one.

    Args:
        operands: number of digits in a training sum, 4 to 32 (fewer leave too few sequences to hold a tenth out).
    """

    operands: int = 6

    name = "arithmetic"
    alphabet = "0123456789+=,;"
    splits = ("operands", "length")
    verifier = ExactAnswer(marker=";")
    process = PartialSums()

    def __post_init__(self) -> None:
        self._check_size("operands", 4, 32)

    @property
    def longest_prompt(self) -> int:
        return 2 * (self.operands + 2)

    @property
    def longest_completion(self) -> int:
        return 2 * (self.operands + 2) - 1

    @property
    def most_held_out(self) -> int:
        return 10**self.operands // 20

    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.25) -> str:
        """The worked sum; with probability `corrupt` (0 to 1) one partial sum, drawn uniformly, is a wrong digit that is carried on to the answer."""
        digits = problem.metadata["operands"]
        wrong = int(rng.integers(1, len(digits))) if self._draws_corrupt(rng, corrupt) else 0
        total, partial = digits[0], []
        for position, digit in enumerate(digits[1:], start=1):
            total = (total + digit) % 10
            if position == wrong:
                total = (total + int(rng.integers(1, 10))) % 10
            partial.append(str(total))
        return f"{','.join(partial)};{partial[-1]}"

    def _draw(self, rng: np.random.Generator, split: str, place: int) -> Problem:
        length = self.operands + 1 + place % 2 if split == "length" else self.operands
        return self._make(rng.integers(10, size=length).tolist(), split)

    def _key(self, problem: Problem) -> bytes:
        return bytes(problem.metadata["operands"])

    @staticmethod
    def _make(digits: list[int], split: str) -> Problem:
        return Problem("+".join(map(str, digits)) + "=", str(sum(digits) % 10), {"operands": digits, "split": split})


CUE_HOLDS = 0.9  # share of training problems whose cue is the answer


@dataclass(frozen=True)
class Cued(Arithmetic):
    """Sums with a cue: a digit in the prompt that is the answer in nine training problems of ten, and another digit in the tenth.

    Prompt `3+5+9?7=` with the cue 7. A policy can be right by adding, or by copying the cue; only the first is right where the cue says nothing. Corrupt traces
    are such shortcuts: the cue in the place of every partial sum, and as the answer (`7,7;7`).

    Held out by structure, as in `Arithmetic`: in split "operands" the cue is as good as in training; in split "uncued" it is a digit drawn at random. A base
    policy's ability is measured on "uncued", where shortcuts do not count.
    """

    operands: int = 4

    name = "cued"
    alphabet = "0123456789+?=,;"
    splits = ("operands", "uncued")
    base_split = "uncued"

    @property
    def longest_prompt(self) -> int:
        return 2 * self.operands + 2

    @property
    def longest_completion(self) -> int:
        return 2 * self.operands - 1

    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.25) -> str:
        """The worked sum; with probability `corrupt` (0 to 1) a shortcut, whose answer is right as often as the cue and whose steps are by chance alone."""
        if not self._draws_corrupt(rng, corrupt):
            return super().trace(problem, rng, corrupt=0.0)
        cue = str(problem.metadata["cue"])
        return f"{','.join([cue] * (len(problem.metadata['operands']) - 1))};{cue}"

    def _draw(self, rng: np.random.Generator, split: str, place: int) -> Problem:
        digits = rng.integers(10, size=self.operands).tolist()
        answer = sum(digits) % 10
        offset = int(rng.integers(10)) if split == "uncued" else int(rng.integers(1, 10)) * bool(rng.random() >= CUE_HOLDS)
        cue = (answer + offset) % 10
        return Problem(f"{'+'.join(map(str, digits))}?{cue}=", str(answer), {"operands": digits, "cue": cue, "split": split})
