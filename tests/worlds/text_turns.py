"""Tasks whose replies go wrong in every way, for the tests of turns. At the top of a module, so that child processes find them."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from operant.worlds.text.tasks.base import Generated, Problem
from operant.worlds.text.tasks.turns import Reply, TurnTask


@dataclass(frozen=True)
class Echo(TurnTask, Generated):
    """Replies with how many letters it has heard so far, and is done after `enough` turns; a turn is worth its letters."""

    enough: int = 3
    turns: int = 4

    name = "echo"
    alphabet = "abc0123456789.:"
    splits = ("all",)
    longest_prompt = 3
    longest_turn = 3
    longest_reply = 4
    longest_completion = 32
    turn_end = "."
    trusted = True

    def reply(self, problem: Problem, text: str, state: Any) -> Reply:
        heard = (state or {"letters": 0, "turns": 0}) | {}
        heard = {"letters": heard["letters"] + len(text), "turns": heard["turns"] + 1}
        return Reply(f":{heard['letters']}", float(len(text)), heard["turns"] >= self.enough, heard)

    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.25) -> list[str]:
        return ["ab"] * self.enough

    def _draw(self, rng: np.random.Generator, split: str, place: int) -> Problem:
        return Problem("".join("abc"[letter] for letter in rng.integers(3, size=3)), "")

    def _key(self, problem: Problem) -> str:
        return problem.prompt


class Confined(Echo):
    """The same in child processes."""

    trusted = False


class Raises(Echo):
    def reply(self, problem, text, state):
        raise ValueError("no reply today")


class Leaves(Echo):
    def reply(self, problem, text, state):
        sys.exit(3)


class Long(Echo):
    def reply(self, problem, text, state):
        return Reply("a" * 5)


class Unwritable(Echo):
    def reply(self, problem, text, state):
        return Reply("Z")


class NoText(Echo):
    def reply(self, problem, text, state):
        return Reply(5)


class NoNumber(Echo):
    def reply(self, problem, text, state):
        return Reply("a", float("nan"))


class NoData(Echo):
    def reply(self, problem, text, state):
        return Reply("a", state=object())


class NoReply(Echo):
    def reply(self, problem, text, state):
        return None


class NoReplyInside(Confined):
    def reply(self, problem, text, state):
        return "H"


class FarTooMuch(Echo):
    def reply(self, problem, text, state):
        return Reply("a", state="x" * 20_000)


class Hangs(Confined):
    def reply(self, problem, text, state):
        time.sleep(60)


class Dies(Confined):
    def reply(self, problem, text, state):
        os.abort()
