"""Sampling plans whose completions begin in the middle of an answer: windows of long ones, probes of what a state is worth, trees, a stage of branching."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from operant import ops
from operant.worlds.plans import Branches, Generation, Groups, Plan, Problems, Prompt, Request, Requests, check_positive


@dataclass(eq=False)
class Windows(Plan):
    """`prompts` x `n` answers at work at all times, of which each iteration writes the next `window` tokens (partial rollouts).

    Answers that did not end in their window go on in the next iteration, under the policy of then; ended ones make room for new ones, so that the batch stays
    full. What earlier windows wrote is in the row and not in its mask.

    Attributes:
        n: answers a problem; a problem whose turn comes when places are short begins the rest of its answers later.
        window: most new tokens of an answer in an iteration.
        temperature: of sampling and of the policy that is trained.
    """

    prompts: int = 16
    n: int = 16
    window: int = 8
    temperature: float = 1.0
    _going: list[tuple[int, tuple[int, ...]]] = field(default_factory=list, init=False, repr=False)  # (problem, tokens so far)
    _waiting: tuple[int, int] = field(default=(0, 0), init=False, repr=False)  # problem, and how many of its answers have not begun

    def __post_init__(self) -> None:
        check_positive(self)

    def requests(self, problems: Problems) -> Requests:
        requests = [self._next(problems, problems.prompt(index), tokens) for index, tokens in self._going]
        room = self.prompts * self.n - len(self._going)
        while room:
            index, left = self._waiting
            if not left:
                index, left = problems.draw(1)[0].index, self.n
            begun = min(left, room)
            requests.append(self._next(problems, problems.prompt(index), (), begun))
            self._waiting = (index, left - begun)
            room -= begun
        found = yield requests
        self._going = []
        lengths = found.mask.sum(1).tolist()
        for row, (place, ended) in enumerate(zip(found.request.tolist(), found.finished.tolist(), strict=True)):
            request = requests[place]
            prompt = problems.prompt(request.group).tokens
            tokens = request.prefix[len(prompt) :] + tuple(found.tokens[row, : lengths[row]].tolist())
            if not ended and len(tokens) < problems.limit:
                self._going.append((request.group, tokens))

    def _next(self, problems: Problems, prompt: Prompt, tokens: tuple[int, ...], n: int = 1) -> Request:
        return Request(prompt.tokens + tokens, n, max_new_tokens=min(self.window, problems.limit - len(tokens)), group=prompt.index)

    def state_dict(self) -> dict[str, Any]:
        return {"going": [[index, list(tokens)] for index, tokens in self._going], "waiting": list(self._waiting)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._going = [(int(index), tuple(map(int, tokens))) for index, tokens in state["going"]]
        self._waiting = (int(state["waiting"][0]), int(state["waiting"][1]))


@dataclass(frozen=True)
class SegmentProbes(Groups):
    """`n` answers a problem, and `probes` fresh completions from each boundary of their segments (`ops.segment_starts`) to say what it is worth.

    A probe has the answer as parent and `branch_at` is its boundary. The start of the problem is probed once for all of its answers, without a parent.

    Attributes:
        probes: completions a boundary.
        threshold: tokens of a smaller probability are cut points.
        every: cut points a segment.
    """

    probes: int = 9
    threshold: float = 0.9
    every: int = 5

    def requests(self, problems: Problems) -> Requests:
        prompts = problems.draw(self.prompts)
        answers = yield [Request(prompt.tokens, self.n, group=prompt.index) for prompt in prompts]
        starts = ops.segment_starts(answers.log_prob, answers.mask, threshold=self.threshold, every=self.every)
        probes = [Request(prompt.tokens, self.probes, group=prompt.index, train=False) for prompt in prompts]
        for row, cut in starts[:, 1:].nonzero().tolist():
            prompt = prompts[int(answers.request[row])]
            prefix = prompt.tokens + tuple(answers.tokens[row, : cut + 1].tolist())
            limit = problems.limit - cut - 1
            probes.append(Request(prefix, self.probes, max_new_tokens=limit, group=prompt.index, parent=row, train=False))
        yield probes


@dataclass(frozen=True)
class Tree(Plan):
    """A tree of chunks under each problem: `branching[0]` of them begin the answer, each goes on in `branching[1]` ways, and so on.

    A chunk has `chunk` tokens; those of the last level run to the end. A chunk that ends the answer is a leaf. Every row is an edge: it learns what is new in
    it.

    Attributes:
        branching: children of a node, level by level.
        chunk: tokens of a chunk that is not of the last level.
        temperature: of sampling and of the policy that is trained.
    """

    prompts: int = 16
    branching: tuple[int, ...] = (6, 6, 6)
    chunk: int = 4
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self)

    def requests(self, problems: Problems) -> Requests:
        nodes = [(prompt, (), -1) for prompt in problems.draw(self.prompts)]  # problem, tokens so far, row
        rows = 0
        for level, children in enumerate(self.branching, start=1):
            asked = []
            for prompt, tokens, row in nodes:
                left = problems.limit - len(tokens)
                limit = left if level == len(self.branching) else min(self.chunk, left)
                asked.append(Request(prompt.tokens + tokens, children, max_new_tokens=limit, group=prompt.index, parent=row))
            found = yield asked
            nodes = _grown(found, nodes, rows, problems.limit)
            rows += len(found.request)
            if not nodes:
                return


def _grown(found: Generation, nodes: list[tuple[Prompt, tuple[int, ...], int]], first: int, limit: int) -> list[tuple[Prompt, tuple[int, ...], int]]:
    """The chunks from which an answer goes on: problem, tokens so far and row, of which the first is number `first`."""
    grown = []
    lengths = found.mask.sum(1).tolist()
    for row, (place, ended) in enumerate(zip(found.request.tolist(), found.finished.tolist(), strict=True)):
        prompt, tokens, _ = nodes[place]
        tokens = tokens + tuple(found.tokens[row, : lengths[row]].tolist())
        if not ended and len(tokens) < limit:
            grown.append((prompt, tokens, first + row))
    return grown


@dataclass(frozen=True)
class ExploringStage(Branches):
    """`Branches` for the first share of training, then as many completions side by side.

    Attributes:
        explore: the share of training that branches, 0 to 1.
    """

    explore: float = 2 / 3

    def __post_init__(self) -> None:
        check_positive(self, allow_zero=("uncertain", "explore"))

    def requests(self, problems: Problems) -> Requests:
        plain = Groups(self.prompts, self.n * (1 + self.branches), self.temperature)
        return super().requests(problems) if problems.progress < self.explore else plain.requests(problems)
