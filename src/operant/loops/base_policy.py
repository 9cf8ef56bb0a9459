"""Language models made from scratch on generated traces, kept by content: the partly able one that policy gradients start from, and an able teacher."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from operant.core.cache import cache_directory
from operant.core.errors import RunFailed
from operant.core.files import disk_fault, remove, write_atomic
from operant.loops.learner import Spine
from operant.loops.pairs import Pairs
from operant.loops.terms import NegativeLogLikelihood
from operant.worlds.base import World


@dataclass(frozen=True)
class WarmUp:
    """How a base policy is made. Every field is part of its name in the cache.

    Attributes:
        seed: of weights and traces.
        low, high: training stops when pass@1 on held-out problems lies between them; beyond `low` there is something to reinforce, below `high` something to
            gain.
        enough: pass@1 that is accepted of a try that ends below `low`; None for none.
        check_every: updates between two looks at pass@1.
        patience: updates in which the best pass@1 must rise by `RISE` or the least loss fall by `FALL`; a try of which neither does stands on a plateau, and
            ends.
        most_updates: of a try.
        tries: the next one has the next seed and half the learning rate.
        version: of all that is not a field: how weights are drawn, and the loop.
        clean: the traces are all right; else the task's own share of them is wrong.
    """

    seed: int = 0
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    batch_size: int = 32
    low: float = 0.25
    high: float = 0.5
    enough: float | None = None
    check_every: int = 50
    patience: int = 500
    most_updates: int = 4_000
    tries: int = 4
    version: int = 2
    clean: bool = False


RISE = 0.05  # of pass@1 measured on 256 answers: two standard errors
FALL = 0.05  # share of the loss
TEACHER = WarmUp(low=0.9, high=1.0, enough=0.4, clean=True)


def ensure_base_policy(world: Any, say: Callable[[str], None], recipe: WarmUp = WarmUp()) -> None:
    """Set `world.base` to the task's base policy, making it first where the cache has none. Where a model was given, that is what training starts from.

    Nothing happens in worlds that have no such thing.

    Raises:
        RunFailed: pass@1 did not reach the range in any of the tries.
    """
    if world.makes_base and world.options.model is None:
        base = world.base_world()
        world.base = _kept(base, say, fitted(base, recipe))


def fitted(world, recipe: WarmUp = WarmUp()) -> WarmUp:
    """The recipe of a task's base policy or teacher, with what the task itself says of it."""
    asked = world.teacher_range if recipe.clean else world.base_range
    if recipe.clean and world.teacher_learning_rate is not None:
        recipe = replace(recipe, learning_rate=world.teacher_learning_rate)
    return recipe if asked is None else replace(recipe, low=asked[0], high=asked[1], enough=None)


def ensure_teacher(world, say: Callable[[str], None]) -> None:
    """Set `world.taught` to the task's teacher, as `ensure_base_policy` does. Where a teacher was given, it is that one.

    It is trained on right traces alone until its pass@1 is 0.9, or no longer rises; at least 0.4 is then asked of it. A task may ask for something else.
    """
    if world.options.teacher is None and world.options.model is None:
        world.taught = _kept(world, say, fitted(world, TEACHER))


def ensure_models(world: World, spine: Spine, say: Callable[[str], None]) -> None:
    """Have all models ready that a spine trains from or follows: the base policy, and the teacher where a part of the spine asks it."""
    if spine.from_scratch:
        return
    ensure_base_policy(world, say)
    if world.makes_base and "teacher_log_prob" in spine.needs:
        ensure_teacher(world, say)


def made_base_policy(world) -> dict | None:
    """What the cache knows of the task's base policy: {"recipe": its version, "pass@1": when it was made}; None where it has none."""
    folder, _ = _place(world, fitted(world))
    if not (folder / "base.json").exists():
        return None
    made = json.loads((folder / "base.json").read_text())
    return {"recipe": made["recipe"]["version"], "pass@1": made["pass@1"]}


def _place(world, recipe: WarmUp) -> tuple[Path, dict]:
    """The folder in the cache of what a recipe makes of a task, and what its name is made of."""
    content = {"task": world.fingerprint(), "recipe": asdict(recipe)}
    name = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    return cache_directory() / "base" / f"{re.sub('[^A-Za-z0-9]+', '-', world.task)[-60:]}-{name}", content


def _kept(world, say: Callable[[str], None], recipe: WarmUp) -> Path:
    folder, content = _place(world, recipe)
    if not (folder / "base.json").exists():
        _make(world.from_scratch(clean=recipe.clean), recipe, folder, content, say)
    return folder


