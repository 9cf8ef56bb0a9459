"""One example: what reinforcement learning on a single problem does for all the others.

Paper: Wang et al. 2025, arXiv:2504.20571. First a pool of problems is trained on, and each problem's accuracy is logged in every epoch; the problem whose
accuracy varies most (largest standard deviation over the epochs) is the example. Then the same policy starts again three times: on the example alone, on the
whole pool, and on the example without the policy-gradient term (entropy bonus and KL only). Held-out accuracy is taken along the way, so that what is gained
after the example itself is always solved (post-saturation) can be read off. Copies of the example form one group, whose mean is then the baseline of all of
them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from operant import ops
from operant.core.registry import Count, NonNegative, Positive, Range
from operant.evaluate.plots import learning_curves
from operant.loops.base_policy import ensure_base_policy
from operant.loops.credit import Grouped
from operant.loops.learner import check_weights
from operant.loops.policy_gradient import PolicyGradient
from operant.loops.terms import ClippedRatio, EntropyBonus, KLToReference
from operant.studies import Say, StudyResult, Table, study
from operant.studies.answers import check_text
from operant.worlds import make_world
from operant.worlds.plans import Groups, Problems, Request, Requests


@dataclass(frozen=True)
class OneShotOptions:
    task: str = "text:arithmetic"  # text task
    model: str | None = None  # folder or hub id of the language model that training starts from; none for the task's base policy
    pool: Count = 64  # problems that the example is chosen from, and that the full training has
    prompts: Count = 16  # prompts, or copies of the example, an iteration
    group_size: Annotated[int, Range(2)] = 8  # answers a prompt
    epochs: Annotated[int, Range(2)] = 8  # over the pool, to rank its problems
    steps: Count = 60  # iterations of each of the three trainings
    looks: Count = 6  # held-out evaluations along each of them
    seeds: Count = 1  # of all trainings
    learning_rate: Positive = 3e-4  # Adam's
    beta: NonNegative = 1e-3  # weight of the KL to the start
    entropy: NonNegative = 1e-3  # weight of the entropy bonus
    problems: Count = 64  # held-out problems


@dataclass(frozen=True)
class Pool(Groups):
    """`prompts` problems an iteration out of a fixed list, drawn without replacement where it is long enough, else in turn."""

    indices: tuple[int, ...] = ()

    def requests(self, problems: Problems) -> Requests:
        if len(self.indices) >= self.prompts:
            chosen = problems.rng.choice(self.indices, self.prompts, replace=False).tolist()
        else:
            chosen = [self.indices[place % len(self.indices)] for place in range(self.prompts)]
        yield [Request(problems.prompt(index).tokens, self.n, group=index) for index in chosen]


@study("one-shot-rlvr", paper="arXiv:2504.20571", summary="One training example, chosen by the variance of its accuracy, against the whole pool")
def one_shot_rlvr(options: OneShotOptions, folder: Path, say: Say) -> StudyResult:
    check_text(options.task)
    world = make_world(options.task, **({} if options.model is None else {"model": options.model}))
    ensure_base_policy(world, say)
    terms = [ClippedRatio(0.2, 0.2), KLToReference(options.beta, "k3"), EntropyBonus(options.entropy)]
    spine = PolicyGradient(
        sample=Groups(options.prompts, options.group_size),
        credit=Grouped(ops.group_normalized_advantage),
        terms=terms,
        reduce="sequence-mean",
        micro_batch=64,
        learning_rate=options.learning_rate,
        max_grad_norm=1.0,
    )
    pool = tuple(range(options.pool))
    figures: dict[str, Any] = {"examples": [], "held_out": {"one example": [], "whole pool": [], "no policy gradient": []}, "training": []}
    curves: dict[str, list] = {name: [] for name in figures["held_out"]}
    for seed in range(options.seeds):
        say(f"seed {seed}: ranking {options.pool} problems over {options.epochs} epochs")
        history = accuracies(world, replace(spine, sample=Pool(options.prompts, options.group_size, indices=pool)), seed, options)
        deviation = np.nanstd(history, axis=0)
        example = int(deviation.argmax())
        figures["examples"].append({"problem": example, "deviation": float(deviation[example]), "accuracies": history[:, example].tolist()})
        for name, indices, used in (("one example", (example,), terms), ("whole pool", pool, terms), ("no policy gradient", (example,), terms[1:])):
            plan = Pool(options.prompts, options.group_size, indices=indices)
            steps, scores, rewards = follow(world, replace(spine, sample=plan, terms=used), seed, options)
            figures["held_out"][name].append({"step": steps, "pass@1": scores})
            curves[name].append((np.array(steps), np.array(scores)))
            if name == "one example":
                figures["training"].append(rewards)
            say(f"seed {seed}, {name}: held-out pass@1 {scores[0]:.3f} to {scores[-1]:.3f}")
    final = {name: float(np.mean([run["pass@1"][-1] - run["pass@1"][0] for run in runs])) for name, runs in figures["held_out"].items()}
    figures["gain"] = final
    figures["share_of_pool"] = final["one example"] / final["whole pool"] if final["whole pool"] > 0 else None
    figures["after_saturation"] = [after_saturation(run, rewards) for run, rewards in zip(figures["held_out"]["one example"], figures["training"], strict=True)]
    start = np.mean([run["pass@1"][0] for run in figures["held_out"]["one example"]])
    rows = tuple((name, f"{start:.3f}", f"{start + gain:.3f}", f"{gain:+.3f}") for name, gain in final.items())
    title = f"{world.task}: {options.steps} iterations of {options.prompts} x {options.group_size} answers, {options.seeds} seeds"
    return StudyResult(
        figures,
        (Table(title, ("trained on", "held-out pass@1 before", "after", "gain"), rows),),
        {"held-out": learning_curves(curves, ylabel="held-out pass@1", xlabel="iterations")},
    )


def accuracies(world: Any, spine: PolicyGradient, seed: int, options: OneShotOptions) -> np.ndarray:
    """Accuracy of each problem of the pool in each epoch of a training on it, `[epochs, pool]`; NaN where an epoch missed a problem."""
    each = -(-options.pool // options.prompts)
    learner = spine.learner(world, [seed], each * options.epochs, torch.device("cpu"))
    history = np.full((options.epochs, options.pool), np.nan)
    try:
        for epoch in range(options.epochs):
            right, seen = np.zeros(options.pool), np.zeros(options.pool)
            for _ in range(each):
                learner.iterate()
                rollout = learner.rollout
                for index, reward in zip(rollout.group[0].tolist(), rollout.reward[0].sum(-1).tolist(), strict=True):
                    right[index] += reward > 0.5
                    seen[index] += 1
            known = seen > 0
            history[epoch, known] = right[known] / seen[known]
    finally:
        learner.close()
    return history


def follow(world: Any, spine: PolicyGradient, seed: int, options: OneShotOptions) -> tuple[list[int], list[float], list[float]]:
    """(steps, held-out pass@1 at them, training reward of every iteration) of one training."""
    learner = spine.learner(world, [seed], options.steps, torch.device("cpu"))
    looks = sorted({round(options.steps * place / options.looks) for place in range(options.looks + 1)})
    scores, rewards = [], []
    try:
        for step in range(options.steps + 1):
            if step in looks:
                check_weights(learner, stacked=False)
                scores.append(float(world.evaluate(learner.policy, 1, episodes=options.problems).values.mean()))
            if step < options.steps:
                rewards.append(float(learner.iterate()["reward"]))
    finally:
        learner.close()
    return looks, scores, rewards


def after_saturation(run: dict, rewards: list[float]) -> float | None:
    """What held-out pass@1 gains after the example is always solved (training reward 1 in an iteration); None where it never is."""
    solved = next((step for step, reward in enumerate(rewards) if reward >= 1.0), None)
    if solved is None:
        return None
    later = [score for step, score in zip(run["step"], run["pass@1"], strict=True) if step >= solved]
    return later[-1] - later[0]
