"""Language models made from scratch on generated traces, kept by content: the partly able one that policy gradients start from, and an able teacher."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from operant.core.cache import cache_directory
from operant.core.errors import RunFailed
from operant.core.files import write_atomic
from operant.loops.pairs import Pairs
from operant.loops.terms import NegativeLogLikelihood


@dataclass(frozen=True)
class WarmUp:
    """How a base policy is made. Every field is part of its name in the cache.

    Attributes:
        seed: of weights and traces.
        low, high: training stops when pass@1 on held-out problems lies between them; beyond `low` there is something to reinforce, below `high` something to
        gain.
        enough: pass@1 that is accepted when all updates are spent; None for `low`.
        check_every: updates between two looks at pass@1.
        clean: the traces are all right; else the task's own share of them is wrong.
    """

    seed: int = 0
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    batch_size: int = 64
    low: float = 0.25
    high: float = 0.5
    enough: float | None = None
    check_every: int = 50
    most_updates: int = 6_000
    version: int = 1
    clean: bool = False


TEACHER = WarmUp(low=0.9, high=1.0, enough=0.4, clean=True)


def ensure_base_policy(world, say: Callable[[str], None], recipe: WarmUp = WarmUp()) -> None:
    """Set `world.base` to the task's base policy, making it first where the cache has none. Where a model was given, that is what training starts from.

    Raises:
        RunFailed: pass@1 did not reach the range within `most_updates`.
    """
    if world.options.model is None:
        world.base = _kept(world, say, recipe)


def ensure_teacher(world, say: Callable[[str], None]) -> None:
    """Set `world.taught` to the task's teacher, as `ensure_base_policy` does. Where a teacher was given, it is that one.

    It is trained on right traces alone until its pass@1 is 0.9, or 6,000 updates long; at least 0.4 is then asked of it (countdown ends near 0.45).
    """
    if world.options.teacher is None and world.options.model is None:
        world.taught = _kept(world, say, TEACHER)


def ensure_models(world, spine, say: Callable[[str], None]) -> None:
    """Have all models ready that a spine trains from or follows: the base policy, and the teacher where a part of the spine asks it."""
    ensure_base_policy(world, say)
    if "teacher_log_prob" in getattr(spine, "needs", ()):
        ensure_teacher(world, say)


def _kept(world, say: Callable[[str], None], recipe: WarmUp) -> Path:
    """The folder in the cache of what a recipe makes of a task."""
    content = {"task": world.fingerprint(), "recipe": asdict(recipe)}
    name = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_directory() / "base" / f"{re.sub('[^A-Za-z0-9]+', '-', world.task)[-60:]}-{name}"
    if not (folder / "base.json").exists():
        _make(world.from_scratch(clean=recipe.clean), recipe, folder, content, say)
    return folder


def _make(world, recipe: WarmUp, folder, content: dict, say: Callable[[str], None]) -> None:
    pairs = Pairs(
        terms=[NegativeLogLikelihood()],
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup_steps,
        max_grad_norm=1.0,
        updates_per_iteration=recipe.check_every,
    )
    learner = pairs.learner(world, [recipe.seed], recipe.most_updates, torch.device("cpu"))
    history, what = [], "teacher" if recipe.clean else "base policy"
    while True:
        before = copy.deepcopy(learner.state_dict())
        loss = learner.iterate()["loss/negative_log_likelihood"].item()
        score = world.count_correct(learner.policy, world.base_split, 64, 4, recipe.seed).mean() / 4
        history.append([learner.step, score])
        say(f"{what}: {learner.step} updates, loss {loss:.3f}, pass@1 {score:.2f} (training stops from {recipe.low} on)")
        if recipe.low <= score <= recipe.high:
            break
        if score > recipe.high:  # passed the range in one stride: go back and take shorter ones
            if learner.method.updates_per_iteration == 1:
                raise RunFailed(f"the {what} of {world.task} went past pass@1 {recipe.high} in one update; lower the learning rate")
            learner.load_state_dict(before)
            learner.method = Pairs(**{**vars(learner.method), "updates_per_iteration": learner.method.updates_per_iteration // 5 or 1})
        if learner.step >= recipe.most_updates:
            wanted = recipe.low if recipe.enough is None else recipe.enough
            if score >= wanted:
                break
            other = "give one as --teacher" if recipe.clean else "give a model as --model"
            raise RunFailed(
                f"the {what} of {world.task} stood at pass@1 {score:.2f} after {learner.step} updates; {wanted} was wanted: {other}, a folder or hub id"
            )
    temporary = folder.with_name(f".{folder.name}-{os.getpid()}")
    temporary.mkdir(parents=True, exist_ok=True)
    world.save_policy(learner.policy, temporary)
    write_atomic(temporary / "base.json", json.dumps(content | {"updates": learner.step, "pass@1": score, "history": history}, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    try:
        os.rename(temporary, folder)
    except OSError:  # another process made the same one first: the content is the same
        shutil.rmtree(temporary, ignore_errors=True)