def _make(world, recipe: WarmUp, folder: Path, content: dict, say: Callable[[str], None]) -> None:
    """Train, and keep what came of it in `folder`, which is there whole or not at all. A place that cannot be written to is told before minutes are spent."""
    temporary = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        policy, made = _train(world, recipe, folder, say)
        world.save_policy(policy, temporary)
        write_atomic(temporary / "base.json", json.dumps(content | made, indent=1))
    except (OSError, SafetensorError) as error:
        fault, what = disk_fault(error) or error, "teacher" if recipe.clean else "base policy"
        raise RunFailed(f"the {what} of {world.task} could not be written to {folder}: {fault}; make room, or set OPERANT_CACHE to another place") from error
    finally:
        if temporary.is_dir() and not (temporary / "base.json").exists():
            remove(temporary)
    remove(folder)
    try:
        os.rename(temporary, folder)
    except OSError:  # another process made the same one first: the content is the same
        remove(temporary)


def _train(world, recipe: WarmUp, folder: Path, say: Callable[[str], None]) -> tuple[Any, dict[str, Any]]:
    """(a policy within the recipe's range, what is kept of how it was made)."""
    wanted = recipe.low if recipe.enough is None else recipe.enough
    what, history, began = "teacher" if recipe.clean else "base policy", [], time.process_time()
    instead = "--teacher" if recipe.clean else "--model"
    say(
        f"{what}: making that of {world.task}, once: a minute or so of processor time where the task is easily learned, and from the beginning where it is "
        f"stopped; it is kept in {folder.parent} ({instead} takes one that is there)"
    )
    for place in range(recipe.tries):
        attempt = _Try(world, recipe, place)
        for step, loss, score in attempt:
            history.append([place, step, score])
            reached = f"loss {loss:.3f}, pass@1 {score:.2f} (training stops from {recipe.low} on)"
            say(f"{what}: {step} updates, of {recipe.most_updates:,} at most, in {time.process_time() - began:,.0f} s: {reached}")
        if wanted <= score <= recipe.high:
            break
        if place + 1 < recipe.tries:
            say(f"{what}: pass@1 stands at {score:.2f}; starting again with seed {attempt.seed + 1} and learning rate {attempt.learning_rate / 2:g}")
    else:
        other = "give one as --teacher" if recipe.clean else "give a model as --model"
        raise RunFailed(
            f"the {what} of {world.task} stood at pass@1 {score:.2f} after {step} updates, the last of {recipe.tries} tries; {wanted} was wanted: "
            f"{other}, a folder or hub id"
        )
    return attempt.learner.policy, {"pass@1": score, "updates": step, "restarts": place, "seconds": round(time.process_time() - began, 1), "history": history}


class _Try:
    """One training from fresh weights. Iterating gives (updates, loss, pass@1) at each look, until pass@1 is within the range or the try is over."""

    def __init__(self, world, recipe: WarmUp, place: int):
        self.world, self.recipe = world, recipe
        self.seed, self.learning_rate = recipe.seed + place, recipe.learning_rate / 2**place
        pairs = Pairs(
            terms=[NegativeLogLikelihood()],
            batch_size=recipe.batch_size,
            learning_rate=self.learning_rate,
            warmup_steps=recipe.warmup_steps,
            max_grad_norm=1.0,
            updates_per_iteration=recipe.check_every,
        )
        self.learner = pairs.learner(world, [self.seed], recipe.most_updates, torch.device("cpu"))

    def __iter__(self) -> Iterator[tuple[int, float, float]]:
        recipe, learner = self.recipe, self.learner
        best, least, moved = 0.0, float("inf"), 0  # the pass@1 and the loss that count as reached, and when the last of them was
        while learner.step < recipe.most_updates and learner.step - moved < recipe.patience:
            before = copy.deepcopy(learner.state_dict())
            loss = learner.iterate()["loss/negative_log_likelihood"].item()
            score = float(self.world.count_correct(learner.policy, self.world.base_split, 64, 4, recipe.seed).mean() / 4)
            yield learner.step, loss, score
            if recipe.low <= score <= recipe.high:
                return
            if score > recipe.high:  # passed the range in one stride: go back and take shorter ones
                stride = learner.method.updates_per_iteration
                if stride == 1:
                    return
                learner.load_state_dict(before)
                learner.method = replace(learner.method, updates_per_iteration=max(1, stride // 5))
            elif score >= best + RISE or loss <= least * (1 - FALL):
                best, least, moved = max(best, score), min(least, loss), learner.step
