"""The answers that come with problems are scored before a run: a verifier that rejects them would reject every right completion too."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from operant.core.errors import BadInput
from operant.core.status import Status
from operant.worlds.text.builtin_verifiers import ANSWER_IS_A_RULE
from operant.worlds.text.tasks.base import Problem, Reference
from operant.worlds.text.verifiers import Scorer, Verdict, scorer

MOST_ROWS = 1_000  # of more, so many are scored, drawn without replacement and the same in every run
MOST_SECONDS = 30.0  # after which no more rows are begun
MOST_REJECTED = 0.1  # a larger share refuses the run
BATCH = 16  # rows between two looks at the clock
SHOWN = 4  # rows that a message names


def check_references(references: Sequence[Reference], verifier: Any, *, task: str, name: str, imitated: bool = False) -> list[str]:
    """Score the own answer of each row: its solution, else its answer, by a scorer made for this and closed again.

    A row is rejected where none of its completions gets a reward above 0 (or, for rewards that are never above 0, above that of an empty completion), or where
    scoring fails. Where a row's answer is a rule and no completion (`regex`, `json-schema`, `python-tests`) and it has no solution, it is only rejected where
    scoring fails.

    Args:
        references: of the rows; of more than `MOST_ROWS` a sample is scored.
        task, name: of the task and the verifier, for messages.
        imitated: a policy is trained on the solutions first, which must then be right too.

    Returns:
        What a person should know, a line each: rows that are rejected, solutions that are rejected where the answer alone is not, and how many were looked at.

    Raises:
        BadInput: more than `MOST_REJECTED` of the rows are rejected (of solutions that are imitated, alone), with the first of them; or the verifier cannot be
            loaded.
    """
    rule = any(verifier is each for each in ANSWER_IS_A_RULE)
    sample = np.random.default_rng(0).permutation(len(references))[:MOST_ROWS]
    rejected: dict[str, str] = {}
    unsolved: dict[str, str] = {}
    scored, begun = 0, time.monotonic()
    judge = scorer(verifier)
    try:
        for start in range(0, len(sample), BATCH):
            if scored and time.monotonic() - begun > MOST_SECONDS:
                break
            batch = [references[place] for place in sample[start : start + BATCH]]
            scored += len(batch)
            for reference, verdicts in zip(batch, _verdicts(judge, batch, solutions_only=rule), strict=True):
                if rule and not reference.solved:
                    accepted = [verdict.status == Status.OK for verdict in verdicts]
                else:
                    accepted = [_accepted(judge, reference, verdict) for verdict in verdicts]
                if not any(accepted):
                    rejected[reference.place] = _reason(verdicts[0])
                elif not accepted[0]:
                    unsolved[reference.place] = reference.completions[0]
    finally:
        judge.close()
    looked = f"{scored:,} rows" if scored == len(references) else f"{scored:,} rows that were looked at (of {len(references):,})"
    notes = [f"the own answers of {scored:,} of {len(references):,} rows were scored before the run"] if scored < len(references) else []
    if rejected:
        places = sorted(rejected, key=lambda place: (len(place), place))
        shown = "; ".join(f"{place}: {rejected[place]}" for place in places[:SHOWN]) + f"; and {len(places) - SHOWN:,} more" * (len(places) > SHOWN)
        line = f"the verifier {name} rejects the own answer of {len(places):,} of {looked}: {shown}"
        if len(places) > MOST_REJECTED * scored:
            raise BadInput(f"{task}: {line}. No answer to such a row can be right: mend the rows, or take another --verifier")
        notes.append(line)
    if unsolved:
        places = sorted(unsolved, key=lambda place: (len(place), place))
        line = f"the verifier {name} rejects the solution of {len(unsolved):,} of {looked} and takes the answer alone: "
        if imitated and len(unsolved) > MOST_REJECTED * scored:
            raise BadInput(
                f"{task}: {line}{places[0]}: {unsolved[places[0]][:60]!r}. The base policy would learn to write what is never right: "
                "mend the solutions, take a --verifier that reads them, or give a --model"
            )
        notes.append(line + ", ".join(places[:SHOWN]) + ", …" * (len(places) > SHOWN))
    if rule and (unknown := sum(not reference.solved for reference in references)):
        notes.append(f'{unknown:,} rows have no "solution", so it was only looked at whether the verifier {name} can score them')
    return notes


def check_verifier(problems: Sequence[Problem], solutions: Sequence[str], verifier: Any, *, task: str, name: str) -> None:
    """Raise `BadInput` where a verifier cannot be loaded, or can score none of some right answers: it would score none of a run."""
    judge = scorer(verifier)
    try:
        verdicts = judge.score(list(zip(problems, solutions, strict=True)))
    finally:
        judge.close()
    if verdicts and all(verdict.status != Status.OK for verdict in verdicts):
        raise BadInput(f"{task}: the verifier {name} can score no answer of the task: {_reason(verdicts[0])}; take another --verifier")


def _verdicts(judge: Scorer, batch: Sequence[Reference], *, solutions_only: bool) -> list[list[Verdict]]:
    """What each completion of each row gets; of one whose answer is a rule, the first alone."""
    tried = [reference.completions[:1] if solutions_only else reference.completions for reference in batch]
    found = iter(judge.score([(reference.problem, text) for reference, texts in zip(batch, tried, strict=True) for text in texts]))
    return [[next(found) for _ in texts] for texts in tried]


def _accepted(judge: Scorer, reference: Reference, verdict: Verdict) -> bool:
    if verdict.status != Status.OK or verdict.value > 0:
        return verdict.status == Status.OK
    empty = judge.score([(reference.problem, "")])[0]
    return empty.status == Status.OK and verdict.value > empty.value


def _reason(verdict: Verdict) -> str:
    if verdict.status == Status.OK:
        return f"reward {verdict.value:g}"
    return f"{verdict.status.name.lower()}, {' '.join(verdict.message.split())[:160]}"
