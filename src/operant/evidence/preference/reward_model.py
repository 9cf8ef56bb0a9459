"""A Bradley-Terry reward model: it finds much of the reward behind preferences where it can be read off an answer; whether a sum is right it does not learn.

The first two checks were stated first, and fail. Eight hundred pairs of sums teach a model of 1M parameters the form of an answer and not whether it is right:
of held-out pairs of well-formed answers it finds the better one in half (one seed; after 800 updates it knows its training pairs by heart, and no others).
What it chooses of 8 answers is then right less often than they are on average, and that is no preference for what is wrong: the right answer is one text that
is drawn several times, the wrong ones are many texts, and the largest of numbers that know nothing is each text's alike ("of distinct ones" in the record).
The other two were stated then, before they were run. The model finds the answers that have more of a reward that shows, and knows it less exactly, from 200
updates on pairs that chance has labelled, than was claimed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from operant.core.random import Streams
from operant.evidence import Finding, check
from operant.loops.runs import Run, load, train
from operant.worlds import make_world
from operant.worlds.text.rewards import RewardVerifier
from operant.worlds.text.tasks.base import Problem

ANSWERS, PROBLEMS = 8, 128
PAIRED = 4_096  # training problems with a pair of answers each; HELD_OUT more for the test
HELD_OUT = 256
LOW = set("01234")


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
    best, average, distinct = (float(np.mean(values)) for values in zip(*(best_of(run, seed) for seed in range(5)), strict=True))
    figures = {"best": best, "average": average, "of distinct ones": distinct, "gain": best - average, "threshold": 0.1}
    return Finding(best - average >= 0.1, figures, seeds=5)


@check(
    "reward-model",
    "hidden reward",
    "small",
    "pairs of the base policy's answers to 4,096 problems of text:arithmetic, of which one is preferred with probability sigmoid(r - r'), r being how many "
    "digits of an answer are below 5; 200 updates of 32 pairs with the defaults, 5 seeds: on pairs of answers to 256 other problems the difference of the "
    "learned rewards has a correlation of at least 0.9 with that of r (mean over seeds)",
)
def finds_the_hidden_reward(folder: Path) -> Finding:
    run = shown(folder)
    with (folder / "pairs.jsonl").open() as file:
        rows = [row for row in map(json.loads, file) if row["split"] == "test"]
    texts = [(Problem(row["prompt"], ""), row[name]) for row in rows for name in ("chosen", "rejected")]
    true = np.subtract(*np.array([low_digits(text) for _, text in texts], float).reshape(-1, 2).T)
    learned = [np.subtract(*rewards(run, seed, texts).reshape(-1, 2).T) for seed in range(5)]
    correlation = [float(np.corrcoef(margin, true)[0, 1]) for margin in learned]
    slope = [float(margin @ true / (true @ true)) for margin in learned]  # 1 would be the reward itself
    figures = {"correlation": correlation, "slope": slope, "pairs": len(rows), "accuracy": run.result["score"]["per_seed"], "threshold": 0.9}
    return Finding(float(np.mean(correlation)) >= 0.9, figures, seeds=5)


@check(
    "reward-model",
    "hidden reward, best of 8",
    "small",
    "the same models: of 8 answers of the base policy to each of 128 held-out problems the one with the largest learned reward has an r above their average by "
    "at least 0.8 of what the one with the largest r has (mean over 5 seeds)",
)
def finds_the_best_by_hidden_reward(folder: Path) -> Finding:
    run, share = shown(folder), []
    for seed in range(5):
        items = answers(seed)
        true = np.array([low_digits(text) for _, text in items], float).reshape(-1, ANSWERS)
        chosen = rewards(run, seed, items).reshape(-1, ANSWERS).argmax(1)
        gain = true[np.arange(len(true)), chosen].mean() - true.mean()
        share.append(float(gain / (true.max(1).mean() - true.mean())))
    return Finding(float(np.mean(share)) >= 0.8, {"share": share, "threshold": 0.8}, seeds=5)


def trained(folder: Path) -> Run:
    """Five seeds on which of two answers is right, trained once in a sitting."""
    place = folder / "reward-model"
    return load(place) if place.exists() else train("reward-model", "preferences:arithmetic", seeds=5, steps=200, every=200, progress=False, out=place)


def shown(folder: Path) -> Run:
    """Five seeds on preferences for digits below 5, trained once in a sitting."""
    place, pairs = folder / "hidden-reward", folder / "pairs.jsonl"
    if place.exists():
        return load(place)
    rng, rows = np.random.default_rng(0), []
    task = base_world().problems
    problems = [task.numbered(0, index) for index in range(PAIRED)] + task.held_out(task.splits[0], HELD_OUT)
    for number, (problem, texts) in enumerate(zip(problems, drawn(problems, 2, seed=100), strict=True)):
        first, other = texts
        if rng.random() >= 1 / (1 + np.exp(low_digits(other) - low_digits(first))):
            first, other = other, first
        if first != other and first.strip() and other.strip():
            rows.append({"prompt": problem.prompt, "chosen": first, "rejected": other, "split": "train" if number < PAIRED else "test"})
    pairs.write_text("\n".join(map(json.dumps, rows)))
    return train("reward-model", f"preferences:{pairs}", model=str(base_world().base), seeds=5, steps=200, every=200, progress=False, out=place)


def low_digits(text: str) -> int:
    """r: how many digits of an answer are below 5."""
    return sum(character in LOW for character in text)


@cache
def base_world():
    """text:arithmetic with its base policy."""
    from operant.loops.base_policy import ensure_base_policy

    world = make_world("text:arithmetic")
    ensure_base_policy(world, lambda message: None)
    return world


def drawn(problems: Sequence[Problem], count: int, seed: int) -> list[list[str]]:
    """The base policy's answers to each problem."""
    from operant.evidence.rlvr.tier import draw_answers

    world = base_world()
    policy = world.policy(None, Streams([0]))
    parts = [draw_answers(world, policy, list(problems[start : start + 256]), count, seed + start) for start in range(0, len(problems), 256)]
    return [texts for part in parts for texts in part]


@cache
def answers(seed: int) -> list[tuple[Problem, str]]:
    """`ANSWERS` answers of the base policy to each of `PROBLEMS` held-out problems."""
    task = base_world().problems
    problems = task.held_out(task.splits[0], PROBLEMS)
    return [(problem, text) for problem, texts in zip(problems, drawn(problems, ANSWERS, seed), strict=True) for text in texts]


def rewards(run: Run, seed: int, items: Sequence[tuple[Problem, str]]) -> np.ndarray:
    """What one seed's model gives answers."""
    return np.array([verdict.value for verdict in RewardVerifier(run.path / "policies" / "last" / f"seed-{seed}").score(items)])


def best_of(run: Run, seed: int) -> tuple[float, float, float]:
    """Shares of held-out problems whose answer with the largest reward is right, of all answers that are, and of distinct answers, mean over problems."""
    items, verifier = answers(seed), base_world().problems.verifier
    reward = rewards(run, seed, items).reshape(-1, ANSWERS)
    right = np.array([verifier.score(problem, text) > 0.5 for problem, text in items]).reshape(-1, ANSWERS)
    texts = np.array([text for _, text in items]).reshape(-1, ANSWERS)
    distinct = [np.mean(list(dict(zip(each, row, strict=True)).values())) for each, row in zip(texts, right, strict=True)]
    return float(right[np.arange(len(right)), reward.argmax(1)].mean()), float(right.mean()), float(np.mean(distinct))
