"""Our GRPO, on the same tiny Llama, prompts and reward as TRL's side. Prints {"steps", "seconds", "score", "memory_mib"} as it does, and "parts"."""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

from operant.bench.peers import tiny_llama
from operant.core.processor import keep_freed_memory
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.nets.language import TokenPolicy
from operant.worlds.plans import Groups
from operant.worlds.text.source import TextSource
from operant.worlds.text.tasks import Problem
from operant.worlds.text.verifiers import InProcess


class Prompts:
    """The shared prompts as a task."""

    def __init__(self):
        self._prompts = tiny_llama.make_prompts()

    def problem(self, rng: np.random.Generator) -> Problem:
        return Problem(self._prompts[rng.integers(len(self._prompts))], answer="")


class World:
    """The shared model on the shared prompts.

    Args:
        longest: tokens of the longest answer.
    """

    stacked = False

    def __init__(self, longest: int):
        self.longest = longest

    def policy(self, net: None, streams: Streams) -> TokenPolicy:
        return TokenPolicy(tiny_llama.make_model())

    def source(self, plan: Groups, streams: Streams, *, workers: int) -> TextSource:
        judge = InProcess(lambda problem, completion: tiny_llama.reward(completion))
        return TextSource(Prompts(), tiny_llama.make_tokenizer(), plan, streams, judge, limit=self.longest)


class Stopwatch:
    """Seconds in calls of methods, by name."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    def watch(self, owner: object, name: str) -> None:
        call = getattr(owner, name)

        def timed(*arguments, **options):
            begin = time.perf_counter()
            try:
                return call(*arguments, **options)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin

        setattr(owner, name, timed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True, help="most tokens of a completion")
    given = parser.parse_args()
    keep_freed_memory()
    sizes = {"prompts": tiny_llama.PROMPTS, "group_size": tiny_llama.GROUP, "micro_batch": tiny_llama.MICRO_BATCH}
    method = get_method("grpo").build(configure("grpo", sizes | {"learning_rate": tiny_llama.LEARNING_RATE}))
    learner = method.learner(World(given.tokens), [0], tiny_llama.WARM_UP_STEPS + given.steps, torch.device("cpu"))
    stopwatch = Stopwatch()
    for _ in range(tiny_llama.WARM_UP_STEPS):
        learner.iterate()
    for owner, name in ((learner.source, "sample"), (learner.source, "score"), (learner.policy, "replay")):
        stopwatch.watch(owner, name)
    begin = time.perf_counter()
    rewards = [learner.iterate()["reward"].item() for _ in range(given.steps)]
    seconds = time.perf_counter() - begin
    learner.close()
    parts = stopwatch.seconds | {"update": seconds - sum(stopwatch.seconds.values())}  # backward passes and the optimiser: all the rest
    score = sum(rewards[-10:]) / len(rewards[-10:])
    print(json.dumps({"steps": given.steps, "seconds": seconds, "score": score, "memory_mib": tiny_llama.peak_memory_mib(), "parts": parts}))


if __name__ == "__main__":
    main()
