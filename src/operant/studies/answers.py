"""What studies of text tasks share: the policies to compare, answers drawn from them, and how likely another policy finds those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.core.random import Streams
from operant.core.registry import Count, Range
from operant.core.seeds import derive_seed
from operant.core.status import Status
from operant.loops.base_policy import ensure_base_policy
from operant.loops.runs import Run, load, train
from operant.nets.language import TokenPolicy, generation_to_inputs
from operant.studies import Say
from operant.worlds import make_world
from operant.worlds.plans import Generation, Request
from operant.worlds.text.tasks import Problem, TextTask
from operant.worlds.text.world import TextWorld

ROWS = 1024  # answers that are drawn at once


@dataclass(frozen=True)
class Answered:
    """Answers of one policy to P problems, n each.

    Attributes:
        right: `[P, n]` bool.
        text: the canonical answer of each, `[P][n]`, empty where there is none.
        entropy: of the next token, mean over the tokens drawn, nats.
        likelihood: mean log-probability of a token of each answer under the policy that was asked for it, temperature 1, `[P, n]` nats; None without one.
        completions: what was written whole, `[P][n]`.
    """

    right: np.ndarray
    text: list[list[str]]
    entropy: float
    likelihood: np.ndarray | None
    completions: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class TrainedAndBase:
    """Options of studies that compare a trained policy with what it began from."""

    task: str | None = None  # text task; none for that of the run, or text:countdown
    model: str | None = None  # folder or hub id of the language model that training starts from; none for the task's base policy
    base: str | None = None  # what the trained policy is compared with, a run directory or a model; none for what training started from
    run: str | None = None  # run directory of the trained policy; none to train it here
    method: str = "grpo"  # what trains it here
    steps: Count = 60  # iterations of that training
    seed: Annotated[int, Range(0)] = 0  # of training and of the draws
    problems: Count = 64  # held-out problems
    trust: bool = False  # import the modules that the runs name (of an environment or verifier): they may do anything


def compared(options: TrainedAndBase, folder: Path, say: Say) -> tuple[TextWorld, TokenPolicy, TokenPolicy, Run]:
    """(world, base policy, trained policy, its run): those of a finished run, else of one that is trained here.

    Raises:
        BadInput: the run is of another task or not of text, or something cannot be loaded.
    """
    if options.run is not None:
        trained = load(options.run, trust=options.trust)
        if options.model is not None or (options.task is not None and make_world(options.task).task != trained.config["task"]):
            given = "a model" if options.model is not None else options.task
            raise BadInput(f"--run {options.run} is of {trained.config['task']} and brings its model, and {given} was given too; leave one out")
    else:
        task = options.task or "text:countdown"
        check_text(task)
        say(f"training {options.method} on {task}: {options.steps} iterations")
        model = {} if options.model is None else {"model": options.model}
        trained = train(options.method, task, seed=options.seed, steps=options.steps, every=options.steps, progress=False, out=folder / "trained", **model)
    world = trained.world
    check_text(trained.config["task"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if options.base is None:
        ensure_base_policy(world, say)
        before = world.policy(None, Streams([trained.config["seed"]]))
    elif (Path(options.base) / "run.json").exists():
        before = load(options.base, trust=options.trust).load_policy()
    else:
        before = world.load_policy(Path(options.base))
    return world, before.to(device), trained.load_policy().to(device), trained


def world_of(task: TextTask, name: str) -> TextWorld:
    """A text world of a task that is not registered."""

    class Unregistered(TextWorld):
        @staticmethod
        def find_task(name: str) -> TextTask:
            return task

    return Unregistered(name)


def check_text(task: str) -> None:
    """Raises BadInput where a task is not of text."""
    if (kind := make_world(task).kind) != "text":
        raise BadInput(f"{task} is of kind {kind}; this study takes a text task, such as text:countdown")


@torch.no_grad()
def answers(
    world: TextWorld,
    policy: TokenPolicy,
    problems: Sequence[Problem],
    samples: int,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    sound: bool = False,
    seed: int = 0,
    under: TokenPolicy | None = None,
) -> Answered:
    """Draw `samples` answers to each problem.

    Args:
        temperature, top_p: of sampling.
        sound: an answer is right only where the task's check of its steps holds too.
        seed: of the draws.
        under: a policy whose log-probability of each answer is wanted.

    Raises:
        BadInput: `sound` on a task without such a check.
    """
    from operant.worlds.text.engine import generate
    from operant.worlds.text.models import end_tokens
    from operant.worlds.text.source import completion_texts, prompt_tokens
    from operant.worlds.text.verifiers import scorer

    checks: list[Any] = [world.problems.verifier]
    if sound:
        if world.problems.process is None:
            raise BadInput(f"{world.task} has no check of an answer's steps; leave --sound out")
        checks.append(world.problems.process)
    judges = [scorer(check) for check in checks]
    generator = torch.Generator().manual_seed(derive_seed(seed, "study/answers"))
    right, texts, written, entropy, tokens, likelihood = [], [], [], 0.0, 0, []
    ends = end_tokens(policy.model, world.tokenizer)
    try:
        at_once = max(1, ROWS // samples)
        for start in range(0, len(problems), at_once):
            part = problems[start : start + at_once]
            for count in (min(ROWS, samples - done) for done in range(0, samples, ROWS)):
                generation = generate(
                    policy.model,
                    [Request(prompt_tokens(world.tokenizer, problem, chat=world.chat), count) for problem in part],
                    max_new_tokens=world.longest,
                    temperature=temperature,
                    top_p=top_p,
                    generator=generator,
                    eos_token_id=ends,
                    pad_token_id=world.tokenizer.pad_token_id,
                )
                drawn = completion_texts(world.tokenizer, generation.tokens, generation.mask, ends)
                items = [(part[place], text) for place, text in zip(generation.request.tolist(), drawn, strict=True)]
                verdicts = [judge.score(items) for judge in judges]
                right += [all(found.status == Status.OK and found.value > 0.5 for found in pair) for pair in zip(*verdicts, strict=True)]
                texts += map(world.problems.answer, drawn)
                written += drawn
                entropy += float((generation.entropy * generation.mask).double().sum())
                tokens += int(generation.mask.sum())
                if under is not None:
                    likelihood.append(_likelihood(under, generation, world.tokenizer.pad_token_id))
    finally:
        for judge in judges:
            judge.close()
    shape = (len(problems), samples)
    return Answered(
        np.array(right).reshape(shape),
        [texts[place : place + samples] for place in range(0, len(texts), samples)],
        entropy / tokens,
        torch.cat(likelihood).view(shape).cpu().numpy() if likelihood else None,
        [written[place : place + samples] for place in range(0, len(written), samples)],
    )


def _likelihood(policy: TokenPolicy, generation: Generation, pad: int) -> Tensor:
    """Mean log-probability of each answer's tokens, `[R]` nats."""
    log_prob = policy.replay(generation_to_inputs(generation, pad), generation.tokens[None])["log_prob"][0]
    return ops.row_mean(log_prob, generation.mask).squeeze(-1)
