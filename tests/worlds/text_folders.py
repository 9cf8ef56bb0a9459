"""Tiny models of several families in folders, for the tests that start from a given model."""

import torch
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from operant.worlds.text.models import make_tokenizer
from operant.worlds.text.tasks import Arithmetic

TOKENS = 24  # more than the tokenizer has, as real models do
IDS = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
SIZES = {
    "vocab_size": TOKENS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
} | IDS
KINDS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=True)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES)),
    "gemma": lambda: GemmaForCausalLM(GemmaConfig(**SIZES)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=TOKENS, n_embd=32, n_layer=2, n_head=4, n_positions=64, **IDS)),
}


def folder_of(kind, folder, *, alphabet=Arithmetic.alphabet, change=lambda tokenizer: None):
    """A folder with a model of a family and a character tokenizer, which `change` may alter; weights large enough for distributions far from uniform."""
    generator = torch.Generator().manual_seed(11)
    with torch.random.fork_rng(devices=[]):
        model = KINDS[kind]()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not any(part in name for part in ("norm", "ln_")):
                parameter.normal_(0.0, 0.2, generator=generator)
    tokenizer = make_tokenizer(alphabet)
    change(tokenizer)
    path = folder / kind
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
