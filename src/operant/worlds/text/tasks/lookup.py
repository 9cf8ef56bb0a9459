"""Questions of several hops, answered by a tool that returns one fact a call."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from operant.worlds.text.tasks.base import Generated, Problem
from operant.worlds.text.tasks.turns import Reply, TurnTask

CONSONANTS, VOWELS, RELATIONS = "bdfgklmnprst", "aeiou", "1234"
NAMES = [first + second for first in CONSONANTS for second in VOWELS]


def fact(table: int, name: str, relation: str) -> str:
    """Whom a name is related to in a table; all tables hold all names and relations."""
    digest = hashlib.sha256(f"{table} {name} {relation}".encode()).digest()
    return NAMES[int.from_bytes(digest[:8], "little") % len(NAMES)]


def is_call(text: str) -> bool:
    """Whether a turn asks the tool for a fact."""
    return len(text) == 3 and text[:2] in NAMES and text[2] in RELATIONS


@dataclass(frozen=True)
class AnswerF1:
    """F1 of the characters behind `=` with the answer's, as a bag; 0 without that mark. Of two-letter names 0, 0.5 or 1 (their order aside)."""

    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        if not completion.startswith("="):
            return 0.0
        given, right = Counter(completion[1:]), Counter(problem.answer)
        shared = (given & right).total()
        return 2 * shared / (given.total() + right.total())


@dataclass(frozen=True)
class Lookup(TurnTask, Generated):
    """A chain of relations through a table that only the tool sees, and another table for each problem.

    Prompt `ba13`: who is related by 3 to whom ba is related to by 1? A turn `ba1` calls the tool, which replies with a name (`ke`), or with `?` where it is no
    call. `=mo` is the answer and ends the row; its reward is the F1 of its letters. Chains have two or three hops. The traces' agent is careless: it often
    calls by a wrong relation or answers before it knows.

    Held out by structure: a tenth of the questions (name and relations), and in "length" chains of four hops.

    Args:
        turns: most turns, 4 to 20.
    """

    turns: int = 5

    name = "lookup"
    alphabet = CONSONANTS + VOWELS + RELATIONS + "=?"
    splits = ("questions", "length")
    trusted = True
    longest_prompt = 6
    longest_turn = 3
    longest_reply = 2
    verifier = AnswerF1()

    def __post_init__(self) -> None:
        self._check_size("turns", 4, 20)

    @property
    def longest_completion(self) -> int:
        return self.turns * (self.longest_turn + 1 + self.longest_reply)

    def reply(self, problem: Problem, text: str, state: Any) -> Reply:
        if text.startswith("="):
            return Reply("", done=True)
        return Reply(fact(problem.metadata["table"], text[:2], text[2]) if is_call(text) else "?")

    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.75) -> list[str]:
        """Calls along the chain and the answer; with probability `corrupt` (0 to 1) one call takes a wrong relation and the chain goes on from there, or the
        last call is left out and the answer guessed."""
        name, relations = problem.prompt[:2], list(problem.prompt[2:])
        if self._draws_corrupt(rng, corrupt):
            if rng.random() < 0.5:
                place = int(rng.integers(len(relations)))
                relations[place] = RELATIONS[(RELATIONS.index(relations[place]) + int(rng.integers(1, len(RELATIONS)))) % len(RELATIONS)]
            else:
                relations = relations[:-1]
        said = []
        for relation in relations:
            said.append(name + relation)
            name = fact(problem.metadata["table"], name, relation)
        if len(relations) < len(problem.prompt) - 2:
            name = NAMES[rng.integers(len(NAMES))]
        return [*said, "=" + name]

    def answer(self, completion: str) -> str:
        return completion[1:].strip() if completion.startswith("=") else ""

    def reasoning(self, completion: str) -> str:
        return "="

    def _draw(self, rng: np.random.Generator, split: str, place: int) -> Problem:
        hops = 4 if split == "length" else int(rng.integers(2, 4))
        first, table = NAMES[rng.integers(len(NAMES))], int(rng.integers(2**31))
        relations = "".join(RELATIONS[relation] for relation in rng.integers(len(RELATIONS), size=hops))
        name = first
        for relation in relations:
            name = fact(table, name, relation)
        return Problem(first + relations, name, {"table": table})

    def _key(self, problem: Problem) -> str:
        return problem.prompt
