"""Our policy-gradient loop with GRPO's steps, on the same tiny Llama, prompts and reward as TRL's side. Prints {"steps", "seconds", "score"} as it does."""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

from operant import ops
from operant.bench.peers import tiny_llama
from operant.core.random import Streams
from operant.loops.credit import Grouped
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import ClippedRatio
from operant.nets.language import TokenPolicy
from operant.worlds.text.source import Groups, TextSource
from operant.worlds.text.tasks import Problem
from operant.worlds.text.verifiers import InProcess


class Prompts:
    """The shared prompts as a task."""

    def __init__(self):
        self._prompts = tiny_llama.make_prompts()

    def problem(self, rng: np.random.Generator) -> Problem:
        return Problem(self._prompts[rng.integers(len(self._prompts))], answer="")


class World:
    """The shared model on the shared prompts."""

    stacked = False

    def policy(self, net: None, streams: Streams) -> TokenPolicy:
        return TokenPolicy(tiny_llama.make_model())

    def source(self, plan: Groups, streams: Streams, *, workers: int) -> TextSource:
        return TextSource(Prompts(), tiny_llama.make_tokenizer(), plan, streams, InProcess(lambda problem, completion: tiny_llama.reward(completion)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, required=True)
    given = parser.parse_args()
    method = PolicyGradient(
        sample=Groups(tiny_llama.PROMPTS, tiny_llama.GROUP, tiny_llama.NEW_TOKENS),
        credit=Grouped(ops.group_normalized_advantage),
        terms=[ClippedRatio()],
        reduce="sequence-mean",
        learning_rate=tiny_llama.LEARNING_RATE,
        max_grad_norm=1.0,
    )
    learner = method.learner(World(), [0], tiny_llama.WARM_UP_STEPS + given.steps, torch.device("cpu"))
    for _ in range(tiny_llama.WARM_UP_STEPS):
        learner.iterate()
    begin = time.perf_counter()
    rewards = [learner.iterate()["reward"].item() for _ in range(given.steps)]
    seconds = time.perf_counter() - begin
    learner.close()
    print(json.dumps({"steps": given.steps, "seconds": seconds, "score": sum(rewards[-10:]) / len(rewards[-10:])}))


if __name__ == "__main__":
    main()
