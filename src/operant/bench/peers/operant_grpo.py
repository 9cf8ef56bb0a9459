"""Our GRPO, on the same model, prompts and reward as TRL's side. Prints what it prints, and "parts"."""

from __future__ import annotations

import argparse
import importlib
import json
import time
from types import ModuleType

import numpy as np
import torch

from operant.core.graphs import Execution
from operant.core.processor import keep_freed_memory
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.loops.learner import Learner
from operant.nets.language import TokenPolicy
from operant.worlds.base import World
from operant.worlds.plans import Groups
from operant.worlds.text.source import TextSource
from operant.worlds.text.tasks import Problem, TextTask
from operant.worlds.text.verifiers import InProcess
from operant.worlds.text.vllm import Vllm


class Prompts(TextTask):
    """The shared prompts as a task; they have no answers, and none is held out."""

    splits = ()

    def __init__(self, prompts: list[str]):
        self._prompts = prompts

    def problem(self, rng: np.random.Generator) -> Problem:
        return Problem(self._prompts[rng.integers(len(self._prompts))], answer="")

    def held_out(self, split: str, count: int) -> list[Problem]:
        return []


class ModelWorld(World):
    """The shared model on the shared prompts.

    Args:
        shared: what makes the model, the prompts and the reward.
        longest: tokens of the longest answer.
        dtype: "float32" or "bfloat16", what the model computes in.
        engine: what draws, of the library's own engine's name and vLLM's.
    """

    answers = True
    stacked = False

    def __init__(self, shared: ModuleType, longest: int, dtype: str, engine: str):
        self.shared, self.longest, self.dtype, self.engine = shared, longest, dtype, engine
        self.lengths: list[int] = []

    def policy(self, net: None, streams: Streams) -> TokenPolicy:
        return self.shared.make_policy(self.dtype)

    def source(self, plan: Groups, streams: Streams, *, workers: int) -> TextSource:
        def reward(problem: Problem, completion: str) -> float:
            self.lengths.append(len(completion))
            return self.shared.reward(completion)

        judge, engine = InProcess(reward), Vllm(self.dtype, plan.iteration_rows) if self.engine == "vllm" else None
        return TextSource(Prompts(self.shared.make_prompts()), self.shared.make_tokenizer(), plan, streams, judge, limit=self.longest, engine=engine)


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


def made(model: str, tokens: int, dtype: str, engine: str, device: str, steps: int, *, cuda_graphs: bool) -> tuple[Learner, ModuleType]:
    """The learner, and what makes its model. Arguments as on the command line."""
    shared = importlib.import_module(f"operant.bench.peers.{model}")
    keep_freed_memory()
    sizes = {"prompts": shared.PROMPTS, "group_size": shared.GROUP, "micro_batch": shared.MICRO_BATCH}
    method = get_method("grpo").build(configure("grpo", sizes | {"learning_rate": shared.LEARNING_RATE}))
    if cuda_graphs:
        method = method.executed_by(Execution(cuda_graphs=True))
    world = ModelWorld(shared, tokens, dtype, engine)
    return method.learner(world, [0], shared.WARM_UP_STEPS + steps, torch.device(device)), shared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny_llama", help="the module beside this one that makes it")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True, help="most tokens of a completion")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="what is computed in")
    parser.add_argument("--engine", default="operant", choices=("operant", "vllm"), help="what draws")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cuda-graphs", action="store_true", help="a token's step is captured")
    given = parser.parse_args()
    learner, shared = made(given.model, given.tokens, given.dtype, given.engine, given.device, given.steps, cuda_graphs=given.cuda_graphs)
    world = learner.world
    stopwatch = Stopwatch()
    for _ in range(shared.WARM_UP_STEPS):
        learner.iterate()
    for owner, name in ((learner.source, "sample"), (learner.source, "score"), (learner.policy, "replay")):
        stopwatch.watch(owner, name)
    begin = time.perf_counter()
    rewards = [learner.iterate()["reward"].item() for _ in range(given.steps)]
    seconds = time.perf_counter() - begin
    learner.close()
    parts = stopwatch.seconds | {"update": seconds - sum(stopwatch.seconds.values())}  # backward passes and the optimiser: all the rest
    score, timed = sum(rewards[-10:]) / len(rewards[-10:]), world.lengths[-given.steps * shared.PROMPTS * shared.GROUP :]
    told = {"steps": given.steps, "seconds": seconds, "score": score, "memory_mib": shared.peak_memory_mib(), "answer_length": sum(timed) / len(timed)}
    print(json.dumps(told | {"parts": parts}))


if __name__ == "__main__":
    main()
