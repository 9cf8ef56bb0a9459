"""What both sides of the language benches share: a Llama of 0.8M parameters made from a config, its tokenizer, the prompts, the reward and the memory meter."""

from __future__ import annotations

import resource
import sys

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from operant.nets.language import TokenPolicy
from operant.worlds.text import models
from operant.worlds.text.world import in_dtype

CHARACTERS = "0123456789+-*/=,;:.()<>?! abcd"  # with padding and end, 32 tokens: an untrained model writes 40 to 50 tokens before it ends
PROMPTS, GROUP = 8, 8  # a step: 64 completions
MICRO_BATCH = 32  # of which go through the model at once
LEARNING_RATE = 1e-9  # so small that answers stay as long as they are: else they grow short as they learn, on one side sooner than on the other
WARM_UP_STEPS = 3  # at the start, not timed


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Character level."""
    return models.make_tokenizer(CHARACTERS)


def make_model() -> PreTrainedModel:
    """Three layers of width 128, four heads: 0.8M parameters, always the same."""
    return models.make_model("llama", len(CHARACTERS) + 2, seed=0, width=128, layers=3, heads=4, positions=512)


def make_policy(dtype: str = "float32") -> TokenPolicy:
    """Our side's, which computes in `dtype`."""
    return in_dtype(TokenPolicy, make_model(), dtype)


def adapter() -> None:
    """None: every weight is trained."""


def make_prompts(count: int = 256) -> list[str]:
    """Sums of six digits, `count` of them, always the same."""
    generator = torch.Generator().manual_seed(0)
    return ["+".join(map(str, digits)) + "=" for digits in torch.randint(0, 10, (count, 6), generator=generator).tolist()]


def reward(completion: str) -> float:
    """Share of a completion's characters that are even digits: varies within every group, so that every step has a gradient."""
    return sum(c in "02468" for c in completion) / max(len(completion), 1)


def peak_memory_mib() -> float:
    """The most that this process had in memory since it began, imports and all."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2 ** (20 if sys.platform == "darwin" else 10), 1)
