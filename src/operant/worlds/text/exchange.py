"""Replies of tasks that take turns (`tasks.turns.TurnTask`), called within limits and turned into tokens."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, is_dataclass
from functools import cached_property
from typing import Any

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from operant.core.errors import BadInput
from operant.core.status import Status
from operant.worlds.plans import Heard, Utterance
from operant.worlds.text.tasks.base import Problem
from operant.worlds.text.tasks.turns import Reply, TurnTask
from operant.worlds.text.verifiers import Scorer, Verdict, VerifierPool, failed, for_all

REPLY = "the reply: "  # begins what is said of a reply that failed, and of no verifier
MOST_STATE = 16_384  # characters of a row's state, as JSON


def last_turn(turn: Tensor, drawn: Tensor) -> Tensor:
    """The tokens that the policy wrote in the last turn of each row, `[N, T]` bool, from `Rows.turn` and `Rows.drawn`."""
    return drawn & (turn == turn.masked_fill(~drawn, -1).amax(1, keepdim=True))


class _Here:
    """Replies by calling the task in this process."""

    def __init__(self, called: Callable[..., Verdict]):
        self._called = called

    def score(self, items: Sequence[tuple]) -> list[Verdict]:
        return [self._called(*item) for item in items]

    def close(self) -> None:
        pass


class Exchange:
    """A task's replies at work: called within their limits, and turned into tokens.

    Args:
        task: what replies.
        tokenizer: of the policy's model.
        chat: replies go through the tokenizer's chat template, as a user's messages.
        workers: replies at a time, where they run in child processes.

    Attributes:
        messages: the first message of each fault, by its status.
    """

    def __init__(self, task: TurnTask, tokenizer: PreTrainedTokenizerBase, *, chat: bool, workers: int = 1):
        self.task, self.tokenizer, self.chat = task, tokenizer, chat
        self.messages: dict[str, str] = {}
        self._workers = workers
        self._pool: Scorer | None = None
        self.stop = self._stop()

    def _stop(self) -> tuple[int, ...]:
        """The tokens that end a turn besides the end tokens: all whose text holds `turn_end`."""
        end = self.task.turn_end
        if not end:
            return ()
        vocabulary = range(len(self.tokenizer))
        found = tuple(token for token, text in zip(vocabulary, self.tokenizer.batch_decode([[token] for token in vocabulary]), strict=True) if end in text)
        if not found:
            raise BadInput(f"the tokenizer writes no {end!r}, which ends a turn of this task; take another model")
        return found

    def reply(self, said: Sequence[Utterance], problem: Callable[[int], Problem]) -> list[Heard]:
        """The replies to turns, of problems by their number."""
        texts = self._without_end(self.tokenizer.batch_decode([turn.tokens for turn in said], skip_special_tokens=True))
        items = [(problem(turn.group), text, turn.state) for turn, text in zip(said, texts, strict=True)]
        return [self._heard(verdict, turn.tokens[-1]) for verdict, turn in zip(self.pool.score(items), said, strict=True)]

    def texts(self, tokens: Tensor, spoken: Tensor) -> list[str]:
        """The text of one turn of each row `tokens [N, T]`, which stands at `spoken [N, T]`."""
        rows = [row[said].tolist() for row, said in zip(tokens, spoken, strict=True)]
        return self._without_end(self.tokenizer.batch_decode(rows, skip_special_tokens=True))

    def _without_end(self, texts: list[str]) -> list[str]:
        end = self.task.turn_end
        return [text.partition(end)[0] if end else text for text in texts]

    @property
    def pool(self) -> Scorer:
        """What replies, made at the first reply: the task itself where it is trusted, else child processes."""
        if self._pool is None:
            made_of = asdict(self.task) if is_dataclass(self.task) else {}
            self._pool = for_all(lambda: _Here(self._called) if self.task.trusted else VerifierPool(type(self.task), workers=self._workers, made_of=made_of))
        return self._pool

    def _called(self, problem: Problem, text: str, state: Any) -> Verdict:
        try:
            reply = self.task.reply(problem, text, state)
            if not isinstance(reply, Reply):
                raise TypeError(f"{reply!r:.80} is no Reply")
            return self._looked_at(Verdict(0.0, Status.OK, "", reply=[reply.text, reply.reward, reply.done, reply.state]))
        except (Exception, SystemExit) as error:
            return failed(Status.CRASHED, f"{type(error).__name__}: {error}")

    def _heard(self, verdict: Verdict, token: int) -> Heard:
        """What came of a reply, looked at."""
        if verdict.status == Status.OK:
            verdict = self._looked_at(verdict)
        if verdict.status != Status.OK:
            self.messages.setdefault(verdict.status.name.lower(), f"{REPLY}{verdict.message}")
            return Heard(status=verdict.status)
        text, reward, done, state = verdict.reply
        try:
            return Heard(() if done else self.inserted(text, token), float(reward), done, state)
        except Exception as error:  # tokenizers raise what they like
            self.messages.setdefault("malformed", f"{REPLY}the tokenizer cannot write {text[:40]!r}: {error}".partition("\n")[0])
            return Heard(status=Status.MALFORMED)

    def _looked_at(self, verdict: Verdict) -> Verdict:
        text, reward, done, state = verdict.reply
        if not isinstance(text, str) or not isinstance(done, bool) or isinstance(reward, bool) or not isinstance(reward, int | float):
            return failed(Status.MALFORMED, f"text {type(text).__name__}, reward {type(reward).__name__}, done {type(done).__name__}")
        if not math.isfinite(reward):
            return failed(Status.MALFORMED, f"its reward is {reward}")
        if len(text) > self.task.longest_reply:
            return failed(Status.MALFORMED, f"{len(text):,} characters, where the task allows {self.task.longest_reply:,}")
        try:
            kept = json.dumps(state)
        except (TypeError, ValueError, RecursionError) as error:
            return failed(Status.MALFORMED, f"its state is no plain data: {error}")
        if len(kept) > MOST_STATE:
            return failed(Status.MALFORMED, f"its state has {len(kept):,} characters, more than {MOST_STATE:,}")
        return verdict

    def inserted(self, text: str, last: int) -> tuple[int, ...]:
        """The tokens behind a turn that ended with `last`: the reply as it stands, or as a user's message, up to where the next turn begins."""
        if not self.chat:
            return self._tokens(text)
        before, behind = self._frame
        before = self.tokenizer.encode(before, add_special_tokens=False)
        if before and before[0] == last:  # the policy ended its turn itself
            before = before[1:]
        return (*before, *self._tokens(text), *self.tokenizer.encode(behind, add_special_tokens=False))

    def _tokens(self, text: str) -> tuple[int, ...]:
        """A reply cannot write special tokens, such as the end of a turn: they come out as text."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    @cached_property
    def _frame(self) -> tuple[str, str]:
        """What a chat template writes between the policy's message and a user's reply, and between that and the policy's next message."""
        marks = ("[[said]]", "[[heard]]")
        messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": marks[0]}, {"role": "user", "content": marks[1]}]
        whole = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        if not all(mark in whole for mark in marks):
            raise BadInput("the tokenizer's chat template leaves messages out, so replies cannot go through it; give --chat false")
        before, _, behind = whole.partition(marks[0])[2].partition(marks[1])
        return before, behind

    def worked(self, problem: Problem, said: Sequence[str], end: int) -> tuple[list[int], list[bool]]:
        """The tokens behind the prompt of a row in which the policy said this, and which of them are its own. These words are the task's: replies come in the
        process."""
        tokens: list[int] = []
        own: list[bool] = []
        state = None
        for text in said:
            turn = [*self.tokenizer.encode(text + self.task.turn_end, add_special_tokens=False), *([] if self.task.turn_end else [end])]
            tokens += turn
            own += [True] * len(turn)
            reply = self.task.reply(problem, text, state)
            if reply.done:
                break
            state, heard = reply.state, self.inserted(reply.text, turn[-1])
            tokens += heard
            own += [False] * len(heard)
        while own and not own[-1]:
            tokens.pop()
            own.pop()
        return tokens, own

    @property
    def restarts(self) -> int:
        """Processes that reply which were started in the place of others."""
        return getattr(self._pool, "restarts", 0)

    def close(self) -> None:
        """End the processes that reply."""
        if self._pool is not None:
            self._pool.close()
