"""Sampling plans carried out: requests become rows. Free of heavy imports, as `worlds.plans` is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from operant.core.errors import RunFailed
from operant.core.status import Status
from operant.worlds.plans import Generation, Plan, Problems, Request


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
        cut: a row that takes turns was cut: it goes on no more, `[N]`.
        waits: a row waits for a reply: nothing but a reply, or a plan, ends it, `[N]`.
        drawn: which tokens were sampled in this iteration, `[N, T]`; those of probes too, given ones not.
        probe, outside: rows that are never learned from, and rows whose tokens were given, `[N]` bool.
        behaviour_log_prob: `[N, T]` or None (see `Generation`).
        given_log_prob: `[N, T]`, 0 where it is not known; None where it never is.
        turn: of each token the number of the turn that it belongs to, `[N, T]` int64: tokens that the policy drew, and those inserted behind them. None where
            no row went on.
        reward: of turns, on their last token, `[N, T]`; None where no row went on.
        status: a `Status` a row, `[N]`: how the replies to it ended.
        verdicts: what came of scoring rows at a plan's request, by row; whoever scored them knows their form.
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
    cut: Tensor
    waits: Tensor
    probe: Tensor
    outside: Tensor
    behaviour_log_prob: Tensor | None
    given_log_prob: Tensor | None
    turn: Tensor | None
    reward: Tensor | None
    status: Tensor
    verdicts: dict[int, Any]

    def extras(self, limit: int) -> dict[str, Tensor]:
        """What a rollout says of its rows beyond the usual, `[1, N]` or `[1, N, T]` each, of that which is there.

        "present", "drawn", "probe", "outside", "behaviour_log_prob", "given_log_prob" and "turn" as above;
        "unfinished": rows that neither ended nor reached the `limit` of tokens.
        """
        found = {"present": self.present[None], "drawn": self.drawn[None]} if self.turn is not None or bool((self.present != self.mask).any()) else {}
        unfinished = ~self.finished & ~self.cut & (self.waits | (self.present.sum(1) < limit))
        for name, rows in (("probe", self.probe), ("outside", self.outside), ("unfinished", unfinished)):
            if bool(rows.any()):
                found[name] = rows[None]
        if found and "present" not in found:
            found |= {"present": self.present[None], "drawn": self.drawn[None]}
        for name in ("behaviour_log_prob", "given_log_prob", "turn"):
            if getattr(self, name) is not None:
                found[name] = getattr(self, name)[None]
        return found

    def tree(self) -> dict[str, Tensor]:
        """`parent` and `branch_at` of a rollout `[1, N]`, where any row has a parent."""
        return {"parent": self.parent[None], "branch_at": self.branch_at[None]} if bool((self.parent >= 0).any()) else {}


Judge = Callable[[list[tuple[int, tuple[int, ...]]]], list[tuple[float, Any]]]
"""Scores answers, each the number of its problem and its tokens: the score, NaN where scoring failed, and all that came of it."""


def run_plan(
    plan: Plan,
    problems: Problems,
    generate: Callable[[list[Request]], Generation],
    measure: Callable[[list[Request]], Generation],
    judge: Judge,
    *,
    pad: int,
) -> Rows:
    """Carry out one iteration of a plan.

    Args:
        generate: draws the completions of requests.
        measure: the same record for requests whose tokens are given.
        judge: scores answers that a request wants `scored`.
        pad: the token that fills what is not one.

    Raises:
        RunFailed: the plan yields what is no list of requests, or names a row that is not there or that cannot go on.
    """
    name = f"sampling plan {type(plan).__name__}"
    rows = _Growing(name)
    steps = plan.requests(problems)
    try:
        asked = next(steps)
        while True:
            if not asked or not all(isinstance(request, Request) for request in asked):
                raise RunFailed(f"{name} yields a list of at least one Request each time, not {asked!r:.80}")
            if any(request.parent >= len(rows.requests) for request in asked):
                raise RunFailed(f"{name} names a parent row that is not there yet: {len(rows.requests)} rows are")
            asked = rows.resolved(asked)
            found = _complete(asked, generate, measure)
            rows.add(asked, found, problems, judge)
            rows.replied = problems.turns > 0
            asked = steps.send(found)
    except StopIteration:
        pass
    if not rows.parts:
        raise RunFailed(f"{name} yielded no request")
    return rows.assemble(pad)


@dataclass
class _Growing:
    """The rows of an iteration as they come about.

    Attributes:
        name: of the plan, for messages.
        requests: that began each row.
        starts: of each row: completion tokens that its prefix gives.
        parts: what was drawn, list by list: rows, the step of each at which its tokens begin, and these.
        last: of each row its newest part, and its place in that.
        before: of rows that went on, all tokens in front of their newest part, prompt included.
        turns: of rows that went on, the step at which each turn from the second on begins.
        inserted: row, step and tokens.
        replied: the task replies, so that rows end by a reply alone.
        rewards: row, step and reward.
    """

    name: str
    requests: list[Request] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    parts: list[tuple[list[int], list[int], Generation]] = field(default_factory=list)
    last: list[tuple[int, int]] = field(default_factory=list)
    before: dict[int, tuple[int, ...]] = field(default_factory=dict)
    turns: dict[int, list[int]] = field(default_factory=dict)
    inserted: list[tuple[int, int, tuple[int, ...]]] = field(default_factory=list)
    rewards: list[tuple[int, int, float]] = field(default_factory=list)
    status: dict[int, Status] = field(default_factory=dict)
    over: dict[int, str] = field(default_factory=dict)
    verdicts: dict[int, Any] = field(default_factory=dict)
    replied: bool = False
    _lists: dict[int, list[tuple[int, ...]]] = field(default_factory=dict)

    def resolved(self, asked: list[Request]) -> list[Request]:
        """The requests with those that continue a row written out: the prefix is all that the row holds and what is inserted behind it."""
        seen: set[int] = set()
        return [request if request.continues < 0 else self._continued(request, seen) for request in asked]

    def _continued(self, request: Request, seen: set[int]) -> Request:
        row = request.continues
        if row >= len(self.requests) or row in self.over or row in seen or request.n != 1 or request.given is not None or request.prefix:
            why = "is not there" if row >= len(self.requests) else "is over" if row in self.over else "goes on once at a time, by one completion without prefix"
            raise RunFailed(f"{self.name} continues row {row}, which {why}: {len(self.requests)} rows are")
        seen.add(row)
        first = self.requests[row]
        so_far = self._tokens(row)
        return replace(request, prefix=so_far + (() if request.over else request.inserted), group=first.group, parent=first.parent, train=first.train)

    def _tokens(self, row: int) -> tuple[int, ...]:
        """All tokens of a row so far, prompt included."""
        part, place = self.last[row]
        if part not in self._lists:
            self._lists[part] = self.parts[part][2].completions()
        return self.before.get(row, self.requests[row].prefix) + self._lists[part][place]

    def add(self, asked: list[Request], found: Generation, problems: Problems, judge: Judge) -> None:
        """Take in what came of resolved requests."""
        prompts = [0 if request.over else len(problems.prompt(request.group).tokens) for request in asked]
        rows, starts = [], []
        for place in found.request.tolist():
            request, start = asked[place], len(asked[place].prefix) - prompts[place]
            if request.continues < 0:
                rows.append(len(self.requests))
                self.requests.append(request)
                self.starts.append(start)
                self.last.append((len(self.parts), len(rows) - 1))
            else:
                rows.append(request.continues)
            starts.append(start)
        for request in asked:
            if (row := request.continues) >= 0:
                step = len(request.prefix) - len(problems.prompt(request.group).tokens) - (0 if request.over else len(request.inserted))
                self.turns.setdefault(row, []).append(step)
                if request.reward:
                    self.rewards.append((row, step - 1, request.reward))
                if request.status != Status.OK:
                    self.status[row] = request.status
                if request.over:
                    self.over[row] = request.over
                    continue
                if request.inserted:
                    self.inserted.append((row, step, request.inserted))
                self.before[row] = request.prefix
                self.verdicts.pop(row, None)
        for place, (row, index) in enumerate(zip(rows, found.request.tolist(), strict=True)):
            if asked[index].continues >= 0:
                self.last[row] = (len(self.parts), place)
        if rows:
            self.parts.append((rows, starts, found))
        if any(request.scored for request in asked):
            self._score(asked, found, rows, starts, judge)

    def _score(self, asked: list[Request], found: Generation, rows: list[int], starts: list[int], judge: Judge) -> None:
        wanted = [place for place, index in enumerate(found.request.tolist()) if asked[index].scored]
        answers = found.completions()
        prefixes = [asked[index].prefix for index in found.request.tolist()]
        items = [(self.requests[rows[place]].group, prefixes[place][len(prefixes[place]) - starts[place] :] + answers[place]) for place in wanted]
        found.score = torch.full((len(rows),), torch.nan)
        for place, (score, verdict) in zip(wanted, judge(items), strict=True):
            found.score[place] = score
            self.verdicts[rows[place]] = verdict

    def assemble(self, pad: int) -> Rows:
        """All rows, side by side."""
        parts = self.parts
        device, count, requests = parts[0][2].tokens.device, len(self.requests), self.requests
        placed = [(torch.tensor(row, device=device), torch.tensor(start, device=device), found) for row, start, found in parts]
        steps = max(int((start + found.mask.sum(1)).max()) for _, start, found in placed)
        behaviour = any(found.behaviour_log_prob is not None for _, _, found in placed)

        def blank(value: float, dtype: torch.dtype) -> Tensor:
            return torch.full((count, steps + 1), value, dtype=dtype, device=device)  # one column more: where padding is written to

        kind = parts[0][2].log_prob.dtype
        action, present = blank(pad, torch.int64), blank(0, torch.bool)
        figures = {name: blank(0, kind) for name in ("log_prob", "entropy", *(("behaviour_log_prob",) if behaviour else ()))}
        finished = torch.zeros(count, dtype=torch.bool, device=device)
        for row, start, found in placed:
            width = found.tokens.shape[1]
            column = start.unsqueeze(1) + torch.arange(width, device=device)
            column = column.masked_fill(~found.mask, steps)
            index = row.unsqueeze(1).expand(-1, width)
            action[index, column] = found.tokens
            present[index, column] = found.mask
            for name, into in figures.items():
                value = getattr(found, name)
                into[index, column] = (found.log_prob if value is None else value).to(kind)
            finished[row] = found.finished & (not self.replied)
        chosen = present.clone()
        for place, (start, request) in enumerate(zip(self.starts, requests, strict=True)):
            if start:
                action[place, :start] = torch.tensor(request.prefix[len(request.prefix) - start :], device=device)
                present[place, :start] = True
                if request.parent >= 0:
                    for into in figures.values():
                        into[place, :start] = into[request.parent, :start]
        for row, step, tokens in self.inserted:
            action[row, step : step + len(tokens)] = torch.tensor(tokens, device=device)
            present[row, step : step + len(tokens)] = True
        known = torch.zeros_like(figures["log_prob"]) if any(request.given_log_prob is not None for request in requests) else None
        for place, (start, request) in enumerate(zip(self.starts, requests, strict=True)):
            if request.given_log_prob is not None:
                known[place, start : start + len(request.given_log_prob)] = torch.tensor(request.given_log_prob, dtype=known.dtype, device=device)
        probe = torch.tensor([not request.train for request in requests], device=device)
        outside = torch.tensor([request.given is not None for request in requests], device=device)
        for table in (action, present, chosen, *figures.values()):
            table[:, steps] = 0
        turn, reward = self._turns(present[:, :steps], kind)
        status, cut = torch.full((count,), int(Status.OK), device=device), torch.zeros_like(finished)
        for row, how in self.status.items():
            status[row] = int(how)
        for row, how in self.over.items():
            finished[row], cut[row] = how == "ended", how == "cut"
        return Rows(
            prompts=[request.prefix[: len(request.prefix) - start] for start, request in zip(self.starts, requests, strict=True)],
            group=torch.tensor([request.group for request in requests], device=device),
            parent=torch.tensor([request.parent for request in requests], device=device),
            branch_at=torch.tensor(self.starts, device=device),
            action=action[:, :steps],
            log_prob=figures["log_prob"][:, :steps],
            entropy=figures["entropy"][:, :steps],
            present=present[:, :steps],
            mask=chosen[:, :steps] & ~probe.unsqueeze(1),
            drawn=chosen[:, :steps] & ~outside.unsqueeze(1),
            finished=finished,
            cut=cut,
            waits=~finished & ~cut if self.replied else torch.zeros_like(cut),
            probe=probe,
            outside=outside,
            behaviour_log_prob=figures["behaviour_log_prob"][:, :steps] if behaviour else None,
            given_log_prob=None if known is None else known[:, :steps],
            turn=turn,
            reward=reward,
            status=status,
            verdicts=self.verdicts,
        )

    def _turns(self, present: Tensor, kind: torch.dtype) -> tuple[Tensor | None, Tensor | None]:
        """The turn of each token and the rewards of turns, `[N, T]`."""
        if not self.turns:
            return None, None
        turn, reward = torch.zeros_like(present, dtype=torch.int64), torch.zeros_like(present, dtype=kind)
        lengths_of: dict[int, dict[int, int]] = {}
        for row, step, tokens in self.inserted:
            lengths_of.setdefault(row, {})[step] = len(tokens)
        for row, steps in self.turns.items():
            # A turn begins behind what was inserted.
            lengths = lengths_of.get(row, {})
            for step in steps:
                turn[row, step + lengths.get(step, 0) :] += 1
        for row, step, value in self.rewards:
            reward[row, step] += value
        return turn * present, reward


def _complete(asked: list[Request], generate, measure) -> Generation:
    """Drawn and given rows of one list, in the order of the list."""
    given = [place for place, request in enumerate(asked) if request.given is not None]
    drawn = [place for place, request in enumerate(asked) if request.given is None and not request.over]
    if len(drawn) == len(asked):
        return generate(asked)
    pieces = [(places, do([asked[place] for place in places])) for places, do in ((drawn, generate), (given, measure)) if places]
    if not pieces:
        return _nothing(asked)
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


def _nothing(asked: list[Request]) -> Generation:
    """What comes of requests whose rows are all over."""
    row, step = torch.zeros(0, dtype=torch.int64), torch.zeros(0, 0)
    return Generation([request.prefix for request in asked], row, step.long(), step, step, step.bool(), row.bool())
