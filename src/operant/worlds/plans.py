"""Sampling plans of token policies: which prefixes are completed, how often, and in what order. Free of heavy imports, so that methods can name them.

A plan yields lists of `Request` and is sent the `Generation` of each list. Rows are numbered over an iteration in the order of the requests that begin one, so
that a later request can name a row: as its `parent`, whose beginning it shares (a group is then a tree), or as the row that it `continues`, behind what
somebody else inserted there (a tool, an environment, a user). `worlds.rows` carries plans out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from operant.core.errors import BadInput
from operant.core.records import Rollout
from operant.core.status import Status
from operant.worlds.base import SamplingPlan


@dataclass(frozen=True)
class Request:
    """`n` completions of one prefix, or the continuation of a row.

    Attributes:
        prefix: token ids, at least one: the prompt, and what of an answer is given before the policy goes on. Of a row that goes on it is filled in.
        n: completions, at least 1.
        stop: token ids that end a completion, besides the end token.
        max_new_tokens: limit of these completions; None for the task's (`problems.limit`).
        group: number of the problem that the prefix belongs to.
        parent: row that the prefix was taken from, -1 for none.
        train: False for rows that are scored and never learned from (probes).
        given: tokens of an answer that is not drawn; the recorded log-probabilities are what the policy gives them. n is then 1.
        given_log_prob: what whoever wrote a given answer gave its tokens, where that is known.
        scored: the completions are scored at once, and their scores come back with the generation.
        continues: row that goes on, -1 for none; n is then 1, and group, parent and train are the row's.
        inserted: tokens that follow what such a row has so far, before the policy goes on: in the row's inputs, and never in its mask.
        reward: of what such a row has so far, put on the last token of it.
        status: how whoever gave that reward ended; a row with another one than OK leaves mask and groups.
        over: such a row does not go on: it has "ended" by itself, or was "cut". Nothing is inserted or drawn.
    """

    prefix: tuple[int, ...] = ()
    n: int = 1
    stop: tuple[int, ...] = ()
    max_new_tokens: int | None = None
    group: int = 0
    parent: int = -1
    train: bool = True
    given: tuple[int, ...] | None = None
    given_log_prob: tuple[float, ...] | None = None
    scored: bool = False
    continues: int = -1
    inserted: tuple[int, ...] = ()
    reward: float = 0.0
    status: Status = Status.OK
    over: Literal["", "ended", "cut"] = ""


@dataclass
class Generation:
    """R completions of at most T tokens, the rows of a request side by side in the order of the requests (those of rows that are over have none).

    Attributes:
        prompts: prefix of each request.
        request: index of the row's request, `[R]` int64.
        tokens: `[R, T]` int64, padded behind the end; T is the longest completion.
        log_prob, entropy: of the policy's distribution at the plan's temperature, nats, `[R, T]` float32; 0 where padded.
        mask: True up to and with the token that ended the row, `[R, T]`.
        finished: False where the row was cut at a limit, `[R]`.
        behaviour_log_prob: of the distribution that tokens were really drawn from, where that is another one (an adaptive temperature, truncation, `Logits`);
            else None.
        score: of the whole answer so far, `[R]`, NaN where it was not asked for or scoring failed; None where it was asked for nowhere.
    """

    prompts: list[tuple[int, ...]]
    request: Tensor
    tokens: Tensor
    log_prob: Tensor
    entropy: Tensor
    mask: Tensor
    finished: Tensor
    behaviour_log_prob: Tensor | None = None
    score: Tensor | None = None

    def first(self, count: int) -> Generation:
        """The first `count` completions."""
        score = None if self.score is None else self.score[:count]
        behaviour = None if self.behaviour_log_prob is None else self.behaviour_log_prob[:count]
        columns = [x[:count] for x in (self.request, self.tokens, self.log_prob, self.entropy, self.mask, self.finished)]
        return Generation(self.prompts, *columns, behaviour, score)

    def completions(self) -> list[tuple[int, ...]]:
        """The tokens of each completion, without padding."""
        return [tuple(tokens[:length]) for tokens, length in zip(self.tokens.tolist(), self.mask.sum(1).tolist(), strict=True)]


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


@dataclass(frozen=True)
class Utterance:
    """One turn of a row, which waits for a reply.

    Attributes:
        group: number of the problem.
        tokens: of the turn, with the one that ended it.
        state: what the task keeps of this row, plain data; None at its first turn.
    """

    group: int
    tokens: tuple[int, ...]
    state: Any = None


@dataclass(frozen=True)
class Heard:
    """What a task replied to an utterance: tokens to insert, the reward of the turn, whether the row is over, and how the reply ended."""

    tokens: tuple[int, ...] = ()
    reward: float = 0.0
    done: bool = False
    state: Any = None
    status: Status = Status.OK


class Problems(Protocol):
    """What a plan draws from.

    Attributes:
        rng: the run's own random stream for plans; its state is saved.
        policy: what acts.
        progress: share of training that is done, 0 to 1.
        limit: most new tokens of an answer.
        end: the tokens that end an answer by themselves.
        turns: most turns of a row, 0 where the task does not reply.
        turn_limit, turn_stop: most new tokens of a turn, and the tokens that end one besides the end tokens.
    """

    rng: np.random.Generator
    policy: Any
    progress: float
    limit: int
    end: tuple[int, ...]
    turns: int
    turn_limit: int
    turn_stop: tuple[int, ...]

    def draw(self, count: int) -> list[Prompt]:
        """The next problems."""

    def prompt(self, index: int) -> Prompt:
        """The problem of number `index`, again."""

    def reply(self, said: Sequence[Utterance]) -> list[Heard]:
        """What the task replies."""


Requests = Generator[list[Request], Generation, None]


class Plan(SamplingPlan):
    """Which completions an iteration samples.

    Attributes:
        prompts: groups an iteration.
        temperature: of sampling and of the policy that is trained; a function adapts what is drawn, and the policy's stays 1.
        logits: what tokens are drawn from in the place of the policy's own logits; None for these.
    """

    prompts: int
    temperature: Any
    logits: ClassVar[Logits | None] = None

    def requests(self, problems: Problems) -> Requests:
        """Yields lists of requests, and is sent what came of each."""
        raise NotImplementedError

    def observe(self, rollout: Rollout) -> None:
        """Look at the scored rollout of one seed, for what is asked next."""

    def state_dict(self) -> dict[str, Any]:
        """What is kept between iterations."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""


