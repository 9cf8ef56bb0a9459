"""Tricks or traps: each choice of the recipe changed by itself, everything else alike.

Paper: Liu et al. 2025, arXiv:2508.08221. The centre is GRPO: group mean and deviation, symmetric clip, mean over answers. Changed one at a time: the
deviation (of the batch, or none), the upper clip, how tokens are weighted, whether answers that were cut count; and, together, what the paper ends with, Lite
PPO (group mean, batch deviation, mean over tokens). All start from one base policy and draw the same number of answers. The paper's findings depend on its
models; on your own, run this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch

from operant import ops
from operant.core.records import Rollout
from operant.core.registry import Count, Positive, Range
from operant.evaluate.statistics import iqm, score_bounds, stratified_bootstrap
from operant.loops.base_policy import ensure_base_policy
from operant.loops.credit import Grouped
from operant.loops.learner import check_weights
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import ClippedRatio
from operant.studies import Say, StudyResult, Table, study
from operant.studies.answers import check_text
from operant.worlds import make_world
from operant.worlds.plans import Groups


@dataclass(frozen=True)
class TricksOptions:
    task: str = "text:arithmetic"  # text task
    model: str | None = None  # folder or hub id of the language model that training starts from; none for the task's base policy
    max_new_tokens: Annotated[int | None, Range(1)] = None  # tokens of the longest answer; none for the longest of the task's own
    prompts: Count = 16  # prompts an iteration
    group_size: Annotated[int, Range(2)] = 8  # answers a prompt
    steps: Count = 60  # iterations of each training
    seeds: Count = 3  # of each variant
    minibatches: Count = 4  # optimiser steps an iteration; with one the ratio is 1 and no clip acts
    learning_rate: Positive = 3e-4  # Adam's
    problems: Count = 64  # held-out problems


@study("lite-ppo", paper="arXiv:2508.08221", summary="Tricks of the recipe one at a time: normalisation, clip-higher, aggregation, overlong filtering")
def lite_ppo(options: TricksOptions, folder: Path, say: Say) -> StudyResult:
    check_text(options.task)
    world = make_world(options.task, model=options.model, max_new_tokens=options.max_new_tokens)
    ensure_base_policy(world, say)
    figures: dict = {"base": None, "variants": {}}
    rows = []
    for name, spine in variants(options, world.longest).items():
        scores, entropies, spreads = [], [], []
        for seed in range(options.seeds):
            learner = spine.learner(world, [seed], options.steps, torch.device("cpu"))
            try:
                if figures["base"] is None:
                    figures["base"] = float(world.evaluate(learner.policy, 1, episodes=options.problems).values.mean())
                logged = [learner.iterate() for _ in range(options.steps)]
            finally:
                learner.close()
            check_weights(learner, stacked=False)
            scores.append(float(world.evaluate(learner.policy, 1, episodes=options.problems).values.mean()))
            last = logged[-max(1, len(logged) // 5) :]
            entropies.append(float(np.mean([row["entropy"].item() for row in last])))
            norms = [row["gradient_norm"].item() for row in logged]
            spreads.append(float(np.std(norms) / np.mean(norms)) if np.mean(norms) > 0 else 0.0)
        say(f"{name}: pass@1 {np.mean(scores):.3f}")
        figures["variants"][name] = {"pass@1": scores, "entropy": entropies, "norm_variation": spreads}
        interval = stratified_bootstrap(scores, iqm, bounds=score_bounds("pass@1"))
        span = f" [{interval.low:.3f}, {interval.high:.3f}]" if interval.low is not None else ""
        rows.append((name, f"{interval.point:.3f}{span}", f"{np.mean(entropies):.3f}", f"{np.mean(spreads):.2f}"))
    title = f"{world.task}: {options.steps} iterations of {options.prompts} x {options.group_size} answers; pass@1 before {figures['base']:.3f}"
    return StudyResult(
        figures, (Table(title, ("variant", f"pass@1 [{interval.level}]", "entropy at the end", "variation of the gradient's norm"), tuple(rows)),)
    )


def variants(options: TricksOptions, longest: int) -> dict[str, PolicyGradient]:
    """GRPO, each trick by itself on top of it, and Lite PPO."""
    grpo = PolicyGradient(
        sample=Groups(options.prompts, options.group_size),
        credit=Grouped(ops.group_normalized_advantage),
        terms=[ClippedRatio(0.2, 0.2)],
        reduce="sequence-mean",
        minibatches=options.minibatches,
        micro_batch=64,
        learning_rate=options.learning_rate,
        max_grad_norm=1.0,
    )

    def advantage(function: Callable) -> PolicyGradient:
        return replace(grpo, credit=Grouped(function))

    return {
        "grpo": grpo,
        "batch deviation": advantage(ops.batch_scaled_advantage),
        "no deviation": advantage(partial(ops.group_normalized_advantage, normalize_std=False)),
        "clip-higher": replace(grpo, terms=[ClippedRatio(0.2, 0.28)]),
        "mean over tokens": replace(grpo, reduce="token-mean"),
        "sum over tokens": replace(grpo, reduce="sequence-sum", reduce_length=longest),
        "overlong filtering": replace(grpo, select=[without_cut_answers]),
        "lite ppo": replace(advantage(ops.batch_scaled_advantage), reduce="token-mean"),
    }


def without_cut_answers(rollout: Rollout) -> Rollout:
    """The rollout without answers that were cut at the limit: they neither count in their group nor are learned from."""
    rollout.mask = rollout.mask & rollout.terminated.any(-1, keepdim=True)
    return rollout
