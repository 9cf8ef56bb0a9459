"""What both sides of the GRPO bench share: a Llama of 0.8M parameters made from a config, its tokenizer, the prompts and the reward."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from operant.worlds.text import models

CHARACTERS = "0123456789+-*/=,;:.()<>?! abcd"  # with padding and end, 32 tokens: an untrained model writes 40 to 50 tokens before it ends
PROMPTS, GROUP = 8, 8  # a step: 64 completions
NEW_TOKENS = 64  # at most, a completion
LEARNING_RATE = 3e-4
WARM_UP_STEPS = 3  # at the start, not timed


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Character level."""
    return models.make_tokenizer(CHARACTERS)


def make_model() -> PreTrainedModel:
    """Three layers of width 128, four heads: 0.8M parameters, always the same."""
    return models.make_model("llama", len(CHARACTERS) + 2, seed=0, width=128, layers=3, heads=4)


def make_prompts(count: int = 256) -> list[str]:
    """Sums of six digits, `count` of them, always the same."""
    generator = torch.Generator().manual_seed(0)
    return ["+".join(map(str, digits)) + "=" for digits in torch.randint(0, 10, (count, 6), generator=generator).tolist()]


def reward(completion: str) -> float:
    """Share of a completion's characters that are even digits: varies within every group, so that every step has a gradient."""
    return sum(c in "02468" for c in completion) / max(len(completion), 1)
