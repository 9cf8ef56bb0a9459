"""`model.generate` drawing completions of the tiny Llama. Prints {"steps", "seconds", "memory_mib"}; a step is a token."""

from __future__ import annotations

import argparse
import json
import time

import torch

from operant.bench.peers import tiny_llama


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True, help="most tokens of a completion")
    given = parser.parse_args()
    model, tokenizer, prompts = tiny_llama.make_model(), tiny_llama.make_tokenizer(), tiny_llama.make_prompts()
    torch.manual_seed(0)
    tokens = []
    for batch in range(-1, given.batches):  # the first is a warm-up
        if batch == 0:
            begin, tokens = time.perf_counter(), []
        chosen = prompts[tiny_llama.PROMPTS * (batch + 1) : tiny_llama.PROMPTS * (batch + 2)]
        prompt = tokenizer([text for text in chosen for _ in range(tiny_llama.GROUP)], return_tensors="pt", return_token_type_ids=False)
        with torch.no_grad():
            drawn = model.generate(
                **prompt,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=given.tokens,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )[:, prompt["input_ids"].shape[1] :]
        ended = drawn == tokenizer.eos_token_id
        tokens.append(int((ended.cumsum(1) - ended.long() == 0).sum()))  # up to and with the end token
    print(json.dumps({"steps": sum(tokens), "seconds": time.perf_counter() - begin, "memory_mib": tiny_llama.peak_memory_mib()}))


if __name__ == "__main__":
    main()
