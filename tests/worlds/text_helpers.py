"""Small models, requests and a slow reference, for the tests of the text world."""

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from operant.worlds.plans import Request
from operant.worlds.text.engine import generate

V, END, PAD = 24, 1, 0
SIZES = {"vocab_size": V, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
IDS = {"bos_token_id": None, "eos_token_id": END, "pad_token_id": PAD}
KINDS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, **IDS, num_key_value_heads=2, attention_bias=True, mlp_bias=True)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, **IDS, num_key_value_heads=4, tie_word_embeddings=True)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=V, n_embd=32, n_layer=2, n_head=4, n_positions=64, **IDS)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, **IDS, num_key_value_heads=1, sliding_window=None)),
}
REQUESTS = [
    Request((5, 6, 7, 8), 3, stop=(12, 13)),
    Request((9, 10), 4, stop=(3, 14)),
    Request((5, 6, 7, 8), 2),
    Request((2, 3, 4, 5, 6, 7, 8, 9, 11), 12, stop=(15, 16, 17)),
]


def make(kind: str):
    """A model with weights large enough that its distributions are far from uniform."""
    generator = torch.Generator().manual_seed(11)
    with torch.random.fork_rng(devices=[]):
        model = KINDS[kind]()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name or "ln_" in name else 0.0, 0.3, generator=generator)
    return model


def draw(model, requests=REQUESTS, seed=0, **options):
    options = {"max_new_tokens": 20, "eos_token_id": END, "pad_token_id": PAD, "generator": torch.Generator().manual_seed(seed)} | options
    return generate(model, requests, **options)


def slow(model, generation, temperature):
    """Log-probability and entropy of every recorded token by one plain forward pass a row, in float64."""
    log_probs, entropies = torch.zeros(2, *generation.tokens.shape, dtype=torch.float64)
    for row, request in enumerate(generation.request.tolist()):
        prompt, length = list(generation.prompts[request]), int(generation.mask[row].sum())
        ids = torch.tensor([prompt + generation.tokens[row, :length].tolist()])
        with torch.no_grad():
            log_p = (model.eval()(ids).logits[0].double() / temperature).log_softmax(-1)
        for t in range(length):
            here = log_p[len(prompt) + t - 1]
            log_probs[row, t] = here[generation.tokens[row, t]]
            entropies[row, t] = -(here.exp() * here).sum()
    return log_probs, entropies
