"""Score parity: PPO and SAC beside Stable-Baselines3's at equal settings, and what advantages of PPO are normalised over.

Written before it was run. PPO: 8 environments × 128 steps, minibatches of 256, 4 epochs, everything else at the defaults that both share; SAC: the peer's
defaults, 100 random steps first. Seeds 0 to 19 (SAC 0 to 9) on each side; the final policy on 10 fresh episodes, by its mode, PPO's with sampled ones.
Test: two-sided Mann-Whitney on the seeds' mean returns by mode, level 0.05 over the five tasks, 0.01 for each (Bonferroni; before any p was looked at this was
Holm's correction, for which all five had to be run in one go).
SAC's policies are compared on the same ten starts. At first each side had ten of its own, the same for all of its seeds: 10 of ours had -155.7 [-156.4, -154.9]
and 10 of the peer's -120.3 [-120.8, -119.9], p 0.00015, for on Pendulum the return is little but how low the pole hangs at the start.
Hypothesis of the rule: with advantages normalised over the whole rollout more seeds' modes are stuck (Acrobot) than with each minibatch by itself.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np

from operant.core.random import Streams
from operant.evidence import Finding, check
from operant.evidence.online.peer import on_the_same_starts, sb3_scores
from operant.loops.runs import Run, train
from operant.nets.actors import Stochastic
from operant.worlds.gym.episodes import run_episodes

PPO_TASKS = {"Acrobot-v1": 100_000, "CartPole-v1": 50_000, "LunarLander-v3": 100_000, "Hopper-v5": 100_000}
PPO_SEEDS = 20
PPO_PEER = {"n_steps": 128, "batch_size": 256, "n_epochs": 4}
SAC_TASKS = {"Pendulum-v1": 8_000}
SAC_SEEDS = 10
LEVEL = 0.05
PERMUTATIONS = 20_000
COMPARISONS = len(PPO_TASKS) + len(SAC_TASKS)
PARITY = "at equal settings the return by mode is not below Stable-Baselines3's (Mann-Whitney, two-sided, level 0.01, which is 0.05 over five tasks)"


def _ppo(task: str) -> None:
    name = f"ppo-{task.split('-')[0].lower()}"

    @check("parity", name, "real", f"PPO, {PPO_SEEDS} seeds, {task}, {PPO_TASKS[task]:,} steps: {PARITY}")
    def measure(folder: Path) -> Finding:
        steps = PPO_TASKS[task]
        rules = {
            rule: scores(train("ppo", f"gym:{task}", seeds=PPO_SEEDS, steps=steps, every=steps, out=folder / task / rule, normalize_advantage=rule))
            for rule in ("minibatch", "rollout")
        }
        found = compared(rules["minibatch"], sb3_scores("PPO", task, steps=steps, seeds=PPO_SEEDS, environments=8, settings=PPO_PEER))
        found |= {"normalised over the rollout": rules["rollout"]}
        return _finding(found | {"p of the rules": rank_test(rules["minibatch"]["per_seed"], rules["rollout"]["per_seed"])}, PPO_SEEDS)


for _task in PPO_TASKS:
    _ppo(_task)


@check("parity", "sac-pendulum", "real", f"SAC, {SAC_SEEDS} seeds, Pendulum-v1, 8,000 steps, the same ten starts: {PARITY}")
def sac_pendulum(folder: Path) -> Finding:
    task, steps = next(iter(SAC_TASKS.items()))
    run = train("sac-v2", f"gym:{task}", seeds=SAC_SEEDS, steps=steps, every=steps, out=folder / task, learning_starts=100)
    ours, peer = on_the_same_starts(run, task) | {"steps": run.result["steps"]}, sb3_scores("SAC", task, steps=steps, seeds=SAC_SEEDS)
    return _finding({"operant": ours, "peer": peer, "p": rank_test(ours["per_seed"], peer["per_seed"])}, SAC_SEEDS)


def _finding(found: dict[str, Any], seeds: int) -> Finding:
    return Finding(found["p"] >= LEVEL / COMPARISONS or found["operant"]["iqm"] > found["peer"]["iqm"], found, seeds)


def compared(ours: dict[str, Any], peer: dict[str, Any]) -> dict[str, Any]:
    """Both sides, and how probable so large a difference is where there is none, by mode and with sampled actions."""
    return {
        "operant": ours,
        "peer": peer,
        "p": rank_test(ours["per_seed"], peer["per_seed"]),
        "p with sampled actions": rank_test(ours["sampled"], peer["sampled"]),
    }


def scores(run: Run) -> dict[str, Any]:
    """The score object of a run, with each seed's mean return with sampled actions beside."""
    sampled = []
    for index, seed in enumerate(range(run.config["seed"], run.config["seed"] + run.config["seeds"])):
        policy = Stochastic(run.load_policy(seed), Streams([seed]))
        played = run_episodes(run.world.make, policy.act, 1, 10, index, run.world.most_steps)
        sampled.append(float(played.total.mean()))
    return run.result["score"] | {"steps": run.result["steps"], "sampled": sampled}


def rank_test(x: list[float], y: list[float]) -> float:
    """p of the two-sided Mann-Whitney test (ties share their mean rank): over all ways to split the values where they are few, else over random ones."""
    values = np.concatenate([x, y]).round(9)
    ranks = np.array([(values < value).sum() + ((values == value).sum() + 1) / 2 for value in values])
    middle = len(x) * (len(values) + 1) / 2
    found = abs(ranks[: len(x)].sum() - middle)
    if math.comb(len(values), len(x)) <= PERMUTATIONS:
        sums = np.array([ranks[list(chosen)].sum() for chosen in itertools.combinations(range(len(values)), len(x))])
    else:
        generator = np.random.default_rng(0)
        sums = np.array([found + middle, *(generator.permutation(ranks)[: len(x)].sum() for _ in range(PERMUTATIONS))])
    return float((np.abs(sums - middle) >= found - 1e-9).mean())
