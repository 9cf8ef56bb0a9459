"""Problems from a file: one JSON object a line, with a prompt and an answer."""

from __future__ import annotations

import hashlib
import json
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from operant.core.errors import BadInput
from operant.core.files import check_source
from operant.core.seeds import derive_seed
from operant.worlds.text.tasks.base import Problem, Reference, TextTask, splits_of
from operant.worlds.text.verifiers import ExactAnswer

SPLITS = ("train", "test")
FEW = 16  # held-out problems
COLUMNS = {"prompt": True, "answer": True, "solution": False, "split": False}  # whether a row must have it


class FileTask(TextTask):
    """Problems of a JSON Lines file. Each row is an object with the strings "prompt" and "answer".

    A row may also have "solution", a worked answer, which a policy trained from scratch learns to write (else the answer alone), and "split", "train" or
    "test"; of rows without one a tenth is test rows, by a hash of the prompt (`splits_of`). All columns but prompt and answer are the problem's metadata.

    Where the last lines of all solutions end in the same text and the answer behind it (such as `#### 42`), a completion is right whose text behind the last
    such marker is the answer, or that is the answer and nothing else; without one, the whole completion has to be the answer. Another verifier can take that
    place in training.

    Args:
        path: of the file, in UTF-8.

    Attributes:
        notes: what was dropped from the file, a line each.
        worked: some row has a solution.

    Raises:
        BadInput: the file cannot be read, a row is not as said above (with its line), or nothing is left to train or to test on.
    """

    splits = ("test",)

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.notes: list[str] = []
        lines, self._hash = read_lines(self.path)
        rows = self._distinct({number: self._row(line, number) for number, line in enumerate(lines, start=1) if line.strip()})
        parts: dict[str, list[Problem]] = {split: [] for split in SPLITS}
        self._lines: dict[int, int] = {}  # by the identity of a problem
        splits = splits_of([(row["prompt"], row.get("split")) for row in rows.values()])
        for (number, row), split in zip(rows.items(), splits, strict=True):
            problem = Problem(row["prompt"], row["answer"], {name: value for name, value in row.items() if name not in ("prompt", "answer")})
            self._lines[id(problem)] = number
            parts[split].append(problem)
        self.train, self.test = self._apart(parts["train"], parts["test"])
        if len(self.test) < FEW:
            self.notes.append(f"only {len(self.test)} held-out problems: scores on them say little; mark more rows with \"split\": \"test\"")
        every = self.train + self.test
        self.marker = _common_marker(every)
        if self.marker is None:
            self.notes.append(
                "the solutions do not end in the answer behind a common marker: only a completion that is the answer alone is right; see --verifier"
            )
        self.verifier = ExactAnswer(self.marker or "", alone=True)
        self.alphabet = "".join(sorted({character for problem in every for character in problem.prompt + problem.answer + self._worked(problem)}))
        self.longest_prompt = max(len(problem.prompt) for problem in every)
        self.worked = any("solution" in problem.metadata for problem in every)
        self.longest_completion = max(max(len(problem.answer), len(self._worked(problem))) for problem in every)
        self._order = lru_cache(maxsize=4)(self._epoch)

    def __repr__(self) -> str:
        return f"FileTask({self._hash})"

    def problem(self, rng: np.random.Generator) -> Problem:
        """A training row, each as likely."""
        return self.train[rng.integers(len(self.train))]

    def numbered(self, seed: int, index: int) -> Problem:
        """The training row of number `index`: every row once, in an order of its own for each passage and seed, before any comes again."""
        epoch, place = divmod(index, len(self.train))
        return self.train[self._order(seed, epoch)[place]]

    def _epoch(self, seed: int, epoch: int) -> np.ndarray:
        return np.random.default_rng(derive_seed(seed, "file/epoch", epoch)).permutation(len(self.train))

    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.25) -> str:
        """The row's solution, or its answer where it has none; the file knows no wrong ones, so `corrupt` changes nothing."""
        return self._worked(problem)

    def solution(self, problem: Problem, rng: np.random.Generator) -> str:
        return self._worked(problem)

    def held_out(self, split: str, count: int) -> list[Problem]:
        """The first `count` test rows, or all of them where there are fewer."""
        if split not in self.splits:
            raise BadInput(f"{self.path}: unknown split {split!r}; known: {', '.join(self.splits)}")
        if count < 1:
            raise BadInput(f"{self.path}: {count} test rows; 1 to {len(self.test)} can be had")
        return self.test[:count]

    @property
    def references(self) -> list[Reference]:
        """Every row that is trained or tested on: its solution, its answer, and the answer behind the marker."""
        found = []
        for problem in sorted(self.train + self.test, key=lambda problem: self._lines[id(problem)]):
            texts = (self._worked(problem), problem.answer, f"{self.marker or ''}{problem.answer.strip()}")
            found.append(Reference(f"line {self._lines[id(problem)]}", problem, tuple(dict.fromkeys(texts)), "solution" in problem.metadata))
        return found

    def answer(self, completion: str) -> str:
        return self.verifier.given(completion) or ""

    def reasoning(self, completion: str) -> str:
        return completion.rpartition(self.marker)[0] + self.marker if self.marker else ""

    @staticmethod
    def _worked(problem: Problem) -> str:
        return problem.metadata.get("solution", problem.answer)

    def _row(self, line: str, number: int) -> dict[str, Any]:
        where = f"{self.path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{where} is not JSON ({getattr(error, 'msg', error)}); each line is one object") from error
        if not isinstance(row, dict):
            raise BadInput(f'{where} is no object but {_kind(row)}; write {{"prompt": "…", "answer": "…"}}')
        if isinstance(row.get("answer"), int | float) and not isinstance(row["answer"], bool):
            row["answer"] = json.dumps(row["answer"])
        scored = any(name in row for name in ("tests", "schema"))  # by another column than the answer
        if scored:
            row.setdefault("answer", "")
        for name, required in COLUMNS.items():
            if name not in row:
                if required:
                    raise BadInput(f"{where} has no {name!r}; it has {', '.join(map(repr, row)) or 'nothing'}")
            elif not isinstance(row[name], str):
                raise BadInput(f"{where}: {name!r} is {_kind(row[name])}; it must be a string")
        for name in ("prompt", "answer"):
            if not row[name].strip() and not (scored and name == "answer"):
                raise BadInput(f"{where}: the {name} is empty; write it or leave the row out")
        if half := re.search("[\ud800-\udfff]", json.dumps(row, ensure_ascii=False)):
            raise BadInput(f"{where} holds half a character (a lone surrogate, \\u{ord(half[0]):04x}), which no tokenizer can read; write the whole one")
        if row.get("split", "train") not in SPLITS:
            raise BadInput(f"{where}: 'split' is {row['split']!r}; 'train' or 'test'")
        return row

    def _distinct(self, rows: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
        """Each row once, by its line."""
        if not rows:
            raise BadInput(f"{self.path} has no rows; each line is one object with 'prompt' and 'answer'")
        first: dict[str, int] = {}
        for number, row in rows.items():
            first.setdefault(json.dumps(row, sort_keys=True), number)
        distinct = {number: rows[number] for number in first.values()}
        if dropped := len(rows) - len(distinct):
            self.notes.append(f"{dropped} of {len(rows)} rows stand there more than once; each was taken once")
        if len({row["prompt"] for row in distinct.values()}) == 1:
            raise BadInput(f"{self.path}: every row has the same prompt; at least two are needed, one of them to test on")
        return distinct

    def _apart(self, train: list[Problem], test: list[Problem]) -> tuple[list[Problem], list[Problem]]:
        """Training rows whose prompts are no test row's, and the test rows."""
        tested = {problem.prompt for problem in test}
        kept = [problem for problem in train if problem.prompt not in tested]
        if dropped := len(train) - len(kept):
            self.notes.append(f"{dropped} training rows have the prompt of a test row and were left out")
        if not test:
            raise BadInput(f'{self.path} has no test rows: write "split": "test" into some, or leave "split" out of some')
        if not kept:
            raise BadInput(f'{self.path} has no training rows: write "split": "train" into some, with other prompts than those of the test rows')
        return kept, test


def read_lines(path: Path) -> tuple[list[str], str]:
    """The lines of a text file, and the hash of its content.

    Raises:
        BadInput: it cannot be read, or is no text in UTF-8.
    """
    check_source(path)
    try:
        content = path.read_bytes()
        return content.decode("utf-8-sig").split("\n"), hashlib.sha256(content).hexdigest()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not text in UTF-8 (byte {error.start}); save it as UTF-8") from error


def _common_marker(problems: list[Problem]) -> str | None:
    """The longest text that stands before the answer at the end of every solution, empty without solutions; None where there is no such text."""
    worked = [(problem, problem.metadata["solution"]) for problem in problems if "solution" in problem.metadata]
    if not worked:
        return ""
    if not all(solution.rstrip().endswith(problem.answer.strip()) for problem, solution in worked):
        return None
    before = [solution.rstrip().removesuffix(problem.answer.strip()) for problem, solution in worked]
    marker = os.path.commonprefix([text[::-1] for text in before])[::-1].lstrip("0123456789")  # digits would belong to what happens to stand before
    marker = marker.rpartition("\n")[2] or marker
    verifier = ExactAnswer(marker)
    return marker if marker and all(verifier.score(problem, solution) for problem, solution in worked) else None


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")
