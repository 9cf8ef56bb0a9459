"""Problems from the datasets of the package reasoning-gym (arXiv:2505.24760), which is imported when a task is made."""

from __future__ import annotations

import string
from functools import cached_property
from typing import Any

import numpy as np

from operant.core.errors import BadInput, unknown
from operant.worlds.text.tasks.base import Problem, Reference, TextTask

TRAIN_SEED, TRAIN_SIZE = 0, 10_000  # some datasets are made whole at once
TEST_SEED, TEST_SIZE = 1_000_000_000, 256  # entry i of a dataset is made from seed + i, so these are far apart
TRIES = 100
REFERENCES = 32  # problems whose answers are scored before a run
SAMPLE = 200  # entries that lengths and characters are measured on


class ReasoningGym(TextTask):
    """Problems of one reasoning-gym dataset, with its default difficulty. The prompt is its question; its own scoring, in a child process, is the verifier.

    Held out: split "test" is made from other seeds than training, and no training problem has the question of one of its first 256 entries.

    A trace is the reference answer alone, the same for every `corrupt`: the package gives no worked solutions, and no wrong ones.

    Args:
        name: of the dataset, such as "chain_sum".

    Raises:
        BadInput: the package is missing, there is no such dataset, or it cannot be made without further settings.
    """

    splits = ("test",)
    verifier = "operant.worlds.text.tasks.reasoning_gym_score:score"

    def __init__(self, name: str):
        try:
            import reasoning_gym
            from reasoning_gym.factory import DATASETS
        except ImportError as error:
            raise BadInput(f"reasoning-gym:{name} needs the package reasoning-gym: pip install 'operant[reasoning-gym]'") from error
        if name not in DATASETS:
            raise unknown("reasoning-gym dataset", name, DATASETS)
        self.name = name
        try:
            self._train = reasoning_gym.create_dataset(name, seed=TRAIN_SEED, size=TRAIN_SIZE)
            self._test = reasoning_gym.create_dataset(name, seed=TEST_SEED, size=TEST_SIZE)
        except (AssertionError, ValueError, TypeError) as error:
            raise BadInput(f"reasoning-gym:{name} cannot be made with its default settings: {error}") from error

    def __repr__(self) -> str:
        return f"ReasoningGym({self.name!r})"

    def problem(self, rng: np.random.Generator) -> Problem:
        for _ in range(TRIES):
            problem = self._problem(self._train[int(rng.integers(TRAIN_SIZE))], "train")
            if problem.prompt not in self._test_prompts:
                return problem
        raise BadInput(f"reasoning-gym:{self.name} has too few different questions: {TRIES} in a row were held out for testing")

    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.25) -> str:
        return self.solution(problem, rng)

    def solution(self, problem: Problem, rng: np.random.Generator) -> str:
        if not problem.answer:
            raise BadInput(f"reasoning-gym:{self.name} has no reference answers to learn from: start from a trained model (--model)")
        return problem.answer

    def held_out(self, split: str, count: int) -> list[Problem]:
        """The first `count` different questions of the split, or all of them where there are fewer."""
        if split not in self.splits:
            raise BadInput(f"reasoning-gym:{self.name}: unknown split {split!r}; known: {', '.join(self.splits)}")
        if not 1 <= count <= TEST_SIZE:
            raise BadInput(f"reasoning-gym:{self.name}: {count} test problems; 1 to {TEST_SIZE} can be had")
        return list(self._test_prompts.values())[:count]

    @property
    def references(self) -> list[Reference]:
        """The first test problems that have an answer."""
        problems = list(self._test_prompts.values())[:REFERENCES]
        return [Reference(f"test problem {place}", problem, (problem.answer,), False) for place, problem in enumerate(problems) if problem.answer]

    def answer(self, completion: str) -> str:
        return completion.strip()

    def reasoning(self, completion: str) -> str:
        """Nothing stands before the answer."""
        return ""

    @cached_property
    def _test_prompts(self) -> dict[str, Problem]:
        found: dict[str, Problem] = {}
        for index in range(TEST_SIZE):
            problem = self._problem(self._test[index], "test")
            found.setdefault(problem.prompt, problem)
        return found

    @cached_property
    def _sample(self) -> list[Problem]:
        return [self._problem(self._train[index], "train") for index in range(0, TRAIN_SIZE, TRAIN_SIZE // SAMPLE)] + list(self._test_prompts.values())

    @cached_property
    def alphabet(self) -> str:
        """Printable ASCII, and what else a sample of the dataset has."""
        return "".join(sorted(set(string.printable).union(*(problem.prompt + problem.answer for problem in self._sample))))

    @cached_property
    def longest_prompt(self) -> int:
        """Of a sample of the dataset, and a quarter more."""
        return max(len(problem.prompt) for problem in self._sample) * 5 // 4

    @cached_property
    def longest_completion(self) -> int:
        """Of a sample of the dataset, and a quarter more."""
        return max(1, max(len(problem.answer) for problem in self._sample) * 5 // 4)

    def _problem(self, entry: dict[str, Any], split: str) -> Problem:
        answer = "" if entry["answer"] is None else str(entry["answer"])
        return Problem(entry["question"], answer, {"dataset": self.name, "split": split, "entry": pack(entry)})


def pack(value: Any) -> Any:
    """A value as JSON that `unpack` gives back unchanged: tuples, and dicts whose keys are not strings, which JSON would change, are marked."""
    if isinstance(value, tuple):
        return {"tuple": [pack(item) for item in value]}
    if isinstance(value, list):
        return [pack(item) for item in value]
    if isinstance(value, dict):
        return {"dict": [[pack(key), pack(item)] for key, item in value.items()]}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return {"text": str(value)}


def unpack(value: Any) -> Any:
    """What `pack` was given; objects that JSON has no form for come back as their text."""
    if isinstance(value, list):
        return [unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    (kind, content), *_ = value.items()
    if kind == "dict":
        return {unpack(key): unpack(item) for key, item in content}
    return content if kind == "text" else tuple(unpack(item) for item in content)
