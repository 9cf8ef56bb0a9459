"""Sequence problems so small that every sequence can be written down.

A prompt is a number, a sequence is at most five tokens out of at most six, and the reward is a table. What a method estimates from samples, `exact` computes
here by summing over all sequences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from operant.core.errors import BadInput, unknown
from operant.core.records import Rollout
from operant.core.seeds import derive_seed
from operant.core.status import Status
from operant.nets.tabular import prefix_index

MAX_VOCABULARY = 6
MAX_LENGTH = 5
MAX_PROMPTS = 64


class Policy(Protocol):
    """What the exact computations and the source ask of a policy (`TabularPolicy`, `SequenceModelPolicy`)."""

    seeds: int

    def replay(self, inputs: dict[str, Tensor], action: Tensor, needs=()) -> dict[str, Tensor]: ...

    def sample(self, prompt: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...

    def named_parameters(self): ...


def _check_size(what: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        near = int(min(max(value, low), high)) if isinstance(value, int | float | np.number) and not np.isnan(value) else low
        raise BadInput(f"sequence problem: {what} is {value!r}, must be an integer from {low} to {high}; nearest: {near}")


def enumerate_sequences(vocabulary: int, length: int, stops: bool) -> Tensor:
    """All sequences, in lexicographic order.

    Args:
        vocabulary: number of tokens, 2 to 6.
        length: largest number of choices, 1 to 5.
        stops: token 0 ends a sequence. Otherwise every sequence has `length` tokens.

    Returns:
        `[M, length]` int64, 0 after the end token. M is `vocabulary ** length` without stops; with them `b ** length` plus the sum of `b ** i` for i below
        `length`, where b is `vocabulary - 1`.

    Raises:
        BadInput: a size out of range.
    """
    _check_size("vocabulary", vocabulary, 2, MAX_VOCABULARY)
    _check_size("length", length, 1, MAX_LENGTH)
    every = torch.tensor(list(product(range(vocabulary), repeat=length)), dtype=torch.int64)
    if stops:
        before = (every == 0).cumsum(-1) - (every == 0).long()
        every = every[((before == 0) | (every == 0)).all(-1)]
    return every


class SequenceProblem:
    """An enumerable problem: prompts, sequences and a table of rewards.

    Args:
        vocabulary: number of tokens V, 2 to 6.
        length: largest number of choices L, 1 to 5.
        prompts: number of prompts P, 1 to 64.
        reward: a table `[P, M]` in the order of `enumerate_sequences`, or a callable `(prompt, tokens) -> float` where `tokens` is the tuple of chosen tokens
            (with the end token 0 last, where there is one).
        stops: token 0 ends a sequence.

    Attributes:
        sequences: `[M, L]` int64, all sequences in lexicographic order, 0 after the end token.
        mask: `[M, L]` True where a token is chosen.
        rewards: `[P, M]` float64.
        binary: every reward is 0 or 1, so that pass@k has a meaning.

    Raises:
        BadInput: a size out of range, a table of another shape, a reward that is not finite.
    """

    def __init__(
        self,
        vocabulary: int,
        length: int,
        prompts: int,
        reward: Callable[[int, tuple[int, ...]], float] | Tensor | np.ndarray | list,
        *,
        stops: bool = False,
    ):
        self.sequences = enumerate_sequences(vocabulary, length, stops)
        _check_size("number of prompts", prompts, 1, MAX_PROMPTS)
        self.vocabulary, self.length, self.prompts, self.stops = int(vocabulary), int(length), int(prompts), bool(stops)
        self.mask = prefix_index(self, self.sequences)[1]
        if callable(reward):
            chosen = [tuple(tokens[mask].tolist()) for tokens, mask in zip(self.sequences, self.mask, strict=True)]
            reward = [[float(reward(prompt, tokens)) for tokens in chosen] for prompt in range(prompts)]
        try:
            self.rewards = torch.tensor(np.asarray(reward, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise BadInput(f"sequence problem: the reward table is not an array of numbers: {error}") from error
        expected = (self.prompts, len(self.sequences))
        if self.rewards.shape != expected:
            raise BadInput(f"sequence problem: the reward table has shape {tuple(self.rewards.shape)}, must be [prompts, sequences] = {expected}")
        if not self.rewards.isfinite().all():
            prompt, index = (~self.rewards.isfinite()).nonzero()[0].tolist()
            tokens = self.sequences[index][self.mask[index]].tolist()
            raise BadInput(f"sequence problem: the reward of prompt {prompt}, tokens {tokens} is {self.rewards[prompt, index].item()}, must be a finite number")
        self.binary = bool(((self.rewards == 0) | (self.rewards == 1)).all())
        self._place = self.vocabulary ** torch.arange(self.length - 1, -1, -1)
        self._index = torch.full((self.vocabulary**self.length,), -1)
        self._index[self.sequences @ self._place] = torch.arange(len(self.sequences))

    def index(self, action: Tensor) -> Tensor:
        """Which of `sequences` each row is: tokens `[..., L]` (anything after the end token) to `[...]` int64 in [0, M)."""
        chosen = action.cpu() * prefix_index(self, action.cpu())[1]
        return self._index[(chosen * self._place).sum(-1)].to(action.device)

    def reward(self, prompt: Tensor, action: Tensor) -> Tensor:
        """Rewards `[...]` float64 of tokens `[..., L]` under prompts `[...]`."""
        return self.rewards.to(action.device)[prompt, self.index(action)]

    def pack(self, prompt: Tensor, action: Tensor, log_prob: Tensor, n: int, version: int) -> Rollout:
        """The record of sequences that are not scored yet.

        Args:
            prompt: `[S, N]` int64.
            action: `[S, N, L]` int64.
            log_prob: the behaviour policy's, `[S, N, L]`.
            n: rows a group; rows of a group stand side by side.
            version: of the weights that acted.
        """
        mask = prefix_index(self, action)[1]
        group = torch.arange(prompt.shape[1] // n, device=prompt.device).repeat_interleave(n).expand(prompt.shape)
        return Rollout(
            inputs={"prompt": prompt},
            action=action,
            log_prob=log_prob,
            mask=mask,
            reward=torch.zeros_like(log_prob),
            terminated=last_step(mask),
            truncated=torch.zeros_like(mask),
            group=group,
            status=torch.full_like(prompt, Status.OK),
            version=version,
        )

    def score(self, rollout: Rollout) -> Rollout:
        """The record with each row's reward on its last chosen step."""
        reward = self.reward(rollout.inputs["prompt"], rollout.action).to(rollout.log_prob.dtype)
        return replace(rollout, reward=reward.unsqueeze(-1) * last_step(rollout.mask))


