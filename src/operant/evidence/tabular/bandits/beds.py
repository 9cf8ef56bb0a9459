"""What the claims of bandit methods share: runs, their regret, and intervals over seeds."""

from __future__ import annotations

import numpy as np
import torch

from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.evaluate.statistics import t_quantile
from operant.loops.planning import Planner
from operant.worlds import make_world
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.world import TabularWorld

SEEDS = 10


def world(task: str | FiniteMDP, **options: object) -> TabularWorld:
    """A task by name, or an MDP that is ready."""
    return TabularWorld(task, **options) if isinstance(task, FiniteMDP) else make_world(f"tabular:{task}", **options)


def played(key: str, bed: TabularWorld, rounds: int, seeds: int = SEEDS, **hyper: object) -> Planner:
    """A learner that has played so many rounds on each of the seeds from 0 on."""
    learner = get_method(key).build(configure(key, hyper)).learner(bed, list(range(seeds)), rounds, torch.device("cpu"))
    while learner.step < rounds:
        learner.iterate()
    return learner


def outcome(learner: Planner) -> dict[str, np.ndarray]:
    """Regret and its exponent, of each seed."""
    regret = learner.problem.regret
    return {"regret": regret.total.numpy(), "exponent": regret.exponent().numpy()}


def at_random(bed: TabularWorld, rounds: int, seeds: int = SEEDS) -> np.ndarray:
    """The regret of uniform play, `[seeds]`, of problems that are not adversarial."""
    mdp = bed.mdp(Streams(range(seeds)))
    uniform = torch.full((seeds, *mdp.shape), 1 / mdp.actions, dtype=torch.float64)
    return (rounds * (mdp.start_value(mdp.optimum[0]) - mdp.start_value(mdp.value(uniform)))).numpy()


def gaps(bed: TabularWorld, seeds: int = SEEDS) -> tuple[np.ndarray, np.ndarray]:
    """Of bandits without contexts the mean of each action, and what it lacks, `[seeds, A]`."""
    mean = bed.mdp(Streams(range(seeds))).reward[:, 0, 0].expand(seeds, -1).numpy()
    return mean, mean.max(-1, keepdims=True) - mean


def interval(values: np.ndarray) -> list[float]:
    """Mean, and the ends of its 95 % t interval over seeds."""
    half = t_quantile(0.975, len(values) - 1) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return [round(float(np.mean(values) + shift), 4) for shift in (0.0, -half, half)]
