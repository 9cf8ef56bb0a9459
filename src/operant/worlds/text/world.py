"""The world of text tasks: a problem set, a verifier, and a language model as the policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from operant.core.errors import BadInput, unknown
from operant.core.random import Streams, derive_seed
from operant.core.records import Evaluation
from operant.nets.language import TokenPolicy
from operant.worlds.text.tasks import TEXT_TASKS

if TYPE_CHECKING:
    from operant.worlds.text.source import Answers

SAMPLES = 16  # completions a problem in an evaluation: pass@k up to this k


class TextWorld:
    """One text task.

    Args:
        name: a key of `TEXT_TASKS`.
        verifier: what rewards completions in training instead of the task's own (evaluation keeps that): a
            callable `(problem, completion) → float`, or "module:function". Unless it says that it is
            `trusted`, it runs in child processes with limits, and must be importable there.

    Attributes:
        base: folder of the policy that training starts from, in the Hugging Face format; None for fresh weights.
    """

    kind = "text"
    stacked = False
    score = "pass@1"
    step_unit = "iterations"

    def __init__(self, name: str, verifier: Any = None):
        if name not in TEXT_TASKS:
            raise unknown("text task", name, TEXT_TASKS)
        self.task = f"text:{name}"
        self.problems = TEXT_TASKS[name]()
        self.verifier = verifier
        try:
            from operant.worlds.text.models import make_tokenizer
        except ImportError as error:
            raise BadInput(f"text:{name} needs transformers: pip install 'operant[language]'") from error
        self.tokenizer = make_tokenizer(self.problems.alphabet)
        self.longest = self.problems.longest_completion + 1  # with the end token
        self.base: Path | None = None

    @classmethod
    def from_name(cls, name: str) -> TextWorld:
        return cls(name)

    @staticmethod
    def names() -> dict[str, str]:
        return dict.fromkeys(TEXT_TASKS, "language model trained from scratch, verifier (extra: language)")

    def fingerprint(self) -> str:
        return f"{self.task} {self.problems!r}"

    def policy(self, net: Any, streams: Streams) -> TokenPolicy:
        from operant.worlds.text.models import load_model, make_model

        if self.base is not None:
            return TokenPolicy(load_model(self.base)[0])
        model = make_model(
            "llama",
            len(self.tokenizer),
            derive_seed(streams.seeds[0], "initialize/model"),
            positions=2 * (self.problems.longest_prompt + self.longest),
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=self.tokenizer.eos_token_id,
        )
        return TokenPolicy(model)

    def source(self, plan: Any, streams: Streams, *, workers: int = 1) -> Any:
        from operant.worlds.text.source import TextSource

        if not hasattr(plan, "requests"):
            raise BadInput(f"{self.task} is sampled by a plan of completions; this method's plan is {type(plan).__name__}")
        return TextSource(self.problems, self.tokenizer, plan, streams, self.problems.verifier if self.verifier is None else self.verifier)

    def demonstrations(self, batch_size: int, streams: Streams) -> Traces:
        return Traces(self, batch_size, streams)

    def transitions(self, device: torch.device):
        raise BadInput(f"{self.task} is no data set of transitions: an offline method needs one (ogbench:, data:, minari:)")

    def evaluate(self, policy: TokenPolicy, seeds: int, *, episodes: int = 128, seed: int = 0) -> Evaluation:
        """pass@1 on held-out problems of the trained length ("operands"), from 16 completions each at temperature 1, and beside it the mean on longer ones."""
        answers = self._answers(policy, "operands", episodes, SAMPLES, seed)
        longer = self.count_correct(policy, "length", max(1, episodes // 2), SAMPLES // 4, seed)
        return Evaluation(
            self.score,
            answers.correct[None] / SAMPLES,
            {
                "correct": answers.correct[None],
                "samples": SAMPLES,
                "distinct": answers.distinct[None],
                "entropy": answers.entropy[None],
                "longer": np.array([longer.mean() / (SAMPLES // 4)]),
            },
        )

    def count_correct(self, policy: TokenPolicy, split: str, problems: int, samples: int, seed: int = 0) -> np.ndarray:
        """How many of `samples` completions are right, for the first held-out problems of a split: `[P]`."""
        return self._answers(policy, split, problems, samples, seed).correct

    def _answers(self, policy: TokenPolicy, split: str, problems: int, samples: int, seed: int) -> Answers:
        from operant.worlds.text.source import evaluate_policy

        return evaluate_policy(
            policy,
            self.problems.held_out(split, problems),
            self.tokenizer,
            samples=samples,
            max_new_tokens=self.longest,
            seed=derive_seed(seed, "evaluation", split),
            verifier=self.problems.verifier,
            answer=getattr(self.problems, "answer", str.strip),
        )

    def save_policy(self, policy: TokenPolicy, folder: Path) -> None:
        """Write the model and its tokenizer in the Hugging Face format."""
        from operant.worlds.text.models import save_policy

        save_policy(folder, policy.model, self.tokenizer)

    def load_policy(self, folder: Path) -> TokenPolicy:
        from operant.worlds.text.models import load_model

        return TokenPolicy(load_model(folder)[0])


class Traces:
    """Worked completions as supervised rows, made from the task's generator."""

    def __init__(self, world: TextWorld, batch_size: int, streams: Streams):
        self._world, self._batch_size, self._streams = world, batch_size, streams

    def draw(self) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """(inputs, action, mask) of one batch: right-padded rows that hold prompt, trace and the end token."""
        world, tokenizer = self._world, self._world.tokenizer
        rng = self._streams.numpy_generators("traces")[0]
        rows = []
        for _ in range(self._batch_size):
            problem = world.problems.problem(rng)
            rows.append((tokenizer.encode(problem.prompt), [*tokenizer.encode(world.problems.trace(problem, rng)), tokenizer.eos_token_id]))
        steps = max(len(trace) for _, trace in rows)
        width = max(len(prompt) for prompt, _ in rows) + steps
        tokens = torch.full((1, len(rows), width), tokenizer.pad_token_id)
        action = torch.zeros(1, len(rows), steps, dtype=torch.int64)
        mask = torch.zeros(1, len(rows), steps, dtype=torch.bool)
        for place, (prompt, trace) in enumerate(rows):
            tokens[0, place, : len(prompt) + len(trace)] = torch.tensor([*prompt, *trace])
            action[0, place, : len(trace)] = torch.tensor(trace)
            mask[0, place, : len(trace)] = True
        prompts = torch.tensor([[len(prompt) for prompt, _ in rows]])
        device = self._streams.device
        inputs = {"tokens": tokens, "prompt_length": prompts, "length": prompts + mask.sum(-1)}
        return {name: value.to(device) for name, value in inputs.items()}, action.to(device), mask.to(device)

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass
