"""Our engine drawing completions of the tiny Llama. Prints {"steps", "seconds", "memory_mib"}; a step is a token."""

from __future__ import annotations

import argparse
import json
import time

import torch

from operant.bench.peers import tiny_llama
from operant.core.processor import keep_freed_memory
from operant.worlds.plans import Request
from operant.worlds.text.engine import generate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True, help="most tokens of a completion")
    given = parser.parse_args()
    keep_freed_memory()
    model, tokenizer = tiny_llama.make_model(), tiny_llama.make_tokenizer()
    generator, prompts = torch.Generator().manual_seed(0), tiny_llama.make_prompts()
    tokens = []
    for batch in range(-1, given.batches):  # the first is a warm-up
        if batch == 0:
            begin, tokens = time.perf_counter(), []
        ids = tokenizer(prompts[tiny_llama.PROMPTS * (batch + 1) : tiny_llama.PROMPTS * (batch + 2)])["input_ids"]
        drawn = generate(
            model,
            [Request(tuple(prompt), tiny_llama.GROUP) for prompt in ids],
            max_new_tokens=given.tokens,
            generator=generator,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        tokens.append(int(drawn.mask.sum()))
    print(json.dumps({"steps": sum(tokens), "seconds": time.perf_counter() - begin, "memory_mib": tiny_llama.peak_memory_mib()}))


if __name__ == "__main__":
    main()
