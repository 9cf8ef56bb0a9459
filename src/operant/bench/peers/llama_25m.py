"""As `tiny_llama`, of 25M parameters, for a GPU."""

from __future__ import annotations

from transformers import PreTrainedModel

from operant.bench.peers.tiny_llama import (
    CHARACTERS,
    GROUP,
    LEARNING_RATE,
    PROMPTS,
    WARM_UP_STEPS,
    adapter,
    make_prompts,
    make_tokenizer,
    peak_memory_mib,
    reward,
)
from operant.nets.language import TokenPolicy
from operant.worlds.text import models
from operant.worlds.text.world import in_dtype

__all__ = ["GROUP", "LEARNING_RATE", "PROMPTS", "WARM_UP_STEPS", "adapter", "make_prompts", "make_tokenizer", "peak_memory_mib", "reward"]

MICRO_BATCH = 64  # of the 64 completions of a step, all


def make_model() -> PreTrainedModel:
    """Six layers of width 512, eight heads, always the same."""
    return models.make_model("llama", len(CHARACTERS) + 2, seed=0, width=512, layers=6, heads=8, positions=512)


def make_policy(dtype: str = "float32") -> TokenPolicy:
    """Our side's, which computes in `dtype`."""
    return in_dtype(TokenPolicy, make_model(), dtype)
