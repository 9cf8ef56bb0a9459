"""Workers that sample beside one run (SRL, arXiv:2306.16688: decoupled actors and trainers, here processes of one machine). Written before it was run.

SRL's claims are of clusters; what two cores can show of them is that the synchronous mode is the loop of one process, that overlapping hides latency, and that
nothing is learned from that is older than allowed. Steps of the delayed environment wait and compute nothing, as a simulator elsewhere would have it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import gymnasium
import torch

from operant.core.checkpoint import first_difference
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.evidence.online.parity import rank_test
from operant.loops.learner import Learner
from operant.loops.runs import train
from operant.worlds.base import SampleWorkers
from operant.worlds.gym.world import GymWorld

DELAY, GAIN = 0.005, 1.3
SEEDS, LEVEL, STEPS = 10, 0.05, 40_000


class Delayed(gymnasium.Wrapper):
    def step(self, action):
        time.sleep(DELAY)
        return super().step(action)


def delayed() -> gymnasium.Env:
    return Delayed(gymnasium.make("CartPole-v1"))


def ppo(task: Any, beside: SampleWorkers | None, **settings: int) -> Learner:
    spine = get_method("ppo").build(configure("ppo", settings))
    return (spine if beside is None else spine.sampled_by(beside)).learner(GymWorld(task), [0], 10**6, torch.device("cpu"))


@check(
    "srl-distributed",
    "bits",
    "small",
    "ppo on CartPole-v1, seed 0: after 20 iterations of 8 environments × 128 steps weights, Adam's moments and episode returns of 1, 2 and 4 workers without"
    " staleness are those of one process, bit for bit",
)
def bits(folder: Path) -> Finding:
    found = {}
    for count in (0, 1, 2, 4):
        learner = ppo("CartPole-v1", SampleWorkers(count) if count else None)
        try:
            metrics = [learner.iterate() for _ in range(20)]
            found[count] = {name: learner.state_dict()[name] for name in ("policy", "optimizer")} | {"metrics": metrics}
        finally:
            learner.close()
    differs = {f"{count} workers": first_difference(found[0], found[count]) or "nowhere" for count in (1, 2, 4)}
    return Finding(set(differs.values()) == {"nowhere"}, {"differs": differs, "iterations": 20}, 1)


@check(
    "srl-distributed",
    "overlap",
    "small",
    f"ppo on CartPole-v1 whose steps wait 5 ms (8 environments × 32 steps an iteration, 10 passes of 8 minibatches): 2 workers with a staleness of 1 make at"
    f" least {GAIN} times the environment steps a second of one process, over 6 iterations behind the first ones",
)
def overlap(folder: Path) -> Finding:
    speeds = {}
    for name, beside in (("one process", None), ("2 workers", SampleWorkers(2)), ("2 workers, staleness 1", SampleWorkers(2, 1))):
        learner = ppo(delayed, beside, environments=8, rollout_length=32, epochs=10, minibatches=8)
        try:
            for _ in range(2):
                learner.iterate()
            began = time.perf_counter()
            for _ in range(6):
                learner.iterate()
            speeds[name] = round(6 * learner.stride / (time.perf_counter() - began), 1)
        finally:
            learner.close()
    gain = speeds["2 workers, staleness 1"] / speeds["one process"]
    return Finding(gain >= GAIN, {"steps_per_second": speeds, "gain": round(gain, 3), "at_least": GAIN}, 1)


@check(
    "srl-distributed",
    "staleness",
    "small",
    "ppo on CartPole-v1, seed 0, 4 workers, 30 iterations: the weights that acted are never more than K updates behind those that learn, for K of 0, 1, 2 and"
    " 4, and K behind in the end",
)
def staleness(folder: Path) -> Finding:
    ages = {}
    for most in (0, 1, 2, 4):
        learner = ppo("CartPole-v1", SampleWorkers(4, most), rollout_length=32)
        try:
            ages[most] = []
            for _ in range(30):
                learner.iterate()
                ages[most].append(learner.version - 1 - learner.rollout.version)
        finally:
            learner.close()
    holds = all(max(found) == most == found[-1] for most, found in ages.items())
    return Finding(holds, {"largest": {f"K = {most}": max(found) for most, found in ages.items()}}, 1)


@check(
    "srl-distributed",
    "learning",
    "small",
    f"ppo on CartPole-v1, {STEPS:,} steps: the mean returns of {SEEDS} seeds with 2 workers and a staleness of 1 are not below those of one process"
    f" (Mann-Whitney, two-sided, level {LEVEL})",
)
def learning(folder: Path) -> Finding:
    given = {"seeds": SEEDS, "steps": STEPS, "every": STEPS, "progress": False}
    alone = train("ppo", "gym:CartPole-v1", out=folder / "alone", **given).result["score"]
    stale = train("ppo", "gym:CartPole-v1", out=folder / "stale", sample_workers=2, staleness=1, **given).result["score"]
    probability = rank_test(stale["per_seed"], alone["per_seed"])
    below = probability < LEVEL and stale["iqm"] < alone["iqm"]
    return Finding(not below, {"one process": alone, "staleness 1": stale, "probability": probability, "level": LEVEL}, SEEDS)
