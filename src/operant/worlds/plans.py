"""Sampling plans of token policies: which prefixes are completed, how often, and in what order. Free of heavy imports, so that methods can name them.

A plan is an object with `prompts` (groups an iteration), `temperature` and a generator `requests(problems)`: it yields lists of `Request`
and is sent the `Generation` of each list. Rows are numbered over an iteration in the order of the requests, so that a later request can name a row as its
`parent`: a group is then a tree. A plan may learn from what came of its rows by `observe(rollout)`, which is called with the scored rollout; one that keeps
something between iterations is a plain class with `state_dict` and `load_state_dict`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from operant.core.errors import BadInput, RunFailed


@dataclass(frozen=True)
class Request:
    """`n` completions of one prefix.

    Attributes:
        prefix: token ids, at least one: the prompt, and what of an answer is given before the policy goes on.
        n: completions, at least 1.
        stop: token ids that end a completion, besides the end token.
        max_new_tokens: limit of these completions; None for the task's (`problems.limit`).
        group: number of the problem that the prefix belongs to.
        parent: row that the prefix was taken from, -1 for none.
        train: False for rows that are scored and never learned from (probes).
        given: tokens of an answer that is not drawn; the recorded log-probabilities are what the policy gives them. n is then 1.
        given_log_prob: what whoever wrote a given answer gave its tokens, where that is known.
    """

    prefix: tuple[int, ...]
    n: int = 1
    stop: tuple[int, ...] = ()
    max_new_tokens: int | None = None
    group: int = 0
    parent: int = -1
    train: bool = True
    given: tuple[int, ...] | None = None
    given_log_prob: tuple[float, ...] | None = None


@dataclass
class Generation:
    """R completions of at most T tokens, the rows of a request side by side in the order of the requests.

    Attributes:
        prompts: prefix of each request.
        request: index of the row's request, `[R]` int64.
        tokens: `[R, T]` int64, padded behind the end; T is the longest completion.
        log_prob, entropy: of the policy's distribution at the plan's temperature, nats, `[R, T]` float32; 0 where padded.
        mask: True up to and with the token that ended the row, `[R, T]`.
        finished: False where the row was cut at a limit, `[R]`.
        behaviour_log_prob: of the distribution that tokens were really drawn from, where that is another one (an adaptive temperature, truncation); else None.
    """

    prompts: list[tuple[int, ...]]
    request: Tensor
    tokens: Tensor
    log_prob: Tensor
    entropy: Tensor
    mask: Tensor
    finished: Tensor
    behaviour_log_prob: Tensor | None = None


@dataclass(frozen=True)
class Prompt:
    """A problem as a plan sees it.

    Attributes:
        index: number of the problem, which is the number of its group.
        tokens: of the prompt.
        solve: makes the tokens of a right worked answer, with the end token.
    """

    index: int
    tokens: tuple[int, ...]
    solve: Callable[[], tuple[int, ...]] = field(repr=False, compare=False)

    @property
    def solution(self) -> tuple[int, ...]:
        return self.solve()


class Problems(Protocol):
    """What a plan draws from.

    Attributes:
        rng: the run's own random stream for plans; its state is saved.
        policy: what acts.
        progress: share of training that is done, 0 to 1.
        limit: most new tokens of an answer.
        end: the tokens that end an answer by themselves.
    """

    rng: np.random.Generator
    policy: Any
    progress: float
    limit: int
    end: tuple[int, ...]

    def draw(self, count: int) -> list[Prompt]:
        """The next problems."""

    def prompt(self, index: int) -> Prompt:
        """The problem of number `index`, again."""


Requests = Generator[list[Request], Generation, None]


class Plan(Protocol):
    prompts: int
    temperature: float

    def requests(self, problems: Problems) -> Requests: ...


@dataclass(frozen=True)
class Groups:
    """`prompts` problems an iteration, `n` completions of each, side by side.

    Attributes:
        temperature: of sampling and of the policy that is trained, above 0. Truncation (top-k, top-p) is not offered in training: tokens outside it would have
            probability 0 when drawn and not when learned from, which biases every ratio.
    """

    prompts: int = 16
    n: int = 16
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self)

    def requests(self, problems: Problems) -> Requests:
        yield [Request(prompt.tokens, self.n, group=prompt.index) for prompt in problems.draw(self.prompts)]


@dataclass(frozen=True)
class Branches(Groups):
    """`n` completions a prompt, and from each of them `branches` more that begin at one of its `uncertain` positions of highest entropy, drawn uniformly.

    The branching position lies behind the first token and is no end token. A row without such a position is answered anew from the start, so that groups keep
    their size.

    Attributes:
        branches: new completions a trunk.
        uncertain: how many positions of highest entropy are drawn from; 0 draws from all of them alike, the control of such methods.
    """

    branches: int = 3
    uncertain: int = 20

    def __post_init__(self) -> None:
        check_positive(self, allow_zero=("uncertain",))

    def requests(self, problems: Problems) -> Requests:
        prompts = problems.draw(self.prompts)
        trunks = yield [Request(prompt.tokens, self.n, group=prompt.index) for prompt in prompts]
        branches = []
        for row, length in enumerate(trunks.mask.sum(1).tolist()):
            prompt = prompts[int(trunks.request[row])]
            length -= int(trunks.tokens[row, length - 1]) in problems.end
            if length < 2:
                branches.append(Request(prompt.tokens, self.branches, group=prompt.index))
                continue
            places = torch.arange(1, length)
            if self.uncertain:
                places = places[trunks.entropy[row, 1:length].cpu().topk(min(self.uncertain, length - 1)).indices]
            cut = int(places[problems.rng.integers(len(places))])
            prefix = prompt.tokens + tuple(trunks.tokens[row, :cut].tolist())
            branches.append(Request(prefix, self.branches, max_new_tokens=problems.limit - cut, group=prompt.index, parent=row))
        yield branches


@dataclass(frozen=True)
class WithSolutions(Groups):
    """`n` completions a prompt, and beside them `solutions` worked answers from outside, which join the group."""

    solutions: int = 1

    def requests(self, problems: Problems) -> Requests:
        requests = []
        for prompt in problems.draw(self.prompts):
            requests.append(Request(prompt.tokens, self.n, group=prompt.index))
            requests += [Request(prompt.tokens, group=prompt.index, given=prompt.solution) for _ in range(self.solutions)]
        yield requests


def check_positive(plan: Any, allow_zero: Sequence[str] = ()) -> None:
    """Raise `BadInput` where a numeric field of a plan is not above 0."""
    for item in fields(plan):
        value = getattr(plan, item.name)
        if isinstance(value, int | float) and not isinstance(value, bool) and not (value > 0 or (value == 0 and item.name in allow_zero)):
            raise BadInput(f"sampling plan: {item.name}={value} must be {'0 or more' if item.name in allow_zero else 'above 0'}; nearest: 1")


@dataclass
class Rows:
    """All rows of an iteration, N of them and T steps, before they are scored.

    Attributes:
        prompts: the prompt of each row: its prefix without what that gives of the answer.
        group, parent, branch_at: `[N]` int64.
        action, log_prob, entropy: `[N, T]`, of the whole answer: what a prefix gives of it, and what was drawn. A row takes the figures of its prefix from its
            parent; without one they are 0.
        present: which steps hold a token of the answer, `[N, T]`.
        mask: which of them the policy chose in this row and may learn from, `[N, T]`.
        finished: the row ended by itself, `[N]`.
        drawn: which tokens were sampled in this iteration, `[N, T]`; those of probes too, given ones not.
        probe, outside: rows that are never learned from, and rows whose tokens were given, `[N]` bool.
        behaviour_log_prob: `[N, T]` or None (see `Generation`).
        given_log_prob: `[N, T]`, 0 where it is not known; None where it never is.
    """

    prompts: list[tuple[int, ...]]
    group: Tensor
    parent: Tensor
    branch_at: Tensor
    action: Tensor
    log_prob: Tensor
    entropy: Tensor
    present: Tensor
    mask: Tensor
    drawn: Tensor
    finished: Tensor
    probe: Tensor
    outside: Tensor
    behaviour_log_prob: Tensor | None
    given_log_prob: Tensor | None

    def extras(self, limit: int) -> dict[str, Tensor]:
        """What a rollout says of its rows beyond the usual, `[1, N]` or `[1, N, T]` each, of that which is there.

        "present", "drawn", "probe", "outside", "behaviour_log_prob" and "given_log_prob" as above;
        "unfinished": rows that neither ended nor reached the `limit` of tokens.
        """
        found = {"present": self.present[None], "drawn": self.drawn[None]} if bool((self.present != self.mask).any()) else {}
        unfinished = ~self.finished & (self.present.sum(1) < limit)
        for name, rows in (("probe", self.probe), ("outside", self.outside), ("unfinished", unfinished)):
            if bool(rows.any()):
                found[name] = rows[None]
        if found and "present" not in found:
            found |= {"present": self.present[None], "drawn": self.drawn[None]}
        for name in ("behaviour_log_prob", "given_log_prob"):
            if getattr(self, name) is not None:
                found[name] = getattr(self, name)[None]
        return found

    def tree(self) -> dict[str, Tensor]:
        """`parent` and `branch_at` of a rollout `[1, N]`, where any row has a parent."""
        return {"parent": self.parent[None], "branch_at": self.branch_at[None]} if bool((self.parent >= 0).any()) else {}


def run_plan(
    plan: Plan,
    problems: Problems,
    generate: Callable[[list[Request]], Generation],
    measure: Callable[[list[Request]], Generation],
    *,
    pad: int,
) -> Rows:
    """Carry out one iteration of a plan.

    Args:
        generate: draws the completions of requests.
        measure: the same record for requests whose tokens are given.
        pad: the token that fills what is not one.

    Raises:
        RunFailed: the plan yields what is no list of requests, or names a row that is not there.
    """
    parts: list[tuple[list[Request], Generation]] = []
    name = type(plan).__name__
    count, steps = 0, plan.requests(problems)
    try:
        asked = next(steps)
        while True:
            if not asked or not all(isinstance(request, Request) for request in asked):
                raise RunFailed(f"sampling plan {name} yields a list of at least one Request each time, not {asked!r:.80}")
            if any(request.parent >= count for request in asked):
                raise RunFailed(f"sampling plan {name} names a parent row that is not there yet: {count} rows are")
            found = _complete(asked, generate, measure)
            parts.append((asked, found))
            count += len(found.request)
            asked = steps.send(found)
    except StopIteration:
        pass
    if not parts:
        raise RunFailed(f"sampling plan {name} yielded no request")
    return _assemble(parts, problems, pad)


def _complete(asked: list[Request], generate, measure) -> Generation:
    """Drawn and given rows of one list, in the order of the list."""
    given = [place for place, request in enumerate(asked) if request.given is not None]
    if not given:
        return generate(asked)
    drawn = [place for place, request in enumerate(asked) if request.given is None]
    pieces = [(given, measure([asked[place] for place in given]))]
    if drawn:
        pieces.insert(0, (drawn, generate([asked[place] for place in drawn])))
    longest = max(piece.tokens.shape[1] for _, piece in pieces)

    def join(name: str) -> Tensor:
        parts = [getattr(piece, name) for _, piece in pieces]
        return torch.cat([part if part.ndim == 1 else torch.nn.functional.pad(part, (0, longest - part.shape[1])) for part in parts])

    request = torch.cat([torch.tensor(places, device=piece.request.device)[piece.request] for places, piece in pieces])
    order = request.argsort(stable=True)
    behaviour = None
    if any(piece.behaviour_log_prob is not None for _, piece in pieces):
        for _, piece in pieces:
            piece.behaviour_log_prob = piece.log_prob if piece.behaviour_log_prob is None else piece.behaviour_log_prob
        behaviour = join("behaviour_log_prob")[order]
    columns = [join(name)[order] for name in ("tokens", "log_prob", "entropy", "mask", "finished")]
    return Generation([tuple(item.prefix) for item in asked], request[order], *columns, behaviour)


def _assemble(parts: list[tuple[list[Request], Generation]], problems: Problems, pad: int) -> Rows:
    device = parts[0][1].tokens.device
    starts: list[int] = []  # of each row: completion tokens that its prefix gives
    requests: list[Request] = []  # of each row
    for asked, found in parts:
        lengths = [len(problems.prompt(request.group).tokens) for request in asked]
        for place in found.request.tolist():
            requests.append(asked[place])
            starts.append(len(asked[place].prefix) - lengths[place])
    count = len(requests)
    offsets = torch.tensor(starts, device=device)
    rows = torch.arange(count, device=device).split([len(found.request) for _, found in parts])
    steps = max(int((offsets[row] + found.mask.sum(1)).max()) for row, (_, found) in zip(rows, parts, strict=True))
    behaviour = any(found.behaviour_log_prob is not None for _, found in parts)

    def blank(value: float, dtype: torch.dtype) -> Tensor:
        return torch.full((count, steps + 1), value, dtype=dtype, device=device)  # one column more: where padding is written to

    kind = parts[0][1].log_prob.dtype
    action, present = blank(pad, torch.int64), blank(0, torch.bool)
    figures = {name: blank(0, kind) for name in ("log_prob", "entropy", *(("behaviour_log_prob",) if behaviour else ()))}
    for row, (_, found) in zip(rows, parts, strict=True):
        width = found.tokens.shape[1]
        column = offsets[row].unsqueeze(1) + torch.arange(width, device=device)
        column = column.masked_fill(~found.mask, steps)
        index = row.unsqueeze(1).expand(-1, width)
        action[index, column] = found.tokens
        present[index, column] = found.mask
        for name, into in figures.items():
            value = getattr(found, name)
            into[index, column] = (found.log_prob if value is None else value).to(kind)
    chosen = present.clone()
    for place, (start, request) in enumerate(zip(starts, requests, strict=True)):
        if start:
            action[place, :start] = torch.tensor(request.prefix[len(request.prefix) - start :], device=device)
            present[place, :start] = True
            if request.parent >= 0:
                for into in figures.values():
                    into[place, :start] = into[request.parent, :start]
    known = torch.zeros_like(figures["log_prob"]) if any(request.given_log_prob is not None for request in requests) else None
    for place, (start, request) in enumerate(zip(starts, requests, strict=True)):
        if request.given_log_prob is not None:
            known[place, start : start + len(request.given_log_prob)] = torch.tensor(request.given_log_prob, dtype=known.dtype, device=device)
    probe = torch.tensor([not request.train for request in requests], device=device)
    outside = torch.tensor([request.given is not None for request in requests], device=device)
    for table in (action, present, chosen, *figures.values()):
        table[:, steps] = 0
    return Rows(
        prompts=[request.prefix[: len(request.prefix) - start] for start, request in zip(starts, requests, strict=True)],
        group=torch.tensor([request.group for request in requests], device=device),
        parent=torch.tensor([request.parent for request in requests], device=device),
        branch_at=offsets,
        action=action[:, :steps],
        log_prob=figures["log_prob"][:, :steps],
        entropy=figures["entropy"][:, :steps],
        present=present[:, :steps],
        mask=chosen[:, :steps] & ~probe.unsqueeze(1),
        drawn=chosen[:, :steps] & ~outside.unsqueeze(1),
        finished=torch.cat([found.finished for _, found in parts]),
        probe=probe,
        outside=outside,
        behaviour_log_prob=figures["behaviour_log_prob"][:, :steps] if behaviour else None,
        given_log_prob=None if known is None else known[:, :steps],
    )
