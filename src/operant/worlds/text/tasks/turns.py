"""Tasks that take turns with the policy: a tool, an environment or a user replies to what it wrote. Free of heavy imports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from operant.worlds.text.tasks.base import Problem
from operant.worlds.text.verifiers import Unscored


@dataclass(frozen=True)
class Reply:
    """What a task answers to one turn.

    Attributes:
        text: what stands behind the turn in the row, and is never learned from. Behind the last one nothing is written.
        reward: of the turn, on its last token.
        done: the row is over.
        state: what the task keeps of this row until its next turn: plain data (JSON values).
    """

    text: str
    reward: float = 0.0
    done: bool = False
    state: Any = None


class TurnTask(ABC):
    """What a text task has besides where it replies. It stands beside the rest of a `TextTask`, which its class gives too, for example by `Generated`.

    The reward of a row is the sum of what its turns got, and of what the verifier gives its last turn; here it gives nothing.

    Attributes:
        turns: most turns of a row.
        longest_turn: characters of a turn, without what ends it.
        longest_reply: characters of a reply; a longer one is none.
        longest_completion: characters of a whole row behind its prompt, replies included.
        turn_end: what ends a turn, one character; empty where the end token does.
        trusted: `reply` neither runs nor parses what the policy wrote, and is called in the process. Any other is called in child processes with the limits of
            verifiers, and must be importable there; the task is made anew there, from the fields of its dataclass.
    """

    turns: int
    longest_turn: int
    longest_reply: int = 2_000
    turn_end: str = ""
    trusted: ClassVar[bool] = False
    verifier: Any = Unscored()

    @abstractmethod
    def reply(self, problem: Problem, text: str, state: Any) -> Reply:
        """The answer to the text of one turn, without what ended it. `state` is what the reply before gave of this row, None at its first turn."""

    @abstractmethod
    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.25) -> Sequence[str]:
        """The policy's turns of a worked row, without what ends them; a share `corrupt` of the rows goes wrong."""

    def solution(self, problem: Problem, rng: np.random.Generator) -> str:
        """The last turn of a right row."""
        return self.trace(problem, rng, 0.0)[-1]

    def answer(self, completion: str) -> str:
        """The final answer that a last turn gives, in one canonical form; empty where there is none."""
        return completion.strip()

    def reasoning(self, completion: str) -> str:
        """What stands before the final answer in a last turn."""
        return ""
