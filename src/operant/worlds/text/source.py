"""Rollouts of a language policy on a text task, their scores, and evaluation on held-out problems."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from operant.core.errors import BadInput
from operant.core.random import Streams, derive_seed
from operant.core.records import Rollout, Status
from operant.nets.language import TokenPolicy, generation_to_inputs
from operant.worlds.text.engine import Request, generate
from operant.worlds.text.plan import Groups
from operant.worlds.text.tasks import Problem, TextTask
from operant.worlds.text.verifiers import Scorer, Verdict, Verifier, scorer

EVALUATION_ROWS = 512  # completions that an evaluation generates at once


class TextSource:
    """Problems of a task, completed by a policy and scored by a verifier. One seed (S is 1), one step an iteration.

    The i-th problem depends on the seed and on i alone, so a rollout names its problems by number (`rollout.group`), and the state is a cursor and a generator.

    Args:
        task: where problems come from.
        tokenizer: of the policy's model.
        plan: how many problems and completions.
        streams: the run's random streams; stream "text/tokens" draws the tokens.
        verifier: what scores; the task's own where None. An untrusted one runs in child processes (`scorer`).
    """

    resume = "bitwise"
    steps_per_sample = 1

    def __init__(self, task: TextTask, tokenizer: PreTrainedTokenizerBase, plan: Groups, streams: Streams, verifier: Verifier | Scorer | str | None = None):
        if len(streams.seeds) != 1:
            raise BadInput(f"a language policy is trained one seed at a time; {len(streams.seeds)} seeds were given to one source")
        self.task, self.tokenizer, self.plan = task, tokenizer, plan
        self._scorer = scorer(task.verifier if verifier is None else verifier)
        self._seed = streams.seeds[0]
        self._generator = streams.torch_generators("text/tokens")[0]
        self._max_new_tokens = plan.max_new_tokens or task.longest_completion + 1
        self._cursor = 0
        self.problem = lru_cache(maxsize=4 * plan.prompts)(self._problem)

    def _problem(self, index: int) -> Problem:
        """The training problem of number `index`."""
        return self.task.problem(np.random.default_rng(derive_seed(self._seed, "text/problem", index)))

    def sample(self, policy: TokenPolicy, version: int) -> Rollout:
        """Completions of the next `plan.prompts` problems, with log-probability and entropy as drawn; the rewards are still 0.

        A row terminates with its end token and is truncated where it was cut at the limit.
        """
        plan = self.plan
        if policy.temperature != plan.temperature:
            raise BadInput(f"the plan samples at temperature {plan.temperature}, the policy is trained at {policy.temperature}; they must be the same")
        indices = range(self._cursor, self._cursor + plan.prompts)
        self._cursor += plan.prompts
        requests = _requests(self.tokenizer, [self.problem(index) for index in indices], plan.n)
        generation = generate(
            policy.model,
            requests,
            max_new_tokens=self._max_new_tokens,
            temperature=plan.temperature,
            generator=self._generator,
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        mask = generation.mask
        last = torch.arange(mask.shape[1], device=mask.device) == mask.sum(1, keepdim=True) - 1
        finished = generation.finished.unsqueeze(1)
        return Rollout(
            inputs=generation_to_inputs(generation, self.tokenizer.pad_token_id),
            action=generation.tokens[None],
            log_prob=generation.log_prob[None],
            mask=mask[None],
            reward=torch.zeros_like(generation.log_prob)[None],
            terminated=(last & finished)[None],
            truncated=(last & ~finished)[None],
            group=(generation.request + indices.start)[None],
            status=torch.zeros(1, len(mask), dtype=torch.int64, device=mask.device),
            version=version,
            extras={"entropy": generation.entropy[None]},
        )

    def score(self, rollout: Rollout) -> Rollout:
        """The rollout with each row's reward on its last step, and its status. Where the status is not OK the reward stays 0 and means nothing."""
        texts = completion_texts(self.tokenizer, rollout.action[0], rollout.mask[0])
        verdicts = self._scorer.score([(self.problem(index), text) for index, text in zip(rollout.group[0].tolist(), texts, strict=True)])
        device = rollout.mask.device
        ok = [verdict.status == Status.OK for verdict in verdicts]
        value = torch.tensor([verdict.value if good else 0.0 for verdict, good in zip(verdicts, ok, strict=True)], device=device)
        rollout.status = torch.tensor([[int(verdict.status) for verdict in verdicts]], device=device)
        rollout.reward = (rollout.terminated | rollout.truncated) * value.unsqueeze(1)
        return rollout

    def metrics(self, rollout: Rollout) -> dict[str, Tensor]:
        """Means of a scored rollout, `[1]` each, on the CPU.

        "reward": of rows whose scoring did not fail; "groups_alike": share of groups whose rewards are all the same; "length": tokens; "ended": share of rows
        that ended by themselves.
        """
        mask, ok = rollout.mask, rollout.status == int(Status.OK)
        reward = rollout.reward.sum(-1)
        groups = [reward[0, (rollout.group[0] == group) & ok[0]] for group in rollout.group[0].unique()]
        alike = torch.tensor([[float(len(group) == 0 or bool((group == group[0]).all())) for group in groups]])
        return {
            "reward": ((reward * ok).sum(-1) / ok.sum(-1).clamp(min=1)).cpu(),
            "groups_alike": alike.mean(-1),
            "length": mask.sum(-1).float().mean(-1).cpu(),
            "ended": rollout.terminated.any(-1).float().mean(-1).cpu(),
        }

    def describe(self, rollout: Rollout, rows: Sequence[int]) -> list[dict]:
        """Rows of a scored rollout for people to read, as JSON values: group, prompt, reward, status, and the tokens.

        Each token has its text, log-probability, advantage (None before credit), entropy and mask.
        """
        described = []
        advantage = rollout.extras.get("advantage")
        for row in rows:
            length = int(rollout.inputs["length"][0, row] - rollout.inputs["prompt_length"][0, row])
            figures = {
                "log_prob": rollout.log_prob[0, row, :length].tolist(),
                "advantage": [None] * length if advantage is None else advantage[0, row, :length].tolist(),
                "entropy": rollout.extras["entropy"][0, row, :length].tolist(),
                "mask": rollout.mask[0, row, :length].tolist(),
            }
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
        return {"cursor": self._cursor, "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict) -> None:
        self._cursor = state["cursor"]
        self._generator.set_state(state["generator"])

    def close(self) -> None:
        """End the verifier's processes."""
        self._scorer.close()


def completion_texts(tokenizer: PreTrainedTokenizerBase, tokens: Tensor, mask: Tensor) -> list[str]:
    """The text of each row of `tokens [R, T]` where `mask [R, T]`, without special tokens."""
    lengths = mask.sum(1).tolist()
    return tokenizer.batch_decode([row[:length] for row, length in zip(tokens.tolist(), lengths, strict=True)], skip_special_tokens=True)


def _requests(tokenizer: PreTrainedTokenizerBase, problems: Sequence[Problem], n: int) -> list[Request]:
    return [Request(tuple(ids), n) for ids in tokenizer([problem.prompt for problem in problems])["input_ids"]]


def evaluate_policy(
    policy: TokenPolicy,
    problems: Sequence[Problem],
    tokenizer: PreTrainedTokenizerBase,
    *,
    samples: int,
    max_new_tokens: int,
    seed: int,
    verifier: Verifier | Scorer | str,
) -> np.ndarray:
    """How many of `samples` completions of each problem, drawn at temperature 1, are right.

    Right is a value above 0.5; a completion whose scoring failed is not right.

    Args:
        seed: of the draws; the same seed and policy give the same counts.
        verifier: what scores; a scorer given here is left open.

    Returns:
        Counts `[P]` int64, from 0 to `samples`.
    """
    if samples < 1 or not problems:
        raise BadInput(f"evaluation: {len(problems)} problems and samples={samples}; both are at least 1")
    generator = torch.Generator().manual_seed(derive_seed(seed, "text/evaluation"))
    judge = scorer(verifier)
    at_once = max(1, EVALUATION_ROWS // samples)
    counts = []
    try:
        for start in range(0, len(problems), at_once):
            part = problems[start : start + at_once]
            generation = generate(
                policy.model,
                _requests(tokenizer, part, samples),
                max_new_tokens=max_new_tokens,
                generator=generator,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
            texts = completion_texts(tokenizer, generation.tokens, generation.mask)
            verdicts: list[Verdict] = judge.score([(part[index], text) for index, text in zip(generation.request.tolist(), texts, strict=True)])
            right = np.array([verdict.status == Status.OK and verdict.value > 0.5 for verdict in verdicts])
            counts.append(right.reshape(len(part), samples).sum(1))
    finally:
        if judge is not verifier:
            judge.close()
    return np.concatenate(counts).astype(np.int64)
