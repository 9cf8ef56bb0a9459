"""A guessing game: the policy asks, the task answers yes or no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from operant.worlds.text.tasks.base import Generated, Problem
from operant.worlds.text.tasks.turns import Reply, TurnTask

ATTRIBUTES = "abcde"


@dataclass(frozen=True)
class TwentyQuestions(TurnTask, Generated):
    """An item of 32, hidden behind five attributes that it has or has not. The policy asks for them one by one and guesses; a right guess is worth 1.

    Prompt `cadbe`: the order in which a guess names the attributes. A turn `a?` asks whether the item has a, the reply is `ay` or `an`; `=cyandnbyen?` guesses,
    and the reply to a wrong one is `no`. What is neither is answered by `--`. After the most turns the row is cut. Whoever asks every attribute once is right
    in the sixth turn. The traces' player is careless: it asks at random, often what it knows already, and guesses what it has not asked.

    Held out by structure: a tenth of the orders and items, which training never draws together.

    Args:
        turns: most turns, 2 to 20.
    """

    turns: int = 6

    name = "twenty-questions"
    alphabet = ATTRIBUTES + "yno=?-"
    splits = ("games",)
    trusted = True
    longest_prompt = len(ATTRIBUTES)
    longest_turn = 1 + 2 * len(ATTRIBUTES)
    longest_reply = 2
    turn_end = "?"

    def __post_init__(self) -> None:
        self._check_size("turns", 2, 20)

    @property
    def longest_completion(self) -> int:
        return self.turns * (self.longest_turn + 1 + self.longest_reply)

    def reply(self, problem: Problem, text: str, state: Any) -> Reply:
        if text.startswith("="):
            right = text[1:] == problem.answer
            return Reply("" if right else "no", float(right), done=right)
        if len(text) == 1 and text in problem.prompt:
            place = problem.answer.index(text)
            return Reply(problem.answer[place : place + 2])
        return Reply("--")

    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.9) -> list[str]:
        """The turns of a game; with probability `corrupt` (0 to 1) of the careless player, else of one who asks every attribute once."""
        if not self._draws_corrupt(rng, corrupt):
            return [*(ATTRIBUTES[place] for place in rng.permutation(len(ATTRIBUTES))), "=" + problem.answer]
        asked = [ATTRIBUTES[place] for place in rng.integers(len(ATTRIBUTES), size=int(rng.integers(2, 6)))]
        tried: list[str] = []
        while len(asked) + len(tried) < self.turns:
            items = zip(problem.prompt, problem.answer[1::2], strict=True)
            tried.append("=" + "".join(name + (item if name in asked else "yn"[rng.integers(2)]) for name, item in items))
        return asked + tried

    def _draw(self, rng: np.random.Generator, split: str, place: int) -> Problem:
        order = "".join(ATTRIBUTES[place] for place in rng.permutation(len(ATTRIBUTES)))
        return Problem(order, "".join(name + "yn"[bit] for name, bit in zip(order, rng.integers(2, size=len(ATTRIBUTES)), strict=True)))

    def _key(self, problem: Problem) -> str:
        return problem.prompt + problem.answer

    def _identity(self, problem: Problem) -> str:
        return problem.prompt + problem.answer
