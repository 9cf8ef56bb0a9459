"""Pairs of answers to a prompt, of which one is preferred: from a file, or made from a task and its base policy by the task's verifier."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from operant.core.errors import BadInput, RunFailed, unknown
from operant.core.random import Streams
from operant.core.records import Evaluation
from operant.core.seeds import derive_seed
from operant.core.status import Status
from operant.nets.reward_model import RewardHead, RewardModel
from operant.worlds.base import GivenRows, Preferred
from operant.worlds.plans import Request
from operant.worlds.text.tasks import TEXT_TASKS
from operant.worlds.text.tasks.base import Problem, Texts, splits_of
from operant.worlds.text.tasks.file import SPLITS, read_lines
from operant.worlds.text.world import AT_ONCE, TextWorld

MADE, ANSWERS = 1024, 4  # training problems that pairs are made of, and answers to each of them
HELD_OUT = 256  # problems that held-out pairs are made of
ROLES = ("system", "user", "assistant")
TIE = 1e-3  # nats; a margin that is smaller is rounding


@dataclass(frozen=True)
class Pair:
    """Two answers to a prompt.

    Attributes:
        prompt: text, or the messages of a conversation, each with "role" and "content".
        chosen, rejected: texts.
        place: where it stands, in words ("line 3").
    """

    prompt: str | tuple[dict[str, str], ...]
    chosen: str
    rejected: str
    place: str


class PreferenceFile(Texts):
    """Pairs of a JSON Lines file. Each row has "prompt", "chosen" and "rejected": strings, or lists of messages as TRL has them.

    Of messages, `chosen` and `rejected` may hold the whole conversation; "prompt" may then be left out, or be a string. They differ in their last message, the
    assistant's. A row may have "split", "train" or "test"; of those without a tenth is test rows, by a hash of the prompt (`splits_of`).

    Args:
        path: of the file, in UTF-8.

    Attributes:
        train, test: the pairs.
        notes: what was dropped from the file, a line each.
        chats: some prompt is a conversation.

    Raises:
        BadInput: the file cannot be read, a row is not as said above (with its line), or nothing is left to train or to test on.
    """

    splits = ("test",)

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.notes: list[str] = []
        lines, self._hash = read_lines(self.path)
        said: list[tuple[Pair, str | None]] = []
        seen: set[tuple[str, str, str]] = set()
        rows = 0
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            rows += 1
            pair, split = self._pair(line, number)
            key = (prompt_text(pair), pair.chosen, pair.rejected)
            if key not in seen:
                seen.add(key)
                said.append((pair, split))
        if not rows:
            raise BadInput(f"{self.path} has no rows; each line is one object with 'prompt', 'chosen' and 'rejected'")
        if dropped := rows - len(seen):
            self.notes.append(f"{dropped} of {rows} rows stand there more than once; each was taken once")
        parts: dict[str, list[Pair]] = {split: [] for split in SPLITS}
        for (pair, _), split in zip(said, splits_of([(prompt_text(pair), split) for pair, split in said]), strict=True):
            parts[split].append(pair)
        tested = {prompt_text(pair) for pair in parts["test"]}
        self.test, self.train = parts["test"], [pair for pair in parts["train"] if prompt_text(pair) not in tested]
        if dropped := len(parts["train"]) - len(self.train):
            self.notes.append(f"{dropped} training rows have the prompt of a test row and were left out")
        if not self.test:
            raise BadInput(f'{self.path} has no test rows: write "split": "test" into some, or leave "split" out of some')
        if not self.train:
            raise BadInput(f'{self.path} has no training rows: write "split": "train" into some, with other prompts than those of the test rows')
        every = self.train + self.test
        self.chats = any(not isinstance(pair.prompt, str) for pair in every)
        self.alphabet = "".join(sorted({character for pair in every for character in prompt_text(pair) + pair.chosen + pair.rejected}))
        self.longest_prompt = max(len(prompt_text(pair)) for pair in every)
        self.longest_completion = max(max(len(pair.chosen), len(pair.rejected)) for pair in every)

    def __repr__(self) -> str:
        return f"PreferenceFile({self._hash})"

    def _pair(self, line: str, number: int) -> tuple[Pair, str | None]:
        where = f"{self.path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{where} is not JSON ({getattr(error, 'msg', error)}); each line is one object") from error
        if not isinstance(row, dict):
            raise BadInput(f'{where} is no object; write {{"prompt": "…", "chosen": "…", "rejected": "…"}}')
        for name in ("chosen", "rejected"):
            if name not in row:
                raise BadInput(f"{where} has no {name!r}; it has {', '.join(map(repr, row)) or 'nothing'}")
        if (split := row.get("split")) not in (None, *SPLITS):
            raise BadInput(f"{where}: 'split' is {split!r}; 'train' or 'test'")
        if isinstance(row["chosen"], list) or isinstance(row["rejected"], list):
            prompt, chosen, rejected = self._conversation(row, where)
        elif not isinstance(row.get("prompt"), str):
            found = "no 'prompt'" if "prompt" not in row else "a 'prompt' that is no string"
            raise BadInput(f"{where} has {found}; answers that are strings have one beside them that is a string")
        else:
            prompt, chosen, rejected = row["prompt"], row["chosen"], row["rejected"]
        texts = {"prompt": prompt if isinstance(prompt, str) else prompt[-1]["content"], "chosen": chosen, "rejected": rejected}
        for name, text in texts.items():
            if not isinstance(text, str):
                raise BadInput(f"{where}: {name!r} is no string and no list of messages")
            if not text.strip():
                raise BadInput(f"{where}: the {name!r} is empty; write it or leave the row out")
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise BadInput(f"{where}: {name!r} holds half a character (a lone surrogate), which no tokenizer can read; write the whole one")
        if chosen == rejected:
            raise BadInput(f"{where}: 'chosen' and 'rejected' are the same; there is nothing to prefer")
        return Pair(prompt, chosen, rejected, f"line {number}"), split

    def _conversation(self, row: dict[str, Any], where: str) -> tuple[tuple[dict[str, str], ...], str, str]:
        """(the messages that both answers stand behind, the answers)."""
        sides = [self._messages(row[name], name, where) for name in ("chosen", "rejected")]
        prompt = row.get("prompt", [])
        given = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else self._messages(prompt, "prompt", where)
        if given and any(side[: len(given)] != given for side in sides):
            sides = [given + side for side in sides]  # answers alone
        if sides[0][:-1] != sides[1][:-1] or len(sides[0]) < 2:
            raise BadInput(f"{where}: 'chosen' and 'rejected' must differ in their last message alone, and stand behind the same prompt")
        if any(side[-1]["role"] != "assistant" for side in sides):
            raise BadInput(f"{where}: the last message of 'chosen' and of 'rejected' must be the assistant's")
        return tuple(sides[0][:-1]), sides[0][-1]["content"], sides[1][-1]["content"]

    def _messages(self, value: Any, name: str, where: str) -> list[dict[str, str]]:
        if not isinstance(value, list):
            raise BadInput(f"{where}: {name!r} is no list of messages, as the other answer is")
        for place, message in enumerate(value, start=1):
            if not (isinstance(message, dict) and message.get("role") in ROLES and isinstance(message.get("content"), str)):
                raise BadInput(f'{where}: message {place} of {name!r} must be {{"role": "user", "content": "…"}}, the role one of {", ".join(ROLES)}')
        return [{"role": message["role"], "content": message["content"]} for message in value]


def prompt_text(pair: Pair) -> str:
    """A pair's prompt as one string."""
    return pair.prompt if isinstance(pair.prompt, str) else "\n".join(f"{message['role']}: {message['content']}" for message in pair.prompt)


