"""What a text task is, and what the tasks made by a seeded program share: the held-out tenth, splits, and answers behind a marker."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from operant.core.errors import BadInput
from operant.core.seeds import derive_seed
from operant.worlds.text.verifiers import Verifier

MOST_TRIES = 10_000  # draws a test problem
LONGEST_READ = 256  # characters; a longer completion is wrong unread, so that no verifier here can be kept busy


@dataclass(frozen=True)
class Problem:
    """One problem: what the model reads, what a right answer is, and what else the task knows of it (JSON values)."""

    prompt: str
    answer: str
    metadata: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """A problem with the completions that its own row gives, one of which has to be right: the worked solution where there is one, else the answer, first.

    Attributes:
        place: where the row stands, in words ("line 3").
        solved: the row has a worked solution.
    """

    place: str
    problem: Problem
    completions: tuple[str, ...]
    solved: bool


class Texts:
    """What a model of a task reads and writes, be it problems or pairs of answers.

    Attributes:
        alphabet: every character of its prompts and traces, for a character tokenizer.
        longest_prompt, longest_completion: in characters, over all splits (an end token comes on top).
        splits: names of the held-out sets; the first is what a policy is evaluated on, and "length", where there is one, holds longer problems.
        verifier: what scores a completion; None where nothing does.
        base_range, teacher_range: the pass@1 on `base_split` that a base policy and a teacher are to have; None for what their recipes say.
    teacher_learning_rate: of its first try; None for what the recipe says.
        notes: what a person should know of them before a run, a line each.
        references: what others wrote, which is scored before a run.
        worked: some problem has a worked solution, which says how long an answer may be.
    """

    alphabet: str
    longest_prompt: int
    longest_completion: int
    splits: tuple[str, ...]
    verifier: Verifier | None = None
    base_range: tuple[float, float] | None = None
    teacher_range: tuple[float, float] | None = None
    teacher_learning_rate: float | None = None
    notes: Sequence[str] = ()
    references: Sequence[Reference] = ()
    worked: bool = True

    @property
    def base_split(self) -> str:
        """The held-out set that tells how able a base policy is."""
        return self.splits[0]


class TextTask(Texts, ABC):
    """A source of problems. Where a class says nothing else, a completion is its answer and nothing besides.

    Attributes:
        process: a verifier that gives 1.0 where every written step is right; None where the task has none.
        confidence: `(completion) → float | None`, what a completion states of its own rightness, 0 to 1, None where that cannot be read; None where
            completions state none.
    """

    process: Verifier | None = None
    confidence: Callable[[str], float | None] | None = None

    @abstractmethod
    def problem(self, rng: np.random.Generator) -> Problem:
        """A training problem."""

    def numbered(self, seed: int, index: int) -> Problem:
        """The training problem of number `index` in a run of `seed`."""
        return self.problem(np.random.default_rng(derive_seed(seed, "text/problem", index)))

    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.25) -> str:
        """A worked completion of the problem; a share `corrupt` (0 to 1) of them is wrong, where the task knows wrong ones."""
        return self.solution(problem, rng)

    def solution(self, problem: Problem, rng: np.random.Generator) -> str:
        """A right worked completion."""
        return self.reasoning("") + problem.answer

    @abstractmethod
    def held_out(self, split: str, count: int) -> list[Problem]:
        """The first `count` test problems of a split, the same in every run; none of them is ever a training problem."""

    def answer(self, completion: str) -> str:
        """The final answer in one canonical form, so that equal answers are equal strings; empty where there is none."""
        return completion.strip()

    def reasoning(self, completion: str) -> str:
        """What stands before the final answer: with `problem.answer` behind it, it is a whole completion."""
        return ""


class Generated(TextTask):
    """What the tasks made by a seeded program share. A worked completion is its steps, a semicolon, and the answer.

    Held out by structure: of the problems that training could draw, a tenth by a hash of what makes them (`_key`) stands aside for the first split. The splits
    in `apart` have a form that no training problem has, such as a greater length.
    """

    name: ClassVar[str]
    splits: ClassVar[tuple[str, ...]]
    apart: ClassVar[frozenset[str]] = frozenset({"length"})
    most_held_out: int = 500  # test problems of a split

    def _draw(self, rng: np.random.Generator, split: str, place: int) -> Problem:
        """A problem for training ("train") or for place `place` of a split, held out or not."""
        raise NotImplementedError

    def _key(self, problem: Problem) -> str | bytes:
        """What makes a problem: two with the same key are both trained on, or neither."""
        raise NotImplementedError

    def _identity(self, problem: Problem) -> str:
        """What no two test problems of a split share."""
        return problem.prompt

    @abstractmethod
    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.25) -> str:
        """A worked completion of the problem, wrong with probability `corrupt` (0 to 1)."""

    def problem(self, rng: np.random.Generator) -> Problem:
        while True:
            problem = self._draw(rng, "train", 0)
            if not in_held_out_tenth(self._key(problem)):
                return problem

    def solution(self, problem: Problem, rng: np.random.Generator) -> str:
        return self.trace(problem, rng, corrupt=0.0)

    def held_out(self, split: str, count: int) -> list[Problem]:
        if split not in self.splits:
            raise BadInput(f"{self.name}: unknown split {split!r}; known: {', '.join(self.splits)}")
        if not 1 <= count <= self.most_held_out:
            raise BadInput(f"{self.name}: {count} test problems of split {split!r}; 1 to {self.most_held_out} can be had")
        rng = np.random.default_rng(derive_seed(0, self.name, split, *vars(self).values()))
        found: dict[str, Problem] = {}
        tries = 0
        while len(found) < count:
            if (tries := tries + 1) > MOST_TRIES * count:
                raise BadInput(f"{self.name}: {count} test problems of split {split!r} are not to be had, {len(found)} different ones were found")
            problem = self._draw(rng, split, len(found))
            if split in self.apart or in_held_out_tenth(self._key(problem)):
                found.setdefault(self._identity(problem), problem)
        return list(found.values())

    def answer(self, completion: str) -> str:
        return completion.rpartition(";")[2].strip() if ";" in completion else ""

    def reasoning(self, completion: str) -> str:
        return completion[: completion.rfind(";")] + ";" if ";" in completion else completion + ";"

    def _draws_corrupt(self, rng: np.random.Generator, corrupt: float) -> bool:
        """Whether this trace is a wrong one."""
        if not 0 <= corrupt <= 1:
            raise BadInput(f"{self.name}: corrupt={corrupt} is not a share; the nearest is {min(max(corrupt, 0), 1)}")
        return bool(rng.random() < corrupt)

    def _check_size(self, field_name: str, low: int, high: int) -> None:
        value = getattr(self, field_name)
        if not low <= value <= high:
            raise BadInput(f"{self.name}: {field_name}={value} is outside {low} to {high}; the nearest is {min(max(value, low), high)}")


def in_held_out_tenth(key: str | bytes) -> bool:
    """Whether training never draws what has this key."""
    return _number(key) % 10 == 0


def _number(key: str | bytes) -> int:
    # A hash and not a draw: whether something is held out does not depend on the seed or on what was drawn before.
    content = key.encode() if isinstance(key, str) else key
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")


def splits_of(rows: Sequence[tuple[str, str | None]]) -> list[str]:
    """"train" or "test" for each row of a file, given as its prompt and what it says of itself.

    Of the rows that say nothing a tenth is held out, by a hash of the prompt; where that leaves a side of the file empty, and there are two prompts, the one
    with the smallest hash is held out, or the one with the largest is not.
    """
    free = {prompt for prompt, said in rows if said is None}
    held = {prompt for prompt in free if in_held_out_tenth(prompt)}
    sides = {said for _, said in rows}
    if not held and "test" not in sides and (len(free) > 1 or "train" in sides):
        held = set(sorted(free, key=_number)[:1])
    if held == free and "train" not in sides and (len(free) > 1 or "test" in sides):
        held -= set(sorted(free, key=_number)[-1:])
    return [said or ("test" if prompt in held else "train") for prompt, said in rows]


def worked(completion: str) -> tuple[list[str], str]:
    """The steps of a completion `step,step;answer`, and its answer; no steps and no answer where it is too long or has not this form."""
    steps, semicolon, answer = completion.strip().partition(";")
    if len(completion) > LONGEST_READ or not semicolon:
        return [], ""
    return [step.strip() for step in steps.split(",")], answer.strip()
