"""Knights and knaves: who tells the truth?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from operant.worlds.text.tasks.base import Generated, Problem, worked
from operant.worlds.text.verifiers import ExactAnswer

PEOPLE = "ABC"
KINDS = "+-"  # knight, knave


def holds(statement: str, kinds: str) -> bool:
    """Whether `B+`, `B-` (B is a knight, a knave), `A=B`, `A/B` (they are alike, they are not), `A&B` or `A|B` (both, at least one is a knight) is true.

    Args:
        kinds: one of `KINDS` for each person, in order.
    """
    first = kinds[PEOPLE.index(statement[0])]
    if len(statement) == 2:
        return first == statement[1]
    second = kinds[PEOPLE.index(statement[2])]
    return {"=": first == second, "/": first != second, "&": first + second == "++", "|": "+" in (first, second)}[statement[1]]


def liar(statements: list[str], kinds: str) -> str:
    """The first person whose statement does not fit their kind if the kinds were these; empty where all fit."""
    return next((PEOPLE[who] for who, statement in enumerate(statements) if holds(statement, kinds) != (kinds[who] == "+")), "")


def statements_of(speaker: str, people: str) -> list[str]:
    """What a person can say: of each other one alone, and of each two."""
    alone = [other + kind for other in people if other != speaker for kind in KINDS]
    return alone + [f"{a}{relation}{b}" for a, b in combinations(people, 2) for relation in "=/&|"]


@dataclass(frozen=True)
class RightCases:
    """1.0 where each case that was tried contradicts what the person named behind it says, and the last, which is the answer, contradicts nothing; else 0.0."""

    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        said = problem.metadata["statements"]
        steps, answer = worked(completion)
        if not steps or steps[-1] != answer or answer != problem.answer:
            return 0.0
        return float(all(len(step) == len(said) + 1 and set(step[:-1]) <= set(KINDS) and step[-1] == liar(said, step[:-1]) for step in steps[:-1]))


@dataclass(frozen=True)
class KnightsKnaves(Generated):
    """Each person is a knight, whose statements are true, or a knave, whose statements are false. Who is what?

    Prompt `A:B-,B:C+,C:A=B:`, trace `+++A,++-A,+-+C,+--;+--`: cases in a random order, each with the first person whom it contradicts, up to the one that fits;
    then the answer, + for a knight and - for a knave, in the order of the people. Every puzzle has one solution.

    Held out by structure: split "statements" are puzzles of three people from a tenth of all that training never draws from; split "people" are puzzles of two,
    where training has three.
    """

    name = "knights-knaves"
    alphabet = "ABC:+-=/&|,;"
    splits = ("statements", "people")
    apart = frozenset({"people"})
    longest_prompt = 18
    longest_completion = 8 * 5 - 2 + 4
    most_held_out = 128
    verifier = ExactAnswer(marker=";")
    process = RightCases()

    def held_out(self, split: str, count: int) -> list[Problem]:
        """There are no more than ten puzzles of two people; of split "people" at most so many are given."""
        return super().held_out(split, min(count, 10) if split == "people" else count)

    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.25) -> str:
        """The cases in random order up to the right one; with probability `corrupt` (0 to 1) up to a wrong one, whose contradiction is overlooked."""
        said = problem.metadata["statements"]
        cases = list(map("".join, product(KINDS, repeat=len(said))))
        if self._draws_corrupt(rng, corrupt):
            cases.remove(problem.answer)
            last = cases[rng.integers(len(cases))]
        else:
            last = problem.answer
        order = [cases[place] for place in rng.permutation(len(cases))]
        tried = order[: order.index(last)]
        return ",".join([case + liar(said, case) for case in tried] + [last]) + f";{last}"

    def _draw(self, rng: np.random.Generator, split: str, place: int) -> Problem:
        people = PEOPLE[: 2 if split == "people" else 3]
        while True:
            said = [choices[rng.integers(len(choices))] for choices in (statements_of(person, people) for person in people)]
            fitting = [kinds for kinds in map("".join, product(KINDS, repeat=len(people))) if not liar(said, kinds)]
            if len(fitting) == 1:
                prompt = ",".join(f"{person}:{statement}" for person, statement in zip(people, said, strict=True)) + ":"
                return Problem(prompt, fitting[0], {"statements": said, "split": split})

    def _key(self, problem: Problem) -> str:
        return problem.prompt
