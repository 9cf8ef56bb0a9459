"""Rollouts of a language policy on a text task, their scores, and evaluation on held-out problems."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from operant import ops
from operant.core.errors import BadInput, RunFailed
from operant.core.random import Streams
from operant.core.records import Rollout
from operant.core.seeds import derive_seed
from operant.core.status import Status
from operant.nets.language import TokenPolicy, generation_to_inputs
from operant.worlds.base import OTHER_DRAWS, Source
from operant.worlds.plans import Generation, Heard, Plan, Prompt, Request, Utterance
from operant.worlds.rows import run_plan
from operant.worlds.text.engine import generate
from operant.worlds.text.exchange import REPLY, Exchange, last_turn
from operant.worlds.text.models import end_tokens
from operant.worlds.text.tasks import Problem, TextTask
from operant.worlds.text.tasks.turns import TurnTask
from operant.worlds.text.verifiers import Scorer, Verdict, Verifier, failed, scorer

if TYPE_CHECKING:
    from operant.worlds.text.vllm import Vllm
    from operant.worlds.text.workers import AnswerWorkers, Versions

EVALUATION_ROWS = 512  # completions that are generated or measured at once outside of training


class TextSource(Source):
    """Problems of a task, completed by a policy and scored by a verifier. One seed (S is 1), one step an iteration.

    The i-th problem depends on the seed and on i alone, so a rollout names its problems by number (`rollout.group`), and the state is a cursor, generators and
    what the plan keeps. It is also what a plan draws its problems from (`worlds.plans.Problems`).

    Args:
        task: where problems come from.
        tokenizer: of the policy's model.
        plan: which completions.
        streams: the run's random streams; stream "text/tokens" draws the tokens, "text/plan" what plans draw.
        verifier: what scores; the task's own where None. An untrusted one runs in child processes (`scorer`).
        verifier_workers: answers that these score at a time.
        chat: prompts go through the tokenizer's chat template.
        engine: draws the completions in the place of the library's own engine.
        workers: processes that draw them by the library's own; None for this one.
        batch_size: completions that are drawn at a time, by the library's own engine in this process; None for all of a round.

    Attributes:
        workers: see above.
        versions: policies as they were, where workers draw.
    """

    describes = True

    def __init__(
        self,
        task: TextTask,
        tokenizer: PreTrainedTokenizerBase,
        plan: Plan,
        streams: Streams,
        verifier: Verifier | Scorer | str | None = None,
        *,
        limit: int | None = None,
        chat: bool = False,
        verifier_workers: int = 1,
        engine: Vllm | None = None,
        workers: AnswerWorkers | None = None,
        batch_size: int | None = None,
    ):
        if len(streams.seeds) != 1:
            raise BadInput(f"a language policy is trained one seed at a time; {len(streams.seeds)} seeds were given to one source")
        self.task, self.tokenizer, self.plan, self.chat, self.engine = task, tokenizer, plan, chat, engine
        self.workers, self._batch_size = workers, batch_size
        self.versions: Versions | None = None
        if engine is not None:
            self.resume = OTHER_DRAWS
        self._judge = partial(scorer, workers=verifier_workers)
        self._scorer = self._judge(task.verifier if verifier is None else verifier)
        self._checks: dict[str, Scorer] = {}
        self._statuses: Counter[str] = Counter()
        self._messages: dict[str, dict[bool, str]] = {}
        self._known: dict[int, Verdict] = {}  # of rows that were scored while they were sampled
        self.exchange = Exchange(task, tokenizer, chat=chat, workers=verifier_workers) if isinstance(task, TurnTask) else None
        self.turns, self.turn_limit, self.turn_stop = 0, limit or task.longest_completion + 1, ()
        if self.exchange is not None:
            self.turns, self.turn_limit, self.turn_stop = task.turns, min(self.turn_limit, task.longest_turn + 1), self.exchange.stop
        self._seed = streams.seeds[0]
        self._generator = streams.torch_generators("text/tokens")[0]
        self.rng = streams.numpy_generators("text/plan")[0]
        self.policy: TokenPolicy | None = None
        self.progress = 0.0
        self.limit = limit or task.longest_completion + 1
        self.end: tuple[int, ...] = (tokenizer.eos_token_id,)
        self._cursor = 0
        self.problem = lru_cache(maxsize=8 * plan.prompts)(self._problem)
        self.prompt = lru_cache(maxsize=8 * plan.prompts)(self._prompt)

    def _problem(self, index: int) -> Problem:
        """The training problem of number `index`."""
        return self.task.numbered(self._seed, index)

    def _prompt(self, index: int) -> Prompt:
        """The same as plans see it."""
        return Prompt(index, prompt_tokens(self.tokenizer, self.problem(index), chat=self.chat), lambda: self._solution(index))

    def _solution(self, index: int) -> tuple[int, ...]:
        rng = np.random.default_rng(derive_seed(self._seed, "text/solution", index))
        text = self.task.trace(self.problem(index), rng, corrupt=0.0)
        return (*self.tokenizer.encode(text, add_special_tokens=False), self.tokenizer.eos_token_id)

    def draw(self, count: int) -> list[Prompt]:
        """The next `count` problems."""
        indices = range(self._cursor, self._cursor + count)
        self._cursor += count
        return [self.prompt(index) for index in indices]

    def sample(self, policy: TokenPolicy, version: int) -> Rollout:
        """What the plan asks for, with log-probability and entropy as drawn; the rewards are still 0, but for those of turns.

        A row terminates with its end token and is truncated where it was cut at a limit.
        """
        temperature = self.plan.temperature
        if not callable(temperature) and policy.temperature != temperature:
            raise BadInput(f"the plan samples at temperature {temperature}, the policy is trained at {policy.temperature}; they must be the same")
        self.policy, self.end = policy, end_tokens(policy.model, self.tokenizer)
        if self.workers is not None:
            from operant.worlds.text.workers import Versions

            self.versions = self.versions or Versions(policy, 1, shared=True)
            self.workers.take(self.versions, policy)
        rows = run_plan(self.plan, self, self._generate, self._measure_given, self._score_tokens, pad=self.tokenizer.pad_token_id)
        self._known = rows.verdicts
        present = rows.present
        last = torch.arange(present.shape[1], device=present.device) == present.sum(1, keepdim=True) - 1
        finished = rows.finished.unsqueeze(1)
        return Rollout(
            inputs=self._inputs(rows.prompts, rows.action, present),
            action=rows.action[None],
            log_prob=rows.log_prob[None],
            mask=rows.mask[None],
            reward=(torch.zeros_like(rows.log_prob) if rows.reward is None else rows.reward)[None],
            terminated=(last & finished)[None],
            truncated=(last & ~finished)[None],
            group=rows.group[None],
            status=rows.status[None],
            version=version,
            extras={"entropy": rows.entropy[None], **rows.extras(self.limit)},
            **rows.tree(),
        )

    def reply(self, said: Sequence[Utterance]) -> list[Heard]:
        """What the task replies to turns."""
        return self.exchange.reply(said, self.problem)

    def _score_tokens(self, answers: list[tuple[int, tuple[int, ...]]]) -> list[tuple[float, Verdict]]:
        texts = self.tokenizer.batch_decode([tokens for _, tokens in answers], skip_special_tokens=True)
        verdicts = self._scorer.score([(self.problem(group), text) for (group, _), text in zip(answers, texts, strict=True)])
        return [(verdict.value, verdict) for verdict in verdicts]

    def _generate(self, requests: list[Request]) -> Generation:
        if self.engine is not None:
            draw = partial(self.engine.generate, self.policy)
        elif self.workers is not None:
            draw = self.workers.generate
        else:
            draw = partial(generate, self.policy.model, guide=self.plan.logits, batch_size=self._batch_size, cuda_graphs=self.cuda_graphs)
        return draw(
            requests,
            max_new_tokens=self.limit,
            temperature=self.plan.temperature,
            generator=self._generator,
            eos_token_id=self.end,
            pad_token_id=self.tokenizer.pad_token_id,
        )

    @torch.no_grad()
    def _measure_given(self, requests: list[Request]) -> Generation:
        """The record of requests whose tokens are given: what the policy gives them."""
        device = self.policy.model.device
        longest = max(len(request.given) for request in requests)
        tokens = torch.full((len(requests), longest), self.tokenizer.pad_token_id)
        mask = torch.zeros(tokens.shape, dtype=torch.bool)
        for place, request in enumerate(requests):
            tokens[place, : len(request.given)] = torch.tensor(request.given)
            mask[place, : len(request.given)] = True
        tokens, mask = tokens.to(device), mask.to(device)
        found = self.policy.replay(self._inputs([request.prefix for request in requests], tokens, mask), tokens[None], {"entropy"})
        finished = torch.tensor([request.given[-1] in self.end for request in requests], device=device)
        request = torch.arange(len(requests), device=device)
        return Generation([item.prefix for item in requests], request, tokens, found["log_prob"][0], found["entropy"][0], mask, finished)

    def _inputs(self, prompts: list[tuple[int, ...]], tokens: Tensor, present: Tensor) -> dict[str, Tensor]:
        """The inputs of `TokenPolicy.replay` for rows of answers `[R, T]`."""
        distinct = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
        request = torch.tensor([distinct[prompt] for prompt in prompts], device=tokens.device)
        return generation_to_inputs(Generation(list(distinct), request, tokens, tokens, tokens, present, present), self.tokenizer.pad_token_id)

    def score(self, rollout: Rollout) -> Rollout:
        """The rollout with each row's reward on its last step, those of its steps where they end, and its status.

        Where the status is not OK the reward stays 0 and means nothing. Rows that are still being written are not scored. Of rows that take turns the last turn
        is scored, and what comes of it is added to the turns' own rewards.
        """
        texts = self._texts(rollout)
        unfinished = rollout.extras.get("unfinished", torch.zeros_like(rollout.group, dtype=torch.bool))[0].tolist()
        found = dict(self._known) | {row: Verdict(0.0, Status.OK, "") for row, going in enumerate(unfinished) if going}
        for row, status in enumerate(rollout.status[0].tolist()):
            if status != Status.OK:  # a reply failed
                found[row] = failed(Status(status), self.exchange.messages.get(Status(status).name.lower(), ""))
        rows = [row for row in range(len(texts)) if row not in found]
        verdicts = self._scorer.score([(self.problem(int(rollout.group[0, row])), texts[row]) for row in rows])
        found = [verdict for _, verdict in sorted((found | dict(zip(rows, verdicts, strict=True))).items())]
        for verdict in found:
            name = verdict.status.name.lower()
            self._statuses[name] += 1
            if verdict.status != Status.OK:  # the first of the task's replies, and the first of its verifier
                told = self._messages.setdefault(name, {})
                told.setdefault(verdict.message.startswith(REPLY), verdict.message)
        device = rollout.mask.device
        value = torch.tensor([verdict.value if verdict.status == Status.OK else 0.0 for verdict in found], device=device)
        rollout.status = torch.tensor([[int(verdict.status) for verdict in found]], device=device)
        reward = (rollout.terminated | rollout.truncated) * value.unsqueeze(1)
        if "turn" in rollout.extras:
            reward = (reward + rollout.reward).masked_fill(rollout.status.unsqueeze(-1) != int(Status.OK), 0.0)
        rollout.reward = reward
        for row, verdict in enumerate(found):
            self._place_steps(rollout, row, verdict.per_step)
        self.plan.observe(rollout)
        return rollout

    def _place_steps(self, rollout: Rollout, row: int, per_step: Sequence[tuple[int, float]]) -> None:
        """Add the rewards of steps to the tokens in which the steps end; of ends behind the text, the last."""
        if not per_step:
            return
        places = self._spoken(rollout)[row].nonzero().squeeze(1).tolist()
        tokens = rollout.action[0, row, places].tolist()
        for end, reward in per_step:
            place = bisect_left(range(len(tokens) - 1), end, key=lambda last: len(self.tokenizer.decode(tokens[: last + 1], skip_special_tokens=True)))
            rollout.reward[0, row, places[place]] += reward

    def notes(self) -> list[str]:
        """What a person should know before answers are drawn and scored, a line each: limits that this platform cannot set for the verifier's processes, and
        what another engine takes."""
        missing = getattr(self._scorer, "unenforced", [])
        found = [f"the verifier runs without these limits, which this platform cannot set: {', '.join(missing)}"] if missing else []
        return found if self.engine is None else [*found, *self.engine.notes]

    def report(self) -> dict[str, Any]:
        """What came of scoring so far: how many answers had each status, workers that were started anew, and the first message of each fault."""
        restarts = getattr(self._scorer, "restarts", 0) + (0 if self.exchange is None else self.exchange.restarts)
        messages = {name: "; ".join(told.values()) for name, told in self._messages.items()}
        return {"statuses": dict(self._statuses), "restarts": restarts, "messages": messages}

    def _spoken(self, rollout: Rollout) -> Tensor:
        """The tokens `[N, T]` of each row's answer: all of them, or where the task replies those of its last turn."""
        if self.exchange is None:
            return rollout.extras.get("present", rollout.mask)[0]
        return last_turn(rollout.extras["turn"][0], rollout.extras["drawn"][0])

    def _texts(self, rollout: Rollout) -> list[str]:
        """The answer of each row."""
        spoken = self._spoken(rollout)
        if self.exchange is None:
            return completion_texts(self.tokenizer, rollout.action[0], spoken)
        return self.exchange.texts(rollout.action[0], spoken)

    def measure(self, names: Collection[str], rollout: Rollout, policy: TokenPolicy) -> dict[str, Tensor]:
        """What this world can say of a scored rollout's rows beyond their reward, of what is asked, `[1, N]` each.

        "limit": tokens of the longest answer.
        "answer": numbers, equal where canonical answers are; "sound": 1 where the task's process check finds every step right; "clean_score": the value that
        the task's own verifier gives; "confidence": what the answer states of itself, 0 to 1, NaN where it cannot be read; "answer_probability": mean
        probability of the reference answer's tokens behind the row's own reasoning (RLPR, arXiv:2506.18254), "answer_probability_alone" behind none,
        and "answer_likelihood" their product behind the reasoning. Of rows that take turns: "turn_answer_likelihood" `[1, N, T]`, at each token the geometric
        mean of the probabilities of the reference answer's tokens behind its turn, the reply and what stands before an answer ("reasoning" of nothing);
        "start_answer_likelihood" the same before the first turn.

        Raises:
            RunFailed: one of the task's checks failed, which says nothing of the answer.
        """
        found: dict[str, Tensor] = {}
        texts = self._texts(rollout)
        problems = [self.problem(index) for index in rollout.group[0].tolist()]
        device = rollout.mask.device
        if "limit" in names:
            found["limit"] = torch.full((1, len(texts)), float(self.limit), device=device)
        if "answer" in names:
            answers = [self.task.answer(text) for text in texts]
            number = {answer: place for place, answer in enumerate(dict.fromkeys(answers))}
            found["answer"] = torch.tensor([[number[answer] for answer in answers]], device=device)
        for name, check in (("sound", self.task.process), ("clean_score", self.task.verifier)):
            if name in names and check is not None:
                if name not in self._checks:
                    self._checks[name] = self._judge(check)
                verdicts = self._checks[name].score(list(zip(problems, texts, strict=True)))
                if failed := next((verdict for verdict in verdicts if verdict.status != Status.OK), None):
                    raise RunFailed(f"the task's check for {name!r} failed: {failed.status.name.lower()}: {failed.message}")
                found[name] = torch.tensor([[verdict.value for verdict in verdicts]], device=device)
        if "confidence" in names and self.task.confidence is not None:
            stated = [self.task.confidence(text) for text in texts]
            found["confidence"] = torch.tensor([[float("nan") if value is None else value for value in stated]], device=device)
        for name, reasoning in (("answer_probability", texts), ("answer_probability_alone", [""] * len(texts))):
            if name in names:
                found[name] = self._answer_probability(policy, rollout.group[0].tolist(), [self.task.reasoning(text) for text in reasoning])[0]
        if "answer_likelihood" in names:
            found["answer_likelihood"] = self._answer_probability(policy, rollout.group[0].tolist(), [self.task.reasoning(text) for text in texts])[1]
        if {"turn_answer_likelihood", "start_answer_likelihood"} & set(names) and self.exchange is not None:
            found |= self._answer_by_turn(rollout, policy)
        return found

    def _answer_by_turn(self, rollout: Rollout, policy: TokenPolicy) -> dict[str, Tensor]:
        """How likely the reference answer is, before the first turn and behind each turn with its reply (behind the last as before it)."""
        turn, present = rollout.extras["turn"][0].cpu(), rollout.extras["present"][0].cpu()
        ends = [[int((there & (number <= last)).sum()) for last in range(int(number[there].max()))] for number, there in zip(turn, present, strict=True)]
        prefixes, groups = [], []
        for group, tokens, row in zip(rollout.group[0].tolist(), rollout.action[0].tolist(), ends, strict=True):
            prefixes += [self.prompt(group).tokens + tuple(tokens[:end]) for end in (0, *row)]
            groups += [group] * (1 + len(row))
        template = self.tokenizer.encode(self.task.reasoning(""), add_special_tokens=False)
        log_prob, mask = self._answer_log_prob(policy, [(*prefix, *template) for prefix in prefixes], groups)
        means = ops.row_mean(log_prob, mask).exp().flatten().cpu().split([1 + len(row) for row in ends])
        value = torch.zeros(turn.shape[0], int(turn.max()) + 2, dtype=log_prob.dtype)
        for row, (mean, count) in enumerate(zip(means, ends, strict=True)):
            value[row, : 1 + len(count)], value[row, 1 + len(count) :] = mean, mean[-1]
        device = rollout.mask.device
        return {"start_answer_likelihood": value[None, :, 0].to(device), "turn_answer_likelihood": value.gather(1, turn + 1)[None].to(device)}

    @torch.no_grad()
    def _answer_probability(self, policy: TokenPolicy, groups: list[int], reasoning: list[str]) -> tuple[Tensor, Tensor]:
        """(mean probability of the tokens, likelihood) of each problem's answer behind its prompt and a text, `[1, N]` each."""
        written = [tuple(self.tokenizer.encode(text, add_special_tokens=False)) for text in reasoning]
        prefixes = [self.prompt(group).tokens + tokens for group, tokens in zip(groups, written, strict=True)]
        log_prob, mask = self._answer_log_prob(policy, prefixes, groups)
        return ops.row_mean(log_prob.exp(), mask).view(1, -1), ops.row_sum(log_prob, mask).exp().view(1, -1)

    @torch.no_grad()
    def _answer_log_prob(self, policy: TokenPolicy, prefixes: Sequence[tuple[int, ...]], groups: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the tokens of each problem's answer behind a prefix, `[R, T]`, and which there are; equal ones are measured once."""
        known = {key: place for place, key in enumerate(dict.fromkeys(zip(prefixes, groups, strict=True)))}
        answers = [self.tokenizer.encode(self.problem(group).answer, add_special_tokens=False) for _, group in known]
        device, longest = policy.model.device, max(map(len, answers))
        tokens = torch.tensor([answer + [self.tokenizer.pad_token_id] * (longest - len(answer)) for answer in answers], device=device)
        mask = torch.arange(longest, device=device) < torch.tensor([len(answer) for answer in answers], device=device).unsqueeze(1)
        distinct, found = [prefix for prefix, _ in known], []
        for rows in torch.arange(len(answers)).split(EVALUATION_ROWS):
            inputs = self._inputs([distinct[row] for row in rows.tolist()], tokens[rows], mask[rows])
            found.append(policy.replay(inputs, tokens[rows][None])["log_prob"][0])
        places = [known[key] for key in zip(prefixes, groups, strict=True)]
        return torch.cat(found)[places], mask[places]

    def metrics(self, rollout: Rollout) -> dict[str, Tensor]:
        """Means of a scored rollout, `[1]` each, on the CPU; NaN of no rows.

        Of rows that got a score and were sampled here: "reward"; "groups_alike", the share of groups of two and more whose rewards are all the same;
        "ended", the share that ended by themselves; "length", in tokens, and "length/right" and "length/wrong" (reward above 0.5 or not). "entropy": of the
        next token, nats. Where an engine of its own draws, "kl_engine", KL(what it drew with || policy), nats a token, and "log_ratio_engine", the largest
        log ratio of the two.
        """
        present = rollout.extras.get("present", rollout.mask)
        drawn = rollout.extras.get("drawn", rollout.mask)
        among = rollout.status == int(Status.OK)
        for name in ("unfinished", "outside"):
            among = among & ~rollout.extras[name] if name in rollout.extras else among
        reward, length = rollout.reward.sum(-1), present.sum(-1).float()
        groups = [reward[0, (rollout.group[0] == group) & among[0]] for group in rollout.group[0].unique()]
        alike = [float((group == group[0]).all()) for group in groups if len(group) > 1]

        def mean(x: Tensor, where: Tensor) -> Tensor:
            return ((x * where).sum(-1) / where.sum(-1)).cpu()

        found = {
            "reward": mean(reward, among),
            "length": mean(length, among),
            "ended": mean(rollout.terminated.any(-1).float(), among),
            "entropy": mean(rollout.extras["entropy"].flatten(1), drawn.flatten(1)),
        }
        if self.engine is not None:
            acted, given = rollout.extras.get("behaviour_log_prob", rollout.log_prob), rollout.log_prob
            found["kl_engine"] = mean(ops.kl_k3(acted, given).flatten(1), drawn.flatten(1))
            found["log_ratio_engine"] = ((given - acted).abs() * drawn).flatten(1).amax(1).cpu()
        if alike:
            found["groups_alike"] = torch.tensor([sum(alike) / len(alike)])
        for name, where in (("length/right", among & (reward > 0.5)), ("length/wrong", among & (reward <= 0.5))):
            found |= {name: mean(length, where)} if bool(where.any()) else {}
        return found

    def describe(self, rollout: Rollout, rows: Sequence[int]) -> list[dict]:
        """Rows of a scored rollout for people to read, as JSON values: group, prompt, reward, status, and the tokens.

        Each token has its text, log-probability, entropy, mask, and what the extras hold of "advantage", "ratio" and "kl" (else None); of rows that take turns,
        "turn", and "reply" where the token was not written by the policy.
        """
        described = []
        for row in rows:
            length = int(rollout.inputs["length"][0, row] - rollout.inputs["prompt_length"][0, row])
            figures = {
                "log_prob": rollout.log_prob[0, row, :length].tolist(),
                "entropy": rollout.extras["entropy"][0, row, :length].tolist(),
                "mask": rollout.mask[0, row, :length].tolist(),
            }
            for name in ("advantage", "ratio", "kl"):
                figures[name] = rollout.extras[name][0, row, :length].tolist() if name in rollout.extras else [None] * length
            if "turn" in rollout.extras:
                figures["turn"] = rollout.extras["turn"][0, row, :length].tolist()
                figures["reply"] = (~rollout.extras["drawn"][0, row, :length]).tolist()
            texts = [self.tokenizer.decode([token]) for token in rollout.action[0, row, :length].tolist()]
            group = int(rollout.group[0, row])
            described.append(
                {
                    "group": group,
                    "prompt": self.problem(group).prompt,
                    "reward": float(rollout.reward[0, row].sum()),
                    "status": Status(int(rollout.status[0, row])).name.lower(),
                    "tokens": [{"text": text} | {name: values[place] for name, values in figures.items()} for place, text in enumerate(texts)],
                }
            )
        return described

    def state_dict(self) -> dict:
        return {
            "cursor": self._cursor,
            "generator": self._generator.get_state(),
            "rng": self.rng.bit_generator.state,
            "plan": self.plan.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        if state.get("waiting"):
            raise BadInput("this run draws answers ahead of what is learned from: go on with --sample-workers 1 or more")
        self._cursor = state["cursor"]
        self._generator.set_state(state["generator"])
        self.rng.bit_generator.state = state["rng"]
        self.plan.load_state_dict(state["plan"])

    def close(self) -> None:
        """End the processes of workers, verifiers and replies."""
        if self.workers is not None:
            self.workers.close()
        for judge in (self._scorer, *self._checks.values(), *([] if self.exchange is None else [self.exchange])):
            judge.close()


def problems_of_a_run(task: TextTask, seed: int, tests: int, drawn: int) -> list[tuple[str, Problem]]:
    """The problems that a run may meet, with their names: all rows of a file, else the first `tests` test problems and the first `drawn` of training."""
    if references := task.references:
        return [(reference.place, reference.problem) for reference in references]
    return [
        *((f"test problem {place}", problem) for place, problem in enumerate(task.held_out(task.splits[0], tests))),
        *((f"training problem {place} of seed {seed}", task.numbered(seed, place)) for place in range(drawn)),
    ]


def completion_texts(tokenizer: PreTrainedTokenizerBase, tokens: Tensor, mask: Tensor, ends: Collection[int] = ()) -> list[str]:
    """The text of each row of `tokens [R, T]` where `mask [R, T]`, without special tokens and without one of `ends` that closes it."""
    lengths = mask.sum(1).tolist()
    rows = [row[:length] for row, length in zip(tokens.tolist(), lengths, strict=True)]
    return tokenizer.batch_decode([row[:-1] if row and row[-1] in ends else row for row in rows], skip_special_tokens=True)


def tokenize_prompts(tokenizer: PreTrainedTokenizerBase, problems: Sequence[Problem], *, chat: bool = False) -> list[tuple[int, ...]]:
    """The tokens of problems' prompts: as they stand, or as a user's message in the tokenizer's chat template, up to where the answer begins.

    What a tokenizer puts behind every text, such as its end token, is left out: an answer goes on from the prompt.
    """
    if chat:
        messages = [[{"role": "user", "content": problem.prompt}] for problem in problems]
        return [tuple(tokens) for tokens in tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)]
    encoded = tokenizer([problem.prompt for problem in problems], return_special_tokens_mask=True)
    found = []
    for tokens, added in zip(encoded["input_ids"], encoded["special_tokens_mask"], strict=True):
        end = len(tokens)
        while end > 0 and added[end - 1]:
            end -= 1
        found.append(tuple(tokens[:end]))
    return found


def prompt_tokens(tokenizer: PreTrainedTokenizerBase, problem: Problem, *, chat: bool = False) -> tuple[int, ...]:
    """`tokenize_prompts` of one problem."""
    return tokenize_prompts(tokenizer, [problem], chat=chat)[0]
