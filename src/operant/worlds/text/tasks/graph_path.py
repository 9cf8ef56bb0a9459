"""A path of a given length in a small directed graph. Any such path is right."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from operant.worlds.text.tasks.base import LONGEST_READ, Generated, Problem, worked

NODES = "ABCDEF"


@dataclass(frozen=True)
class IsPath:
    """1.0 where the text behind the last semicolon is a path as it was asked for: right ends, right length, edges of the graph, no node twice; else 0.0."""

    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        _, found, path = completion[-LONGEST_READ:].rpartition(";")
        asked = problem.metadata
        return float(bool(found) and is_path(path.strip(), asked["edges"], asked["start"], asked["end"], asked["steps"]))


@dataclass(frozen=True)
class RightEdges:
    """1.0 where every step is an edge of the graph that goes on from the one before, and the answer is the nodes passed; else 0.0."""

    trusted = True

    def score(self, problem: Problem, completion: str) -> float:
        steps, answer = worked(completion)
        if not steps or not set(steps) <= set(problem.metadata["edges"]) or any(a[1] != b[0] for a, b in zip(steps, steps[1:], strict=False)):
            return 0.0
        return float(answer == steps[0][0] + "".join(step[1] for step in steps))


def is_path(path: str, edges: list[str], start: str, end: str, steps: int) -> bool:
    return len(path) == steps + 1 == len(set(path)) and path[0] == start and path[-1] == end and all(path[i : i + 2] in edges for i in range(steps))


def paths(edges: list[str], steps: int) -> list[str]:
    """Every path of `steps` edges that passes no node twice."""
    found = list(NODES)
    for _ in range(steps):
        found = [path + edge[1] for path in found for edge in edges if edge[0] == path[-1] and edge[1] not in path]
    return found


@dataclass(frozen=True)
class GraphPath(Generated):
    """A directed graph over six nodes, two of them, and how many edges the path between them has.

    Prompt `AB,BC,AC,CD,EB,DF:AD3:` (from A to D by three edges), trace `AB,BC,CD;ABCD`: the edges passed, then the nodes.

    Held out by structure: split "graphs" are graphs whose set of edges falls in a tenth of all that training never draws from; split "length" asks for paths
    one edge longer than any trained one.

    Args:
        steps: edges of the longest trained path, 2 to 4; they have 2 and more.
        edges: of a graph, 6 to 12.
    """

    steps: int = 3
    edges: int = 8

    name = "graph-path"
    alphabet = NODES + "12345,:;"
    splits = ("graphs", "length")
    verifier = IsPath()
    process = RightEdges()
    teacher_range = (0.7, 1.0)  # 0.9 takes twice the time, or more updates than there are
    teacher_learning_rate = 5e-4  # with twice as much imitation stands at 0.38 for a thousand updates, and with this it is at 0.7 after two thousand

    def __post_init__(self) -> None:
        self._check_size("steps", 2, 4)
        self._check_size("edges", 6, 12)

    @property
    def longest_prompt(self) -> int:
        return 3 * self.edges + 4

    @property
    def longest_completion(self) -> int:
        return 3 * (self.steps + 1) + self.steps + 2

    def trace(self, problem: Problem, rng: np.random.Generator, corrupt: float = 0.25) -> str:
        """A right path, drawn from all; with probability `corrupt` (0 to 1) one of the asked length between the asked ends with an edge that is not there."""
        asked = problem.metadata
        between = [node for node in NODES if node not in (asked["start"], asked["end"])]
        every = [asked["start"] + "".join(middle) + asked["end"] for middle in permutations(between, asked["steps"] - 1)]
        right = not self._draws_corrupt(rng, corrupt)
        fitting = [path for path in every if is_path(path, asked["edges"], asked["start"], asked["end"], asked["steps"]) == right]
        path = fitting[rng.integers(len(fitting))]
        return f"{','.join(path[i : i + 2] for i in range(len(path) - 1))};{path}"

    def _draw(self, rng: np.random.Generator, split: str, place: int) -> Problem:
        steps = self.steps + 1 if split == "length" else int(rng.integers(2, self.steps + 1))
        every = [a + b for a, b in permutations(NODES, 2)]
        while True:
            edges = [every[place] for place in rng.permutation(len(every))[: self.edges]]
            found = paths(edges, steps)
            ends = sorted({path[0] + path[-1] for path in found})
            if not ends:
                continue
            start, end = ends[rng.integers(len(ends))]
            # Only where some sequence of nodes between the ends is no path can a trace be wrong.
            between = [path for path in found if path[0] == start and path[-1] == end]
            if len(between) < [1, 4, 12, 24, 24][steps - 1]:
                metadata = {"edges": edges, "start": start, "end": end, "steps": steps, "split": split}
                return Problem(f"{','.join(edges)}:{start}{end}{steps}:", between[0], metadata)

    def _key(self, problem: Problem) -> str:
        return " ".join(sorted(problem.metadata["edges"]))
