"""Text tasks: problems made by a seeded program, worked traces to learn from, and test problems held out by structure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from operant.core.errors import BadInput
from operant.core.random import derive_seed
from operant.worlds.text.verifiers import ExactAnswer, Verifier


@dataclass(frozen=True)
class Problem:
    """One problem: what the model reads, what a right answer is, and what else the task knows of it (JSON values)."""

    prompt: str
    answer: str
    metadata: dict = field(default_factory=dict)


class TextTask(Protocol):
    """A source of problems.

    Attributes:
        alphabet: every character of its prompts and traces, for a character tokenizer.
        longest_prompt, longest_completion: in characters, over all splits (an end token comes on top).
        splits: names of the held-out sets.
        verifier: what scores a completion.
    """

    alphabet: str
    longest_prompt: int
    longest_completion: int
    splits: tuple[str, ...]
    verifier: Verifier

    def problem(self, rng: np.random.Generator) -> Problem:
        """A training problem."""

    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.25) -> str:
        """A worked completion of the problem; a share `corrupt` of them is wrong."""

    def held_out(self, split: str, count: int) -> list[Problem]:
        """The first `count` test problems of a split, the same in every run; none of them is ever a training problem."""


@dataclass(frozen=True)
class Arithmetic:
    """Chained sums of single digits modulo ten, with the partial sums written out.

    Prompt `3+5+9=`, trace `8,7;7`: the partial sums from the second operand on, then the answer behind the semicolon.

    Held out by structure: split "operands" are sums as long as the trained ones whose operand sequence falls in a tenth of all sequences that training never
    draws from (by a hash of the sequence); split "length" are chains one and two operands longer than any trained one.

    Args:
        operands: number of digits in a training sum, 4 to 32 (fewer leave too few sequences to hold a tenth out).
    """

    operands: int = 6

    alphabet = "0123456789+=,;"
    splits = ("operands", "length")
    verifier = ExactAnswer(marker=";")

    def __post_init__(self) -> None:
        if not 4 <= self.operands <= 32:
            raise BadInput(f"arithmetic: operands={self.operands} is outside 4 to 32; the nearest is {min(max(self.operands, 4), 32)}")

    @property
    def longest_prompt(self) -> int:
        return 2 * (self.operands + 2)

    @property
    def longest_completion(self) -> int:
        return 2 * (self.operands + 2) - 1

    def problem(self, rng: np.random.Generator) -> Problem:
        while True:
            digits = rng.integers(10, size=self.operands).tolist()
            if not _in_held_out_tenth(digits):
                return self._make(digits, "train")

    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.25) -> str:
        """The worked sum; with probability `corrupt` (0 to 1) one partial sum, drawn uniformly, is a wrong digit that is carried on to the answer."""
        if not 0 <= corrupt <= 1:
            raise BadInput(f"arithmetic: corrupt={corrupt} is not a share; the nearest is {min(max(corrupt, 0), 1)}")
        digits = problem.metadata["operands"]
        wrong = int(rng.integers(1, len(digits))) if rng.random() < corrupt else 0
        total, partial = digits[0], []
        for position, digit in enumerate(digits[1:], start=1):
            total = (total + digit) % 10
            if position == wrong:
                total = (total + int(rng.integers(1, 10))) % 10
            partial.append(str(total))
        return f"{','.join(partial)};{partial[-1]}"

    def held_out(self, split: str, count: int) -> list[Problem]:
        if split not in self.splits:
            raise BadInput(f"arithmetic: unknown split {split!r}; known: {', '.join(self.splits)}")
        most = 10**self.operands // 20
        if not 1 <= count <= most:
            raise BadInput(f"arithmetic: {count} test problems of split {split!r}; 1 to {most} can be had")
        rng = np.random.default_rng(derive_seed(0, "arithmetic", split, self.operands))
        found: dict[str, Problem] = {}
        while len(found) < count:
            length = self.operands if split == "operands" else self.operands + 1 + len(found) % 2
            digits = rng.integers(10, size=length).tolist()
            if split == "length" or _in_held_out_tenth(digits):
                problem = self._make(digits, split)
                found.setdefault(problem.prompt, problem)
        return list(found.values())

    @staticmethod
    def _make(digits: list[int], split: str) -> Problem:
        return Problem("+".join(map(str, digits)) + "=", str(sum(digits) % 10), {"operands": digits, "split": split})


def _in_held_out_tenth(digits: list[int]) -> bool:
    # A hash and not a draw: whether a sequence is held out does not depend on the seed or on what was drawn before.
    return int.from_bytes(hashlib.sha256(bytes(digits)).digest()[:8], "little") % 10 == 0


TEXT_TASKS: dict[str, type] = {"arithmetic": Arithmetic}