class Logits(Protocol):
    """Logits to draw from that are made of those of the policy and of others: guidance, a mixture of policies. What tokens were drawn with stands in
    `behaviour_log_prob`, for terms that weigh by it.

    Attributes:
        others: further policies of the same kind, which are run along.
    """

    others: Sequence[Any]

    def __call__(self, own: Tensor, *others: Tensor) -> Tensor:
        """From the policy's logits `[R, V]` and those of the others, each divided by the temperature, to the logits `[R, V]` that are drawn from."""


@dataclass(frozen=True)
class Groups(Plan):
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
class Turns(Groups):
    """`n` rows a problem that take turns with the task: the policy writes up to the end of its turn, the task replies, until a reply ends the row.

    Attributes:
        turns: most turns of a row, 0 for the task's own number. A row whose turns are used up is cut.
        tokens: most tokens of a turn, 0 for the task's own number.
    """

    turns: int = 0
    tokens: int = 0

    def __post_init__(self) -> None:
        check_positive(self, allow_zero=("turns", "tokens"))

    def requests(self, problems: Problems) -> Requests:
        most, limit = self.turns or problems.turns, min(self.tokens or problems.turn_limit, problems.limit)
        asked = [Request(prompt.tokens, self.n, problems.turn_stop, limit, prompt.index) for prompt in problems.draw(self.prompts)]
        going = [(row, request.group, None, 0) for row, request in enumerate(request for request in asked for _ in range(self.n))]
        found = yield asked
        for turn in range(1, most + 1):
            said = found.completions()
            heard = problems.reply([Utterance(group, tokens, state) for (_, group, state, _), tokens in zip(going, said, strict=True)])
            asked, waiting, going = [], going, []
            for (row, group, _, length), tokens, reply in zip(waiting, said, heard, strict=True):
                length += len(tokens) + len(reply.tokens)
                if reply.done or reply.status != Status.OK or turn == most or length >= problems.limit:
                    asked.append(Request(continues=row, reward=reply.reward, status=reply.status, over="ended" if reply.done else "cut"))
                    continue
                room = min(limit, problems.limit - length)
                asked.append(Request((), 1, problems.turn_stop, room, continues=row, inserted=reply.tokens, reward=reply.reward))
                going.append((row, group, reply.state, length))
            found = yield asked
            if not going:
                return


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