def last_step(mask: Tensor) -> Tensor:
    """True at the last chosen step of each row, `[..., T]` from a mask `[..., T]` whose chosen steps come first."""
    return mask & ~torch.cat([mask[..., 1:], torch.zeros_like(mask[..., :1])], -1)


def parity() -> SequenceProblem:
    """Five bits; right when their sum has the parity of the prompt (0 or 1). A uniform policy passes half of the time, and only the last bit decides."""
    return SequenceProblem(2, 5, 2, lambda prompt, tokens: float(sum(tokens) % 2 == prompt))


def target() -> SequenceProblem:
    """Three of three tokens, four prompts; one sequence a prompt is right. A uniform policy passes once in 27."""

    def reward(prompt: int, tokens: tuple[int, ...]) -> float:
        return float(tokens == tuple((7 * prompt + 5) // 3**place % 3 for place in (2, 1, 0)))

    return SequenceProblem(3, 3, 4, reward)


def sum_mod() -> SequenceProblem:
    """Four digits of 0 to 4, five prompts; right when the digits' sum modulo 5 is the prompt. A uniform policy passes once in five."""
    return SequenceProblem(5, 4, 5, lambda prompt, tokens: float(sum(tokens) % 5 == prompt))


def graded() -> SequenceProblem:
    """Four of four tokens, four prompts; the share of tokens that are the prompt's, 0 to 1."""
    return SequenceProblem(4, 4, 4, lambda prompt, tokens: sum(token == (prompt + step) % 4 for step, token in enumerate(tokens)) / 4)


def length() -> SequenceProblem:
    """Token 0 ends, at most five tokens of three, two prompts; the reward is the number of tokens before the end, divided by 5. Shows a bias for length."""
    return SequenceProblem(3, 5, 2, lambda prompt, tokens: sum(token != 0 for token in tokens) / 5, stops=True)


def random() -> SequenceProblem:
    """Token 0 ends, at most four of four tokens, three prompts; rewards drawn once, uniform in [-1, 1)."""
    draws = np.random.default_rng(derive_seed(0, "sequences", "random"))
    return SequenceProblem(4, 4, 3, draws.uniform(-1, 1, (3, len(enumerate_sequences(4, 4, True)))), stops=True)


PROBLEMS: dict[str, Callable[[], SequenceProblem]] = {
    "parity": parity,
    "target": target,
    "sum-mod": sum_mod,
    "graded": graded,
    "length": length,
    "random": random,
}


def make_problem(name: str) -> SequenceProblem:
    """The built-in problem of the task `sequences:NAME`. Unknown: BadInput with the nearest name."""
    if name not in PROBLEMS:
        raise unknown("sequence problem", name, PROBLEMS)
    return PROBLEMS[name]()
