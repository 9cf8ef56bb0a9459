"""The world of enumerable sequence problems, where evaluation is exact."""

from __future__ import annotations

from typing import Any

import torch

from operant.core.errors import BadInput, unknown
from operant.core.random import Streams
from operant.core.records import Evaluation
from operant.nets.language import TokenCritic
from operant.nets.tabular import TabularPolicy, prefix_count, prefix_index
from operant.worlds.base import SampleWorkers, World
from operant.worlds.names import TRANSFORMER
from operant.worlds.plans import Groups, Plan, Turns
from operant.worlds.sequences.preferences import SequencePairs
from operant.worlds.sequences.problems import PROBLEMS, SequenceProblem, make_problem
from operant.worlds.sequences.source import SequenceGroups, SequenceSource, evaluate

SHARPNESS, LEAST = 4.0, 0.01  # of teachers: exponent, and the least value that a choice counts as, of 0 to 1


class SequenceWorld(World):
    """One problem, with a tabular softmax policy (seeds stacked) or a one-layer transformer (one seed at a time).

    Args:
        problem: a `SequenceProblem`.
        name: how the task is called.
        transformer: train a one-layer transformer instead of a table.
    """

    kind = "sequences"
    step_unit = "iterations"
    answers = True
    exact = True
    default_steps = 200

    def __init__(self, problem: SequenceProblem, name: str, *, transformer: bool = False):
        self.problem, self.transformer = problem, transformer
        self.task = f"sequences:{name}{TRANSFORMER if transformer else ''}"
        self.stacked, self.longest = not transformer, problem.length
        self.score = "pass@1" if problem.binary else "reward"

    @classmethod
    def from_name(cls, name: str) -> SequenceWorld:
        base = name.removesuffix(TRANSFORMER)
        if base not in PROBLEMS:
            raise unknown("sequence problem", name, cls.names())
        return cls(make_problem(base), base, transformer=name.endswith(TRANSFORMER))

    @staticmethod
    def names() -> dict[str, str]:
        tables = dict.fromkeys(PROBLEMS, "exact truth, tabular policy")
        return tables | {f"{name}{TRANSFORMER}": "exact truth, one-layer transformer (extra: language)" for name in PROBLEMS}

    def fingerprint(self) -> str:
        return f"{self.task} {self.problem.rewards.sum().item()!r}"

    def policy(self, net: Any, streams: Streams) -> torch.nn.Module:
        critic = net if isinstance(net, TokenCritic) else None
        if not self.transformer:
            return TabularPolicy(self.problem, seeds=len(streams.seeds), critic=critic is not None)
        from operant.worlds.sequences.model import SequenceModelPolicy, sequence_model

        return SequenceModelPolicy(sequence_model(self.problem, streams.seeds[0]), self.problem, critic)

    def teacher(self, seeds: int = 1) -> TabularPolicy:
        """A good policy to follow, the same for every seed: `π(a | prefix) ∝ max(Q(prefix, a), LEAST)^SHARPNESS`.

        Q is the mean reward of the sequences that go on with a, under uniform choices; each prompt's rewards are first mapped to [0, 1].
        """
        problem = self.problem
        low, high = problem.rewards.amin(1, keepdim=True), problem.rewards.amax(1, keepdim=True)
        reward = (problem.rewards - low) / (high - low).clamp(min=1e-12)
        prefix, mask = prefix_index(problem, problem.sequences)
        # A sequence that ends early stands for all of its equally likely continuations.
        weight = float(problem.vocabulary) ** (problem.length - mask.sum(-1)).double()
        total = torch.zeros(problem.prompts, prefix_count(problem) * problem.vocabulary, dtype=torch.float64)
        count = torch.zeros_like(total)
        for step in range(problem.length):
            here = mask[:, step]
            choice = (prefix[:, step] * problem.vocabulary + problem.sequences[:, step])[here]
            total.index_add_(1, choice, (reward * weight)[:, here])
            count.index_add_(1, choice, weight[here].expand(problem.prompts, -1))
        policy = TabularPolicy(problem, seeds=seeds)
        with torch.no_grad():
            policy.logits.copy_(SHARPNESS * (total / count).clamp(min=LEAST).log().view(policy.logits.shape[1:]))
        return policy

    def check_source(self, plan: Any, seeds: int, workers: SampleWorkers | None) -> None:
        if not isinstance(plan, Plan | SequenceGroups):
            raise BadInput(f"{self.task} is sampled by prompts and sequences; this method's plan is {type(plan).__name__}")
        if isinstance(plan, Turns):
            raise BadInput(f"{self.task} does not reply: a method that takes turns needs a task that does (text:twenty-questions, text:lookup)")

    def check_teacher(self) -> None:
        """Every problem has one."""

    def check_preferences(self, net: Any) -> None:
        """Every problem has sequences to compare."""

    def preferences(self, streams: Streams) -> SequencePairs:
        return SequencePairs(self.problem, streams)

    def source(self, plan: Any, streams: Streams, *, workers: SampleWorkers | None = None) -> SequenceSource:
        """A source for a plan. Of plain `Groups`, the prompts and rows a prompt are taken, for all seeds at once."""
        if type(plan) is Groups:
            plan = SequenceGroups(plan.prompts, plan.n)
        self.check_source(plan, len(streams.seeds), workers)
        return SequenceSource(self.problem, plan, streams)

    def evaluate(self, policy: Any, seeds: int, *, episodes: int = 0, seed: int = 0) -> Evaluation:
        """Exact score of every prompt at temperature 1; nothing is drawn."""
        temperature, policy.temperature = policy.temperature, 1.0
        try:
            return evaluate(policy, self.problem)
        finally:
            policy.temperature = temperature

    def save_policy(self, policy: Any, folder: Any) -> None:
        from safetensors.torch import save_file

        save_file({name: value.contiguous() for name, value in policy.state_dict().items()}, folder / "policy.safetensors")

    def load_policy(self, folder: Any) -> Any:
        from safetensors.torch import load_file

        policy = self.policy(None, Streams([0]))
        policy.load_state_dict(load_file(folder / "policy.safetensors"))
        return policy
