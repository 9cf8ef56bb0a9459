"""A Bradley-Terry reward model: it finds the better of two held-out answers, and the best of several."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from operant.evidence import Finding, check
from operant.loops.runs import Run, load, train
from operant.worlds import make_world
from operant.worlds.text.rewards import RewardVerifier

ANSWERS, PROBLEMS = 8, 128


@check(
    "reward-model",
    "held-out pairs",
    "small",
    "preferences:arithmetic, 200 updates of 32 pairs with the defaults, 5 seeds: the preferred of two held-out answers has the larger reward in at least 65 % "
    "(lower end of the 95 % interval)",
)
def orders_held_out_pairs(folder: Path) -> Finding:
    score = trained(folder).result["score"]
    return Finding(score["low"] >= 0.65, score | {"threshold": 0.65}, seeds=5)


@check(
    "reward-model",
    "best of 8",
    "small",
    "the same models on text:arithmetic: of 8 answers of the base policy to each of 128 held-out problems the one with the largest reward is right more often "
    "than one of them on average, by at least 0.1 (mean over 5 seeds)",
)
def finds_the_best(folder: Path) -> Finding:
    run = trained(folder)
    best, average = (float(np.mean(values)) for values in zip(*(best_of(run, seed) for seed in range(5)), strict=True))
    return Finding(best - average >= 0.1, {"best": best, "average": average, "gain": best - average, "threshold": 0.1}, seeds=5)


def trained(folder: Path) -> Run:
    """Five seeds, trained once in a sitting."""
    place = folder / "reward-model"
    return load(place) if place.exists() else train("reward-model", "preferences:arithmetic", seeds=5, steps=200, every=200, progress=False, out=place)


def best_of(run: Run, seed: int) -> tuple[float, float]:
    """(share of held-out problems whose answer with the largest reward is right, share of all answers that are)."""
    from operant.core.random import Streams
    from operant.evidence.rlvr.tier import draw_answers
    from operant.loops.base_policy import ensure_base_policy

    world = make_world("text:arithmetic")
    ensure_base_policy(world, lambda message: None)
    problems = world.problems.held_out(world.problems.splits[0], PROBLEMS)
    texts = draw_answers(world, world.policy(None, Streams([0])), problems, ANSWERS, seed)
    items = [(problem, text) for problem, answers in zip(problems, texts, strict=True) for text in answers]
    reward = np.array([verdict.value for verdict in RewardVerifier(run.path / "policies" / "last" / f"seed-{seed}").score(items)]).reshape(-1, ANSWERS)
    right = np.array([world.problems.verifier.score(problem, text) > 0.5 for problem, text in items]).reshape(-1, ANSWERS)
    return float(right[np.arange(len(right)), reward.argmax(1)].mean()), float(right.mean())
