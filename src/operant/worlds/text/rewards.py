"""Reward models as verifiers: `reward-model:FOLDER`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from operant.core.status import Status
from operant.worlds.text.verifiers import InProcess, Verdict

if TYPE_CHECKING:
    from operant.worlds.text.tasks import Problem

AT_ONCE = 64  # answers that go through the model together


class RewardVerifier(InProcess):
    """Scores completions by the reward that a model gives them, any real number.

    It reads the prompt as the model's tokenizer has it, through its chat template where there is one, and the completion with the end token behind it. What a
    reward above or below 0 means is the model's own affair: evaluations go by the task's own verifier, unless another one is named for them.

    Args:
        folder: of the model and its tokenizer: as `operant train reward-model` keeps them (RUN/policies/last/seed-0), or any model for sequence
            classification with one label, or its hub id. It is loaded when it first scores.
    """

    def __init__(self, folder: str | Path):
        super().__init__(self._reward)
        self.folder = str(Path(folder).resolve()) if Path(folder).is_dir() else str(folder)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from operant.worlds.text.models import load_reward_model, load_tokenizer

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return load_reward_model(self.folder).to(device).requires_grad_(False), load_tokenizer(self.folder)

    def _reward(self, problem: Problem, completion: str) -> float:
        return self.score([(problem, completion)])[0].value

    @torch.no_grad()
    def score(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        return [verdict for start in range(0, len(items), AT_ONCE) for verdict in self._rewards(items[start : start + AT_ONCE])]

    def _rewards(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        from operant.worlds.text.source import tokenize_prompts

        model, tokenizer = self._loaded
        device = model.head.device
        prompts = tokenize_prompts(tokenizer, [problem for problem, _ in items], chat=tokenizer.chat_template is not None)
        answers = [[*tokenizer.encode(completion, add_special_tokens=False), tokenizer.eos_token_id] for _, completion in items]
        lengths = [len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True)]
        pad = tokenizer.pad_token_id
        rows = [[*prompt, *answer, *[pad] * (max(lengths) - length)] for prompt, answer, length in zip(prompts, answers, lengths, strict=True)]
        starts = torch.tensor([[len(prompt) for prompt in prompts]], device=device)
        tokens, ends = torch.tensor([rows], device=device), torch.tensor([lengths], device=device)
        rewards = model.replay({"tokens": tokens, "prompt_length": starts, "length": ends}, tokens)["reward"][0].tolist()
        return [Verdict(reward, Status.OK, "") for reward in rewards]
