"""The language tier: small language models trained from scratch, five seeds, runs that claims share.

A run is kept in the cache by what it was made of: method, task, hyper-parameters, budget, seed, world options, the recipe of the base policy, the version
of the package and the text of the method's file. A claim that asks for a run that another one made gets it at once. What else changes in the code is not
seen: empty the cache before recording.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import operant
from operant.core.cache import cache_directory
from operant.core.registry import get_method, hyperparameters
from operant.core.run import RunDirectory
from operant.core.seeds import derive_seed
from operant.loops.base_policy import WarmUp
from operant.loops.configuration import configure_run
from operant.loops.runs import Run, train
from operant.nets.language import TokenPolicy
from operant.worlds.plans import Request
from operant.worlds.text.tasks import Problem
from operant.worlds.text.world import TextWorld

SEEDS = 5
STEPS = 100  # iterations
PROBLEMS = 64  # held-out ones of an evaluation, 16 answers each
SIZES = {"prompts": 16, "group_size": 8}


@dataclass(frozen=True)
class Outcome:
    """What runs of one method came to, `[seeds]` each; the base policy is the same for all.

    Attributes:
        score: pass@1 on held-out problems after training; `base_score` before.
        pass_at: pass@k by k; `base_pass_at` before.
        entropy: mean over the last fifth of training of the entropy of the next token, nats, at the temperature that the method samples at; `base_entropy` of
            the first iteration.
        held_out_entropy: the same after training, of answers to held-out problems at temperature 1: what methods of different temperatures are compared by.
        runs: one run directory a seed.
    """

    score: np.ndarray
    base_score: np.ndarray
    pass_at: dict[int, np.ndarray]
    base_pass_at: dict[int, np.ndarray]
    entropy: np.ndarray
    base_entropy: np.ndarray
    held_out_entropy: np.ndarray
    runs: tuple[Run, ...]

    def metrics(self, name: str) -> np.ndarray:
        """One metric of training, `[seeds, iterations]`; NaN where an iteration did not log it."""
        return np.array([[row.get(name, np.nan) for row in _rows(run, "metrics.jsonl")] for run in self.runs], dtype=float)


def language(
    method: str, task: str = "text:arithmetic", *, seeds: int = SEEDS, steps: int = STEPS, options: dict[str, Any] | None = None, **hyper: Any
) -> Outcome:
    """Train a method for several seeds, or take the runs from the cache.

    Args:
        method: its key.
        task: a text task.
        seeds: how many, from 0 on.
        steps: iterations of 16 prompts x 8 answers, unless `hyper` says otherwise.
        options: of the world (model, verifier, …).
        hyper: hyper-parameters of the method.
    """
    runs = tuple(_one(method, task, seed, steps, options or {}, hyper) for seed in range(seeds))
    before = [next(row for row in _rows(run, "evaluations.jsonl") if row["base"]) for run in runs]
    after = [_rows(run, "evaluations.jsonl")[-1] for run in runs]
    entropy = [np.array([row["entropy"] for row in _rows(run, "metrics.jsonl") if "entropy" in row]) for run in runs]

    def passes(rows: list[dict]) -> dict[int, np.ndarray]:
        return {int(k): np.array([row["pass_at_k"][k] for row in rows]) for k in rows[0]["pass_at_k"]}

    return Outcome(
        score=np.array([row["value"] for row in after]),
        base_score=np.array([row["value"] for row in before]),
        pass_at=passes(after),
        base_pass_at=passes(before),
        entropy=np.array([values[-max(1, len(values) // 5) :].mean() for values in entropy]),
        base_entropy=np.array([values[0] for values in entropy]),
        held_out_entropy=np.array([row["entropy"] for row in after]),
        runs=runs,
    )


def held_out_answers(run: Run, split: str, problems: int = 128, samples: int = 16) -> tuple[list[Problem], list[list[str]]]:
    """Answers of a run's trained policy to held-out problems, drawn at temperature 1: the problems, and `samples` texts for each."""
    chosen = run.world.problems.held_out(split, problems)
    return chosen, draw_answers(run.world, run.load_policy(), chosen, samples, derive_seed(0, "evidence", split))


def draw_answers(world: TextWorld, policy: TokenPolicy, problems: list[Problem], samples: int, seed: int) -> list[list[str]]:
    """`samples` texts of a policy for each problem, drawn at temperature 1."""
    from operant.worlds.text.engine import generate
    from operant.worlds.text.source import completion_texts, prompt_tokens

    generation = generate(
        policy.model,
        [Request(prompt_tokens(world.tokenizer, problem), samples) for problem in problems],
        max_new_tokens=world.longest,
        generator=torch.Generator().manual_seed(seed),
        eos_token_id=world.tokenizer.eos_token_id,
        pad_token_id=world.tokenizer.pad_token_id,
    )
    texts = completion_texts(world.tokenizer, generation.tokens, generation.mask)
    return [texts[place : place + samples] for place in range(0, len(texts), samples)]


def _one(method: str, task: str, seed: int, steps: int, options: dict[str, Any], hyper: dict[str, Any]) -> Run:
    """One seed's run, finished."""
    config, _, _ = configure_run(method, task, seed=seed, steps=steps, hyperparameters=_sized(method, hyper) | options)
    content = {name: config[name] for name in ("method", "task", "seed", "steps", "hyperparameters", "fingerprint")} | {
        "options": options,
        "base": asdict(WarmUp()),
        "code": _code(method),
    }
    name = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
    folder = cache_directory() / "evidence" / f"{method}-{task.replace(':', '-')}-{seed}-{name}"
    if folder.exists():
        run = Run(RunDirectory.open(folder))
        if run.result is not None:
            return run
        shutil.rmtree(folder)
    temporary = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    train(method, task, seed=seed, steps=steps, every=steps, episodes=PROBLEMS, out=temporary, progress=False, **options, **_sized(method, hyper))
    try:
        os.rename(temporary, folder)
    except OSError:  # another process made the same run first
        shutil.rmtree(temporary, ignore_errors=True)
    return Run(RunDirectory.open(folder))


def _sized(method: str, hyper: dict[str, Any]) -> dict[str, Any]:
    """The hyper-parameters given, with the tier's sizes where the method has such fields."""
    known = {item.name for item in hyperparameters(get_method(method).hyperparameters)}
    return {name: value for name, value in SIZES.items() if name in known} | hyper


def _code(method: str) -> str:
    """A hash of the package's version and of the method's file."""
    text = Path(inspect.getfile(get_method(method).build)).read_bytes()
    return hashlib.sha256(operant.__version__.encode() + text).hexdigest()[:16]


def _rows(run: Run, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.path / name).read_text().splitlines()]
