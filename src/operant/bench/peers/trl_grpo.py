"""TRL's GRPOTrainer on a model that both sides share. Prints {"steps", "seconds", "score", "memory_mib", "answer_length"}: steps after the warm-up, their time,
the last mean reward, and the characters of an answer in their mean."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sys
import tempfile
import time

from datasets import Dataset
from transformers import TrainerCallback
from transformers.utils import logging
from trl import GRPOConfig, GRPOTrainer


class Clock(TrainerCallback):
    """The time at the end of every optimiser step."""

    def __init__(self):
        self.ends: list[float] = []

    def on_step_end(self, args, state, control, **kwargs):
        self.ends.append(time.perf_counter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny_llama", help="the module beside this one that makes it")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True, help="most tokens of a completion")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="on a GPU it computes in bfloat16")
    given = parser.parse_args()
    shared = importlib.import_module(f"operant.bench.peers.{given.model}")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    clock, lengths = Clock(), []

    def reward(completions: list[str], **_) -> list[float]:
        lengths.extend(map(len, completions))
        return [shared.reward(text) for text in completions]

    with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stdout(sys.stderr):
        config = GRPOConfig(
            output_dir=directory,
            use_cpu=given.device == "cpu",
            bf16=given.device == "cuda",
            gradient_checkpointing=False,  # the trainer's default saves memory and costs time; the peer gets its faster setting
            per_device_train_batch_size=shared.MICRO_BATCH,
            gradient_accumulation_steps=shared.PROMPTS * shared.GROUP // shared.MICRO_BATCH,
            num_generations=shared.GROUP,
            max_completion_length=given.tokens,
            learning_rate=shared.LEARNING_RATE,
            lr_scheduler_type="constant",
            temperature=1.0,
            beta=0.0,
            loss_type="grpo",
            max_steps=shared.WARM_UP_STEPS + given.steps,
            logging_steps=10,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
            seed=0,
        )
        trainer = GRPOTrainer(
            model=shared.make_model(),
            processing_class=shared.make_tokenizer(),
            reward_funcs=reward,
            args=config,
            train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in shared.make_prompts()]),
            peft_config=shared.adapter(),
            callbacks=[clock],
        )
        trainer.train()
    seconds = clock.ends[-1] - clock.ends[shared.WARM_UP_STEPS - 1]
    rewards = [row["reward"] for row in trainer.state.log_history if "reward" in row]
    score = rewards[-1] if rewards else None
    timed = lengths[-given.steps * shared.PROMPTS * shared.GROUP :]
    told = {"steps": given.steps, "seconds": seconds, "score": score, "memory_mib": shared.peak_memory_mib(), "answer_length": sum(timed) / len(timed)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