@dataclass(frozen=True)
class TokenPair:
    """A pair in tokens, the end token at the end of each answer that ended."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]


def written(tokens: Sequence[int], ends: Collection[int], special: Collection[int]) -> tuple[int, ...]:
    """An answer as whoever judges it reads it: without the special tokens that a policy may draw in its midst (padding), and with the end that closes it."""
    end = tokens[-1:] if tokens and tokens[-1] in ends else ()
    return (*(token for token in tokens[: len(tokens) - len(end)] if token not in special), *end)


class TokenPairs(Preferred):
    """Pairs as rows of tokens; one seed.

    Args:
        pairs: at least one.
        pad: the token that fills rows.
    """

    def __init__(self, pairs: Sequence[TokenPair], pad: int, device: torch.device):
        self.size, self.device = len(pairs), device
        rows = [(pair.prompt, answer) for pair in pairs for answer in (pair.chosen, pair.rejected)]
        self._prompt = torch.tensor([len(prompt) for prompt, _ in rows], device=device)
        self._answer = torch.tensor([len(answer) for _, answer in rows], device=device)
        width, steps = max(len(prompt) + len(answer) for prompt, answer in rows), max(len(answer) for _, answer in rows)
        self._tokens = torch.tensor([[*prompt, *answer, *[pad] * (width - len(prompt) - len(answer))] for prompt, answer in rows], device=device)
        self._action = torch.tensor([[*answer, *[0] * (steps - len(answer))] for _, answer in rows], device=device)

    def rows(self, index: Tensor) -> GivenRows:
        row = torch.stack([2 * index[0], 2 * index[0] + 1], -1).flatten()
        prompt, answer = self._prompt[row], self._answer[row]
        length = prompt + answer
        steps = int(answer.max())
        inputs = {"tokens": self._tokens[row, : int(length.max())][None], "prompt_length": prompt[None], "length": length[None]}
        mask = torch.arange(steps, device=row.device) < answer.unsqueeze(1)
        return GivenRows(inputs, self._action[row, :steps][None], mask[None])


class PreferenceWorld(TextWorld):
    """Pairs of answers, and a language model that learns to prefer as they do: a policy (DPO), or a reward model.

    Args:
        name: a text task, or a JSON Lines file (`PreferenceFile`). Of a task, pairs are made of its base policy's answers: of `ANSWERS` to each of `MADE`
            training problems the first with the highest reward is preferred to the first with the lowest; problems whose answers are worth the same give none.
            They do not depend on the run's seed.

    The score is the share of held-out pairs whose preferred answer has the larger reward, the policy's being its log-ratio to the policy that training starts
    from; a tie counts a half. Where a task has a verifier, a policy's pass@1 stands beside it.
    """

    kind = "preferences"
    scheme = "preferences"
    score = "accuracy"
    step_unit = "updates"
    default_steps = 200
    scored_by_base = True

    def __init__(self, name: str, **options: Any):
        self.from_file = name not in TEXT_TASKS
        super().__init__(str(Path(os.path.expanduser(name)).absolute()) if self.from_file else name, **options)
        self.makes_base = not self.from_file
        self._pairs: dict[str, list[TokenPair]] = {}
        self._reference_log_prob: Tensor | None = None

    @staticmethod
    def find_task(name: str) -> Any:
        if name in TEXT_TASKS:
            return TEXT_TASKS[name]()
        if not Path(name).suffix and not Path(name).exists():
            raise unknown("preference task", Path(name).name, [*TEXT_TASKS, "FILE.jsonl"])
        return PreferenceFile(name)

    @staticmethod
    def names() -> dict[str, str]:
        return {}

    def base_world(self) -> TextWorld:
        return TextWorld(self.task.partition(":")[2])

    def steps_of(self, loop: str) -> int:
        return self.default_steps

    def check_preferences(self, net: Any) -> None:
        from operant.worlds.text.models import load_config, sequence_classifier

        options = self.options
        if self.takes_turns:
            raise BadInput(f"{self.task}: its task takes turns, and pairs are made of whole answers; take another task, such as preferences:arithmetic")
        if self.from_file and options.model is None:
            raise BadInput(f"{self.task}: nothing is known of answers but which is preferred, so no base policy can be made: give the model as --model")
        if self.from_file and (options.verifier is not None or options.evaluate_with is not None):
            raise BadInput(f"{self.task} is scored by its held-out pairs: leave --verifier and --evaluate-with out")
        if isinstance(net, RewardHead):
            if options.lora_rank:
                raise BadInput(f"{self.task}: a reward model is trained whole; leave --lora-rank out")
            if options.model is not None:
                sequence_classifier(load_config(options.model))

    def check_source(self, plan: Any, seeds: int, workers: int) -> None:
        raise BadInput(f"{self.task} has pairs and draws no answers: a policy-gradient method takes text:{self.task.partition(':')[2]}")

    def check_demonstrations(self) -> None:
        raise BadInput(f"{self.task} has pairs and no demonstrations: a supervised method takes text: or file:")

    def _check_lengths(self, seed: int, tests: int, positions: int | None, why: str) -> None:
        """Raise for the first pair that cannot be made of tokens, or is longer than the model reads."""
        if not self.from_file:
            return super()._check_lengths(seed, tests, positions, why)
        if self.problems.chats and self.tokenizer.chat_template is None:
            raise BadInput(f"{self.task} has conversations, and the tokenizer of {self.options.model} no chat template; take a model for chats")
        for split in SPLITS:
            for pair, tokens in zip(getattr(self.problems, split), self._tokens_of(split), strict=True):
                length = len(tokens.prompt) + max(len(tokens.chosen), len(tokens.rejected))
                if positions is not None and length > positions:
                    raise BadInput(
                        f"{self.task}: {pair.place} has {length:,} tokens, prompt and answer together, and the model reads {positions:,}{why}; "
                        "leave it out or take a model of longer context"
                    )

    def _tokens_of(self, split: str) -> list[TokenPair]:
        """The pairs of a split ("train", "test") in tokens."""
        if split not in self._pairs:
            self._pairs[split] = self._read(getattr(self.problems, split)) if self.from_file else self._made(split)
            if not self._pairs[split]:
                raise BadInput(f"{self.task}: the base policy's answers to a problem are all worth the same, so there is nothing to prefer; take another task")
        return self._pairs[split]

    def _read(self, pairs: Sequence[Pair]) -> list[TokenPair]:
        from operant.worlds.text.source import prompt_tokens

        tokenizer, found = self.tokenizer, []
        for pair in pairs:
            try:
                if isinstance(pair.prompt, str):
                    prompt = prompt_tokens(tokenizer, Problem(pair.prompt, ""), chat=self.chat)
                else:
                    prompt = tuple(tokenizer.apply_chat_template(list(pair.prompt), add_generation_prompt=True, return_dict=False))
            except Exception as error:  # templates and tokenizers raise what they like
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                raise BadInput(f"{self.task}: {pair.place}: the chat template of {self.options.model} cannot write the prompt: {reason}") from error
            sides = [(*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id) for text in (pair.chosen, pair.rejected)]
            found.append(TokenPair(prompt, *sides))
        return found

    def _made(self, split: str) -> list[TokenPair]:
        """Pairs of the base policy's answers to training or held-out problems."""
        from operant.worlds.text.engine import generate
        from operant.worlds.text.models import end_tokens
        from operant.worlds.text.source import completion_texts, tokenize_prompts
        from operant.worlds.text.verifiers import scorer

        if self.base is None and self.options.model is None:
            raise RunFailed(f"{self.task}: pairs are the base policy's answers, and it is not there yet (ensure_base_policy)")
        task, tokenizer, policy = self.problems, self.tokenizer, self.policy(None, Streams([0]))
        problems = [task.numbered(0, index) for index in range(MADE)] if split == "train" else task.held_out(self.base_split, HELD_OUT)
        generator = torch.Generator().manual_seed(derive_seed(0, "preferences", split))
        verifier = task.verifier if self.verifier is None else self.verifier
        judge, ends, found = scorer(verifier, workers=self.options.verifier_workers), end_tokens(policy.model, tokenizer), []
        special = frozenset(tokenizer.all_special_ids)
        try:
            for start in range(0, len(problems), AT_ONCE // ANSWERS):
                part = problems[start : start + AT_ONCE // ANSWERS]
                prompts = tokenize_prompts(tokenizer, part, chat=self.chat)
                requests = [Request(prompt, ANSWERS) for prompt in prompts]
                settings = {"max_new_tokens": self.longest, "eos_token_id": ends, "pad_token_id": tokenizer.pad_token_id}
                drawn = generate(policy.model, requests, generator=generator, **settings)
                texts = completion_texts(tokenizer, drawn.tokens, drawn.mask, ends)
                verdicts = judge.score([(part[place], text) for place, text in zip(drawn.request.tolist(), texts, strict=True)])
                answers = [written(row[:length], ends, special) for row, length in zip(drawn.tokens.tolist(), drawn.mask.sum(1).tolist(), strict=True)]
                for place, prompt in enumerate(prompts):
                    rows = range(place * ANSWERS, (place + 1) * ANSWERS)
                    scored = [(verdicts[row].value, answers[row]) for row in rows if verdicts[row].status == Status.OK and answers[row]]
                    if len({value for value, _ in scored}) > 1:
                        best, worst = max(scored, key=lambda item: item[0]), min(scored, key=lambda item: item[0])
                        found.append(TokenPair(tuple(prompt), best[1], worst[1]))
        finally:
            judge.close()
        return found

    def preferences(self, streams: Streams) -> TokenPairs:
        return TokenPairs(self._tokens_of("train"), self.tokenizer.pad_token_id, streams.device)

    def policy(self, net: Any, streams: Streams) -> Any:
        """As `TextWorld.policy`; of a `RewardHead`, a reward model on the model that training starts from."""
        return RewardModel(super().policy(None, streams).model.base_model) if isinstance(net, RewardHead) else super().policy(net, streams)

    def decoded_policy(self, policy: Any, decode: str, samples: int) -> Any:
        scored = "is scored by its held-out pairs, and not by completions of which a decoder could choose"
        raise BadInput(f"{self.task} {scored}; leave --decoder out (in Python decoder)")

    @torch.no_grad()
    def evaluate(self, policy: Any, seeds: int, *, episodes: int = HELD_OUT, seed: int = 0) -> Evaluation:
        """The share of the first `episodes` held-out pairs whose preferred answer has the larger reward, `values [1, pairs]`."""
        device = policy.device
        pairs = TokenPairs(self._tokens_of("test"), self.tokenizer.pad_token_id, device)
        count = min(episodes, pairs.size)
        if isinstance(policy, RewardModel):
            reward, details = self._by_pairs(policy, pairs, count), {}
        else:
            reward = self._by_pairs(policy, pairs, count) - self._reference(pairs)[:count]
            details = {} if self.from_file else {"pass@1": self.count_correct(policy, self.base_split, min(count, 128), ANSWERS, seed)[None] / ANSWERS}
        margin = reward[:, 0] - reward[:, 1]
        values = torch.where(margin.abs() <= TIE, 0.5, (margin > 0).double())
        return Evaluation(self.score, values.cpu().numpy()[None], details)

    def _by_pairs(self, policy: Any, pairs: TokenPairs, count: int) -> Tensor:
        """Rewards of a reward model, or log-probabilities of a policy, `[count, 2]`."""
        found = []
        for index in torch.arange(count, device=policy.device).split(32):
            rows = pairs.rows(index[None])
            replayed = policy.replay(rows.inputs, rows.action, ("reward",))
            found.append(replayed["reward"][0] if "reward" in replayed else (replayed["log_prob"] * rows.mask).sum(-1)[0])
        return torch.cat(found).view(-1, 2)

    def _reference(self, pairs: TokenPairs) -> Tensor:
        """What the policy that training starts from gives the held-out pairs, `[pairs, 2]`, measured once."""
        if self._reference_log_prob is None:
            self._reference_log_prob = self._by_pairs(self.policy(None, Streams([0])).to(pairs.device), pairs, pairs.size)
        return self._reference_log_prob

    def save_policy(self, policy: Any, folder: Path) -> None:
        """Write a policy as `TextWorld.save_policy`, a reward model as a model for sequence classification with one label."""
        if not isinstance(policy, RewardModel):
            return super().save_policy(policy, folder)
        from operant.worlds.text.models import save_reward_model

        save_reward_model(folder, policy, self.tokenizer)

    def load_policy(self, folder: Path) -> Any:
        from operant.worlds.text.models import is_reward_model, load_reward_model

        return load_reward_model(folder) if is_reward_model(folder) else super().load_policy(folder)
