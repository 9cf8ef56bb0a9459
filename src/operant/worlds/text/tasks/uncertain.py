"""Questions that cannot be answered for sure, with a stated confidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operant.worlds.text.tasks.base import Generated, Problem

CLASSES = "ABCDEFGHIJ"  # the shown digit is the answer with probability 0.1, 0.2, …, 1.0
CONFIDENCES = "0123456789X"  # 0.0, 0.1, …, 1.0


@dataclass(frozen=True)
class RightDigit:
    """1.0 where the text before the first semicolon is the answer, spaces around it aside; else 0.0. The confidence does not matter."""

    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        return float(completion.partition(";")[0].strip() == problem.answer)


@dataclass(frozen=True)
class Uncertain(Generated):
    """A class, a number, and a digit that is the answer with the probability of the class; else the answer is another digit, which nothing tells.

    Prompt `D407:7=` (class D: 0.4; number 407, which says nothing; digit 7), completion `7;4`: the answer, and the confidence from 0 to 9 and X for 0.0 to 0.9
    and 1.0. Traces state confidences drawn at random, so that a policy that learns from them has none. The best answers are right in 0.55 of all problems.

    Held out by structure: split "numbers" are problems whose class and number fall in a tenth of all that training never draws from.
    """

    name = "uncertain"
    alphabet = "0123456789ABCDEFGHIJX:=;"
    splits = ("numbers",)
    longest_prompt = 7
    longest_completion = 3
    verifier = RightDigit()
    teacher_range = (0.35, 1.0)  # right traces know more than their prompts: a policy that has learned them, and draws as they do, is right in 0.42

    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.25) -> str:
        """The answer, known in hindsight; with probability `corrupt` (0 to 1) another digit. The confidence is drawn at random."""
        offset = int(rng.integers(1, 10)) if self._draws_corrupt(rng, corrupt) else 0
        return f"{(int(problem.answer) + offset) % 10};{CONFIDENCES[rng.integers(len(CONFIDENCES))]}"

    def answer(self, completion: str) -> str:
        return completion.partition(";")[0].strip()

    def reasoning(self, completion: str) -> str:
        """Nothing stands before the answer."""
        return ""

    def confidence(self, completion: str) -> float | None:
        """What the completion states behind its semicolon, 0 to 1; None where that is not one of `CONFIDENCES`."""
        stated = completion.partition(";")[2].strip()
        return CONFIDENCES.index(stated) / 10 if len(stated) == 1 and stated in CONFIDENCES else None

    def _draw(self, rng: np.random.Generator, split: str, place: int) -> Problem:
        rank, number, shown = int(rng.integers(10)), int(rng.integers(1000)), int(rng.integers(10))
        offset = int(rng.integers(1, 10)) if rng.random() >= (rank + 1) / 10 else 0
        prompt = f"{CLASSES[rank]}{number:03}:{shown}="
        return Problem(prompt, str((shown + offset) % 10), {"probability": (rank + 1) / 10, "shown": shown, "split": split})

    def _key(self, problem: Problem) -> str:
        return problem.prompt.partition(":")[0]
