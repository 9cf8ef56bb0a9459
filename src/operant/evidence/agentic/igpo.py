"""IGPO on lookup by a tool: gains telescope, necessary facts gain more, fewer updates than GRPO on the outcome, and hardly a group without a signal."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.records import Rollout
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.loops.base_policy import ensure_base_policy
from operant.loops.policy_gradient import PolicyGradientLearner
from operant.worlds import make_world
from operant.worlds.text.tasks.lookup import fact, is_call

TASK = "text:lookup"
SEEDS, ITERATIONS, WINDOW = 5, 30, 5
SIZES = {"prompts": 8, "group_size": 8}


@check("igpo", "telescoping", "small", "text:lookup, base policy, 256 rows: the gains of a row's turns sum to g_last - g_0 within 1e-6")
def telescoping(folder: Path) -> Finding:
    rollout = sampled(32)
    gain, turn = gains(rollout), rollout.extras["turn"]
    last = turn.gather(-1, (rollout.terminated | rollout.truncated).long().argmax(-1, keepdim=True))
    value = ops.turn_sums(rollout.extras["turn_answer_likelihood"] * ops.turn_ends(turn, rollout.mask), turn, int(turn.max()) + 1)
    error = float((gain.sum(-1) - (value.gather(-1, last).squeeze(-1) - rollout.extras["start_answer_likelihood"])).abs().max())
    return Finding(error <= 1e-6, {"largest error": error, "tolerance": 1e-6, "rows": gain.shape[1]}, seeds=1)


@check(
    "igpo",
    "necessary-facts",
    "small",
    "text:lookup, base policy, 1,024 rows: turns that return the next fact of the chain gain more than other calls do, AUC at least 0.8",
)
def necessary_facts(folder: Path) -> Finding:
    found: dict[bool, list[float]] = {True: [], False: []}
    learner = made("igpo", 0, prompts=128)
    rollout = scored(learner)
    gain, source = gains(rollout)[0], learner.source
    for row in range(rollout.shape[1]):
        problem, known = source.problem(int(rollout.group[0, row])), {}
        name = problem.prompt[:2]
        for hop, relation in enumerate(problem.prompt[2:]):
            known[name + relation] = hop
            name = fact(problem.metadata["table"], name, relation)
        reached = 0
        turn, own = rollout.extras["turn"][0, row], rollout.mask[0, row]
        for number in range(int(turn[own].max())):
            text = source.tokenizer.decode(rollout.action[0, row, own & (turn == number)].tolist(), skip_special_tokens=True)
            if is_call(text):
                needed = known.get(text) == reached
                reached += needed
                found[needed].append(float(gain[row, own & (turn == number)].sum()))
    area = auc(found[True], found[False])
    kinds = {name: {"turns": len(found[key]), "mean gain": float(np.mean(found[key]))} for name, key in (("necessary", True), ("others", False))}
    return Finding(area >= 0.8, {"auc": area, "at least": 0.8} | kinds, seeds=1)


@check(
    "igpo",
    "updates",
    "small",
    f"text:lookup, {ITERATIONS} iterations of 8 prompts x 8 rows: the mean outcome of {WINDOW} iterations reaches what GRPO on the outcome ends with in at "
    "most 0.6 times GRPO's iterations, mean over 5 seeds (outcomes of training rows in the place of held-out success)",
)
def updates(folder: Path) -> Finding:
    curves = {key: [curve for curve, _ in trained(key)] for key in ("igpo", "grpo")}
    final = float(np.mean([curve[-1] for curve in curves["grpo"]]))
    reached = [next((place + 1 for place, value in enumerate(curve) if value >= final), len(curve) + 1) for curve in curves["igpo"]]
    own = [next(place + 1 for place, value in enumerate(curve) if value >= curve[-1]) for curve in curves["grpo"]]
    ratio = float(np.mean(reached)) / len(curves["grpo"][0])
    figures = {"ratio": ratio, "at most": 0.6, "iterations": reached, "grpo reaches its own end at": own, "grpo's end": final}
    return Finding(ratio <= 0.6, figures | {"end": {key: [float(curve[-1]) for curve in found] for key, found in curves.items()}}, seeds=SEEDS)


@check("igpo", "silent-groups", "small", "the same runs: the share of groups whose advantages are all 0 is below 0.1 times GRPO's, over iterations and seeds")
def silent_groups(folder: Path) -> Finding:
    share = {key: float(np.mean([silent for _, silent in trained(key)])) for key in ("igpo", "grpo")}
    return Finding(share["igpo"] < 0.1 * share["grpo"], share | {"ratio below": 0.1}, seeds=SEEDS)


def made(key: str, seed: int, prompts: int = SIZES["prompts"]) -> PolicyGradientLearner:
    """A learner of a method that starts from the base policy."""
    world = make_world(TASK)
    ensure_base_policy(world, lambda message: None)
    return get_method(key).build(configure(key, SIZES | {"prompts": prompts})).learner(world, [seed], ITERATIONS, torch.device("cpu"))


def scored(learner: PolicyGradientLearner) -> Rollout:
    """A scored rollout of the base policy with the likelihoods of the answers."""
    rollout = learner.source.score(learner.source.sample(learner.policy, 0))
    rollout.extras |= learner.source.measure(learner.method.shape[0].needs, rollout, learner.policy)
    return rollout


def sampled(prompts: int) -> Rollout:
    return scored(made("igpo", 0, prompts))


def gains(rollout: Rollout) -> Tensor:
    """What `InformationGain` adds to the rewards."""
    return get_method("igpo").build(configure("igpo", {})).shape[0](rollout) - rollout.reward


@cache
def trained(key: str) -> list[tuple[np.ndarray, float]]:
    """Of each seed the mean outcome of the last iterations along training, and the share of groups without any advantage."""
    return [train(key, seed) for seed in range(SEEDS)]


def train(key: str, seed: int) -> tuple[np.ndarray, float]:
    learner = made(key, seed)
    rewards, silent = [], []
    while learner.step < ITERATIONS:
        rewards.append(float(learner.iterate()["reward"]))
        rollout = learner.rollout
        speaks = (rollout.extras["advantage"] != 0).any(-1)[0]
        silent += [not bool(speaks[rollout.group[0] == group].any()) for group in rollout.group[0].unique()]
    return np.convolve(rewards, np.full(WINDOW, 1 / WINDOW), "valid"), float(np.mean(silent))


def auc(high: list[float], low: list[float]) -> float:
    """Probability that one of `high` lies above one of `low`; ties count half."""
    above = np.array(high)[:, None] - np.array(low)
    return float(np.mean(above > 0) + 0.5 * np.mean(above == 0))
