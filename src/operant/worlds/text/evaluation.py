"""Evaluation on held-out problems: completions of a policy, or rows that take turns, scored and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from operant.core.errors import BadInput, RunFailed
from operant.core.seeds import derive_seed
from operant.core.status import Status
from operant.nets.language import TokenPolicy
from operant.worlds.plans import Generation, Groups, Heard, Plan, Prompt, Request, Turns, Utterance
from operant.worlds.rows import Rows, run_plan
from operant.worlds.text.decoders import SAMPLE, Candidate, Decoder, chosen_most_often
from operant.worlds.text.engine import generate
from operant.worlds.text.exchange import Exchange, last_turn
from operant.worlds.text.models import end_tokens
from operant.worlds.text.source import EVALUATION_ROWS, completion_texts, tokenize_prompts
from operant.worlds.text.tasks import Problem
from operant.worlds.text.verifiers import Scorer, Verdict, Verifier, failed, scorer


@dataclass(frozen=True)
class Answers:
    """What the completions of P problems came to.

    Attributes:
        correct: how many were right, `[P]` int64.
        distinct: how many different answers they gave, `[P]` int64; completions without an answer give none.
        majority: whether the answer that was given most often (of equal ones the first) is right, `[P]` bool; False where no completion has an answer.
        decoded: the share of right ones among those that the decoder chose, `[P]`; 0 where it chose none.
        entropy: of the next token, mean over the tokens drawn for a problem, nats, `[P]` float64.
        unscored: how many could not be scored, which count as not right, `[P]` int64.
        fault: what went wrong with the first of them, in words; empty where none did.
        turns: mean number of turns of a row, `[P]` float64; None where the task takes none.
    """

    correct: np.ndarray
    distinct: np.ndarray
    majority: np.ndarray
    decoded: np.ndarray
    entropy: np.ndarray
    unscored: np.ndarray
    fault: str
    turns: np.ndarray | None


def evaluate_policy(
    policy: TokenPolicy,
    problems: Sequence[Problem],
    tokenizer: PreTrainedTokenizerBase,
    *,
    samples: int,
    max_new_tokens: int,
    seed: int,
    verifier: Verifier | Scorer | str,
    verifier_workers: int = 1,
    answer: Callable[[str], str] = str.strip,
    chat: bool = False,
    exchange: Exchange | None = None,
    decoder: Decoder = SAMPLE,
) -> Answers:
    """What `samples` completions of each problem, drawn at temperature 1, come to: how many are right, how many answers differ, and the entropy.

    Right is a reward above 0.5, of rows that take turns that of all turns together; a completion whose scoring failed is not right.

    Args:
        seed: of the draws; the same seed and policy give the same counts.
        verifier: what scores; a scorer given here is left open.
        verifier_workers: answers that are scored at a time, where the verifier runs in child processes.
        answer: the canonical answer of a completion, empty where it has none.
        chat: prompts go through the tokenizer's chat template.
        exchange: the replies of a task that takes turns; left open.
        decoder: how a problem's completions become its answer.
    """
    if samples < 1 or not problems:
        raise BadInput(f"evaluation: {len(problems)} problems and samples={samples}; both are at least 1")
    judge = scorer(verifier, workers=verifier_workers)
    asked = _HeldOut(policy, problems, tokenizer, seed, max_new_tokens, chat, exchange, decoder)
    at_once = max(1, EVALUATION_ROWS // samples)
    parts: list[Answers] = []
    try:
        for start in range(0, len(problems), at_once):
            plan = decoder.plan(min(at_once, len(problems) - start), samples)
            parts.append(_looked_at(asked, asked.rows(plan), samples, judge, answer, decoder))
    finally:
        if judge is not verifier:
            judge.close()
    joined = [np.concatenate([getattr(part, name) for part in parts]) for name in ("correct", "distinct", "majority", "decoded", "entropy", "unscored")]
    turns = None if exchange is None else np.concatenate([part.turns for part in parts])
    return Answers(*joined, next((part.fault for part in parts if part.fault), ""), turns)


def _looked_at(asked: _HeldOut, rows: Rows, samples: int, judge: Scorer, answer: Callable[[str], str], decoder: Decoder) -> Answers:
    """What the rows of some problems, side by side, come to."""
    exchange, groups = asked.exchange, rows.group.tolist()
    if exchange is None:
        texts = completion_texts(asked.tokenizer, rows.action, rows.present, asked.end)
        verdicts: list[Verdict] = judge.score([(asked.problems[group], text) for group, text in zip(groups, texts, strict=True)])
    else:
        texts = exchange.texts(rows.action, last_turn(rows.turn, rows.drawn))
        verdicts = judge.score([(asked.problems[group], text) for group, text in zip(groups, texts, strict=True)])
        for row, (status, turns) in enumerate(zip(rows.status.tolist(), rows.reward.sum(1).tolist(), strict=True)):
            if status != Status.OK:
                verdicts[row] = failed(Status(status), exchange.messages.get(Status(status).name.lower(), ""))
            verdicts[row] = verdicts[row]._replace(value=verdicts[row].value + turns)
    right = np.array([verdict.status == Status.OK and verdict.value > 0.5 for verdict in verdicts])
    faults = [verdict for verdict in verdicts if verdict.status != Status.OK]
    given = [answer(text) for text in texts]
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups):
        if not rows.probe[row]:
            members.setdefault(group, []).append(row)
    majority, decoded, distinct, correct, unscored = [], [], [], [], []
    for places in members.values():
        candidates = [Candidate(texts[row], given[row], verdicts[row].value) for row in places]
        hits = right[places]
        most = chosen_most_often(candidates)
        majority.append(bool(most) and bool(hits[most[0]]))
        chosen = decoder.choose(candidates)
        decoded.append(float(hits[chosen].mean()) if chosen else 0.0)
        distinct.append(len({given[row] for row in places} - {""}))
        correct.append(int(hits.sum()))
        unscored.append(sum(verdicts[row].status != Status.OK for row in places))
    spread, tokens = (x.double().sum(1).cpu().numpy() for x in (rows.entropy * rows.drawn, rows.drawn))
    entropy = np.array([spread[places].sum() / tokens[places].sum() for places in members.values()])
    taken = None if rows.turn is None else (rows.turn.masked_fill(~rows.drawn, 0).amax(1) + 1).cpu().numpy()
    return Answers(
        np.array(correct, np.int64),
        np.array(distinct, np.int64),
        np.array(majority, bool),
        np.array(decoded),
        entropy,
        np.array(unscored, np.int64),
        f"{faults[0].status.name.lower()}, {faults[0].message}" if faults else "",
        None if taken is None else np.array([taken[places].mean() for places in members.values()]),
    )


class _HeldOut:
    """Held-out problems as a plan sees them (`worlds.plans.Problems`)."""

    progress = 1.0

    def __init__(
        self,
        policy: TokenPolicy,
        problems: Sequence[Problem],
        tokenizer: PreTrainedTokenizerBase,
        seed: int,
        limit: int,
        chat: bool,
        exchange: Exchange | None,
        decoder: Decoder,
    ):
        self.policy, self.problems, self.tokenizer, self.exchange, self.limit = policy, problems, tokenizer, exchange, limit
        self.generator = torch.Generator().manual_seed(derive_seed(seed, "text/evaluation"))
        self.rng = np.random.default_rng(derive_seed(seed, "text/evaluation/plan"))
        self.end = end_tokens(policy.model, tokenizer)
        self.tokens = tokenize_prompts(tokenizer, problems, chat=chat)
        self.greedy = decoder.greedy
        self.turns, self.turn_limit, self.turn_stop = 0, limit, ()
        if exchange is not None:
            self.turns, self.turn_limit, self.turn_stop = exchange.task.turns, min(limit, exchange.task.longest_turn + 1), exchange.stop
        self._cursor = 0

    def prompt(self, index: int) -> Prompt:
        return Prompt(index, self.tokens[index], self._unsolved)

    @staticmethod
    def _unsolved() -> tuple[int, ...]:
        raise RunFailed("a decoder asked for the solution of a held-out problem")

    def draw(self, count: int) -> list[Prompt]:
        start, self._cursor = self._cursor, self._cursor + count
        return [self.prompt(index) for index in range(start, start + count)]

    def reply(self, said: Sequence[Utterance]) -> list[Heard]:
        return self.exchange.reply(said, self.problems.__getitem__)

    def rows(self, plan: Plan) -> Rows:
        """The rows of the next problems. Of a task that takes turns, plain groups do."""
        if self.exchange is not None and type(plan) is Groups:
            plan = Turns(plan.prompts, plan.n)

        def draw(requests: list[Request]) -> Generation:
            return generate(
                self.policy.model,
                requests,
                max_new_tokens=self.limit,
                generator=self.generator,
                eos_token_id=self.end,
                pad_token_id=self.tokenizer.pad_token_id,
                greedy=self.greedy,
                guide=plan.logits,
            )

        return run_plan(plan, self, draw, self._given, self._judged, pad=self.tokenizer.pad_token_id)

    def _given(self, requests: list[Request]) -> Generation:
        raise RunFailed("a decoder gave an answer from outside")

    def _judged(self, answers: list) -> list:
        raise RunFailed("a decoder asked for the scores of held-out problems while it answered them")
