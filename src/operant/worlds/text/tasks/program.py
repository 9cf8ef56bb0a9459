"""Programs from examples, in a small stack language. Any program that does the same is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operant.worlds.text.tasks.base import Generated, Problem, worked

INSTRUCTIONS = "+-*ds1"
MOST_INSTRUCTIONS = 16
EXAMPLES, TESTS = 4, 8


def run(program: str, stack: list[int]) -> list[list[int]] | None:
    """The stack after each instruction, its top last; None where one is unknown or finds too few numbers, or there are more than `MOST_INSTRUCTIONS`.

    `+ - *` put a result modulo ten in the place of the two topmost numbers, `d` puts the topmost there once more, `s` swaps the two topmost, `1` puts a one on
    top. There are no loops.
    """
    if len(program) > MOST_INSTRUCTIONS:
        return None
    states = []
    for instruction in program:
        stack = list(stack)
        needs = 0 if instruction == "1" else 1 if instruction == "d" else 2
        if instruction not in INSTRUCTIONS or len(stack) < needs:
            return None
        if needs == 0:
            stack.append(1)
        elif instruction == "d":
            stack.append(stack[-1])
        else:
            b, a = stack.pop(), stack.pop()
            stack += [b, a] if instruction == "s" else [{"+": a + b, "-": a - b, "*": a * b}[instruction] % 10]
        states.append(stack)
    return states


def passes(program: str, cases: list[list[int]]) -> bool:
    """Whether the top of the stack is c at the end for each case (a, b, c) that begins with a and b on it."""
    return bool(program) and all((states := run(program, case[:2])) is not None and states[-1][-1] == case[2] for case in cases)


@dataclass(frozen=True)
class PassesTests:
    """1.0 where the program behind the last semicolon passes the examples and the hidden tests; else 0.0."""

    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        _, found, program = completion.rpartition(";")
        return float(bool(found) and passes(program.strip(), problem.metadata["examples"] + problem.metadata["tests"]))


@dataclass(frozen=True)
class RightStates:
    """1.0 where every step is an instruction and the stack that it leaves in the first example, and the answer is those instructions; else 0.0."""

    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        steps, answer = worked(completion)
        states = run(answer, problem.metadata["examples"][0][:2]) if answer else None
        return float(states is not None and steps == written(answer, states))


def written(program: str, states: list[list[int]]) -> list[str]:
    """Each instruction with the stack that it leaves."""
    return [instruction + "".join(map(str, state)) for instruction, state in zip(program, states, strict=True)]


@dataclass(frozen=True)
class Program(Generated):
    """Four examples of what a program makes of two digits; write the program.

    Prompt `123,475,880,916:` (of 1 and 2 it makes 3, …), trace `d122,+14;d+`: each instruction with the stack that it leaves in the first example, then the
    program. It is tested on the examples and on eight more pairs, which the prompt does not show.

    Held out by structure: split "examples" are problems whose four examples fall in a tenth of all that training never draws from; split "length" are programs
    one instruction longer than any trained one.

    Args:
        instructions: of the longest trained program, 2 to 4; they have 1 and more.
    """

    instructions: int = 2

    name = "program"
    alphabet = "0123456789+-*ds,:;"
    splits = ("examples", "length")
    longest_prompt = 4 * EXAMPLES
    verifier = PassesTests()
    process = RightStates()

    def __post_init__(self) -> None:
        self._check_size("instructions", 2, 4)

    @property
    def longest_completion(self) -> int:
        most = self.instructions + 1
        return most * 2 + sum(range(3, most + 3)) + most

    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.25) -> str:
        """The program run on the first example; with probability `corrupt` (0 to 1) another one that is as long and fails a test, run as rightly."""
        metadata = problem.metadata
        program = problem.answer
        if self._draws_corrupt(rng, corrupt):
            while passes(program, metadata["examples"] + metadata["tests"]):
                program = self._program(rng, len(program))
        return f"{','.join(written(program, run(program, metadata['examples'][0][:2])))};{program}"

    def _draw(self, rng: np.random.Generator, split: str, place: int) -> Problem:
        length = self.instructions + 1 if split == "length" else int(rng.integers(1, self.instructions + 1))
        while True:
            program = self._program(rng, length)
            pairs = [divmod(int(pair), 10) for pair in rng.permutation(100)[: EXAMPLES + TESTS]]
            cases = [[a, b, run(program, [a, b])[-1][-1]] for a, b in pairs]
            if len({case[2] for case in cases}) > 1 and any(case[1] != case[2] for case in cases):  # not a constant, nor the second number
                examples, tests = cases[:EXAMPLES], cases[EXAMPLES:]
                prompt = ",".join("".join(map(str, case)) for case in examples) + ":"
                return Problem(prompt, program, {"examples": examples, "tests": tests, "split": split})

    def _key(self, problem: Problem) -> str:
        return problem.prompt

    @staticmethod
    def _program(rng: np.random.Generator, length: int) -> str:
        """A program of `length` that two numbers are enough for."""
        while True:
            program = "".join(INSTRUCTIONS[place] for place in rng.integers(len(INSTRUCTIONS), size=length))
            if run(program, [0, 0]) is not None:
                return program
