"""What both sides of the GRPO bench share: a Llama of 0.8M parameters made from a config, its tokenizer, the prompts and the reward."""

from __future__ import annotations

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHARACTERS = "0123456789+-*/=,;:.()<>?! abcd"  # with padding and end, 32 tokens
COMPLETIONS = 64  # a step: PROMPTS groups of GROUP
GROUP = 8
NEW_TOKENS = 64  # at most, a completion
LEARNING_RATE = 3e-4
TIMED_STEPS = 20
WARM_UP_STEPS = 3  # at the start, not timed


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Character level; padding is token 0, end of sequence token 1."""
    vocabulary = {token: index for index, token in enumerate(["[pad]", "[eos]", *CHARACTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[pad]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[pad]", eos_token="[eos]", padding_side="left")


def make_model(seed: int = 0) -> LlamaForCausalLM:
    """Four layers of width 128, four heads; weights drawn from `seed` without moving the global generator."""
    config = LlamaConfig(
        vocab_size=len(CHARACTERS) + 2,
        hidden_size=128,
        intermediate_size=344,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def make_prompts(count: int = 256) -> list[str]:
    """Sums of six digits, `count` of them, always the same."""
    generator = torch.Generator().manual_seed(0)
    return ["+".join(map(str, digits)) + "=" for digits in torch.randint(0, 10, (count, 6), generator=generator).tolist()]


def reward(completion: str) -> float:
    """Share of a completion's characters that are even digits: varies within every group, so that every step has a gradient."""
    return sum(c in "02468" for c in completion) / max(len(completion), 1)
