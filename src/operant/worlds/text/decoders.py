"""Decoders: ways to answer at evaluation. One draws completions of a problem, by a sampling plan, and chooses those that count."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from operant.core.errors import BadInput
from operant.core.index import Register
from operant.worlds.plans import Groups, Plan


@dataclass(frozen=True)
class Candidate:
    """A completion of a problem: its text, its answer in the task's canonical form (empty for none), and what the verifier gives it (NaN where that failed)."""

    text: str
    answer: str
    value: float


@dataclass(frozen=True)
class Decoder:
    """A way to answer.

    Attributes:
        choose: which of a problem's completions count, by place: the score is the share of right ones among them, 0 where there are none.
        greedy: tokens are the likeliest instead of drawn, so that one completion is all there is.
        plan: which completions are drawn, from the number of problems and of completions each. A plan may carry `logits`.
    """

    choose: Callable[[Sequence[Candidate]], list[int]]
    greedy: bool = False
    plan: Callable[[int, int], Plan] = Groups


_decoders: Register[Decoder] = Register("worlds/text", "decoder", "`operant evaluate --help` lists what there is")


def decoder(key: str, *, greedy: bool = False, plan: Callable[[int, int], Plan] = Groups):
    """Register a choice of completions as a decoder."""

    def register(choose: Callable[[Sequence[Candidate]], list[int]]) -> Callable[[Sequence[Candidate]], list[int]]:
        if not callable(plan):
            raise BadInput(f"decoder {key}: plan = {plan!r} makes no sampling plan: it is a function of prompts and completions, such as Groups")
        _decoders.add(key, Decoder(choose, greedy, plan), choose.__module__)
        return choose

    return register


def decoders() -> dict[str, Decoder]:
    """All decoders by key."""
    return _decoders.all()


def get_decoder(key: str) -> Decoder:
    """The decoder of a key (see `Register.get`)."""
    return _decoders.get(key)


@decoder("sample")
def all_of_them(candidates: Sequence[Candidate]) -> list[int]:
    """Every completion counts."""
    return list(range(len(candidates)))


@decoder("greedy", greedy=True)
def the_likeliest(candidates: Sequence[Candidate]) -> list[int]:
    """The one completion of likeliest tokens."""
    return [0]


@decoder("majority")
def chosen_most_often(candidates: Sequence[Candidate]) -> list[int]:
    """The answer that was given most often; of equally frequent ones the first (self-consistency, arXiv:2203.11171)."""
    votes = Counter(candidate.answer for candidate in candidates if candidate.answer)
    if not votes:
        return []
    most = votes.most_common(1)[0][0]
    return [next(place for place, candidate in enumerate(candidates) if candidate.answer == most)]


@decoder("best-of-n")
def scored_highest(candidates: Sequence[Candidate]) -> list[int]:
    """The completion that the verifier gives most; of equal ones the first."""
    values = [-math.inf if math.isnan(candidate.value) else candidate.value for candidate in candidates]
    return [values.index(max(values))]


SAMPLE = Decoder(all_of_them)
