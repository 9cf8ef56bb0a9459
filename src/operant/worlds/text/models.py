"""Tokenizers and small language models made from a config and a seed, and loading and saving in the Hugging Face format (safetensors only)."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.utils import logging

from operant.core.errors import BadInput, unknown

logging.disable_progress_bar()  # models here load in milliseconds; the run has a display of its own

PAD, END = "<pad>", "<eos>"
ARCHITECTURES = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}


def make_tokenizer(alphabet: str) -> PreTrainedTokenizerFast:
    """A tokenizer with one token a character: 0 pads, 1 ends, then the characters of `alphabet` in their order.

    It has no unknown token: encoding a character outside the alphabet raises.

    Raises:
        BadInput: the alphabet is empty or names a character twice.
    """
    if not alphabet or len(set(alphabet)) != len(alphabet):
        twice = sorted({c for c in alphabet if alphabet.count(c) > 1})
        raise BadInput(f"tokenizer: the alphabet {alphabet!r} " + (f"names {twice[0]!r} twice" if twice else "is empty; give at least one character"))
    vocabulary = {token: index for index, token in enumerate([PAD, END, *alphabet])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, clean_up_tokenization_spaces=False)


def make_model(
    architecture: str,
    vocabulary: int,
    seed: int,
    *,
    width: int = 96,
    layers: int = 3,
    heads: int = 4,
    positions: int = 256,
    pad_token_id: int = 0,
    eos_token_id: int = 1,
) -> PreTrainedModel:
    """A small causal language model with weights drawn from `seed`; the global generators are left as they were. The defaults make 0.45M parameters.

    Args:
        architecture: "llama" or "qwen2".
        vocabulary: number of tokens.
        width: hidden size; the feed-forward layers are four times as wide.
        heads: attention heads, a divisor of `width` with an even quotient (rotary embeddings turn pairs).
        positions: longest sequence, in tokens.

    Raises:
        BadInput: unknown architecture, or sizes that do not fit together.
    """
    if architecture not in ARCHITECTURES:
        raise unknown("architecture", architecture, ARCHITECTURES)
    if min(vocabulary, width, layers, heads, positions) < 1 or width % (2 * heads):
        raise BadInput(f"model: width={width} with heads={heads} and layers={layers}: sizes are at least 1 and width is a multiple of 2 x heads")
    config_class, model_class = ARCHITECTURES[architecture]
    config = config_class(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=positions,
        pad_token_id=pad_token_id,
        eos_token_id=eos_token_id,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also move the accelerators' generators, which fork_rng does not restore here
        return model_class(config).eval()


def load_model(path_or_hub_id: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Any Hugging Face causal language model with its tokenizer, from a folder or the hub. Only safetensors are read, and no code of the repository runs.

    A tokenizer without a padding token pads with its end token.

    Raises:
        BadInput: there is no such model, or it cannot be loaded this way.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(path_or_hub_id, use_safetensors=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(path_or_hub_id, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInput(f"language model {str(path_or_hub_id)!r} cannot be loaded: {reason}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.eval(), tokenizer


def save_policy(path: str | Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write model and tokenizer to the folder `path` in the Hugging Face format; `from_pretrained(path)` and `load_model(path)` read them back."""
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
