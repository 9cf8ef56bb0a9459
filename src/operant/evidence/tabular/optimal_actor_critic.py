"""Optimal actor-critic: regret that grows as the root, critics that are replaced a logarithm of times, and data in the place of optimism where they cover."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from operant import ops
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.loops.planning import Planner
from operant.worlds.tabular.world import TabularWorld

SEEDS, EPISODES, HYBRID = 10, 10_000, 3_000
TASKS = ("river-swim", "linear-mdp")


@check(
    "optimal-actor-critic",
    "excess-loss",
    "exact",
    "on 20 random MDPs with 200 transitions each the excess of a Q's squared loss, from counts and means, is what it is transition by transition, to 1e-9",
)
def excess(folder: Path) -> Finding:
    world = TabularWorld("random-episodes", transitions=200, concentrability=None)
    streams = Streams(list(range(20)))
    samples, draw = world.samples(streams), np.random.default_rng(0)
    count, reward, transition = samples.model
    value = torch.from_numpy(draw.random((20, *world.shape[:2])))
    q, mean = torch.from_numpy(draw.random((20, *world.shape))), samples.backup(reward, transition, value)
    target = samples.reward + samples.next_value(value)
    by_step = samples.pair // (world.shape[1] * world.shape[2])
    lost = [(of.flatten(1).gather(1, samples.pair) - target).square() for of in (q, mean)]
    literal = torch.stack([((lost[0] - lost[1]) * (by_step == step)).sum(1) for step in range(world.shape[0])], 1)
    error = (ops.excess_squared_loss(q, mean, mean, count) - literal).abs().max().item()
    return Finding(error <= 1e-9, {"largest error": error, "at_most": 1e-9})


@check(
    "optimal-actor-critic",
    "regret",
    "small",
    "log-log slope of regret on episodes over 100 to 10,000 at most 0.6 in the mean of 10 seeds, on tabular:river-swim and on tabular:linear-mdp, the bonus's "
    "scale 0.01 (the row: up to 100,000)",
    theorem="regret √T",
)
def regret(folder: Path) -> Finding:
    slopes = {task: played(task)[0] for task in TASKS}
    figures = {task: {"mean": float(found.mean()), "seeds": found.round(3).tolist()} for task, found in slopes.items()}
    return Finding(all(found.mean() <= 0.6 for found in slopes.values()), figures | {"at_most": 0.6}, seeds=SEEDS)


@check(
    "optimal-actor-critic",
    "switches",
    "small",
    "there the number of switches (mean of 10 seeds, at numbers of episodes from 100 to 10,000) is linear in log T with R² at least 0.9 on both tasks",
    theorem="switches grow as log T",
)
def switches(folder: Path) -> Finding:
    fits = {}
    for task in TASKS:
        curve = played(task)[1]
        logs, counts = np.log(list(curve)), np.array(list(curve.values()))
        slope, base = np.polyfit(logs, counts, 1)
        left = ((counts - slope * logs - base) ** 2).sum() / ((counts - counts.mean()) ** 2).sum()
        fits[task] = {"R2": float(1 - left), "switches per factor of e": float(slope), "at the end": float(counts[-1])}
    return Finding(all(fit["R2"] >= 0.9 for fit in fits.values()), fits | {"R2 at least": 0.9}, seeds=SEEDS)


@check(
    "optimal-actor-critic",
    "covered",
    "small",
    "without optimism, with 10,000 logged transitions of C* = 2, the regret of 3,000 episodes of tabular:river-swim is at most that of the optimistic critic "
    "that has no data, in the mean of 10 seeds",
    theorem="data that cover take optimism's place",
)
def covered(folder: Path) -> Finding:
    told, alone = hybrid(None), learner(TabularWorld("river-swim"), HYBRID).measures()
    figures = {f"regret {of}": float(found["regret"].mean()) for of, found in (("with data", told), ("of optimism", alone))}
    return Finding(told["regret"].mean() <= alone["regret"].mean(), figures, seeds=SEEDS)


@check(
    "optimal-actor-critic",
    "not-covered",
    "small",
    "without optimism, with 10,000 logged transitions of swimming down alone, the log-log slope of regret over 30 to 3,000 episodes is at least 0.9 in the "
    "mean of 10 seeds",
    theorem="data that do not cover do not",
)
def uncovered(folder: Path) -> Finding:
    mdp = TabularWorld("river-swim").mdp(Streams([0]))
    down = torch.zeros(1, *mdp.shape, dtype=torch.float64)
    down[..., 0] = 1
    slope = float(hybrid(mdp.occupancy(down))["regret exponent"].mean())
    return Finding(slope >= 0.9, {"slope": slope, "at_least": 0.9}, seeds=SEEDS)


def learner(world: TabularWorld, episodes: int, watch=None, **hyper) -> Planner:
    """One that has played so many episodes; `watch` is called after each look at the metrics."""
    spine = get_method("optimal-actor-critic").build(configure("optimal-actor-critic", hyper))
    found = spine.learner(world, list(range(SEEDS)), episodes, torch.device("cpu"))
    while found.step < episodes:
        found.iterate()
        if watch is not None:
            watch(found)
    return found


def hybrid(data: torch.Tensor | None) -> dict[str, np.ndarray]:
    world = TabularWorld("river-swim", data=data, concentrability=2.0)
    return learner(world, HYBRID, optimistic=False, offline=True).measures()


@cache
def played(task: str) -> tuple[np.ndarray, dict[int, float]]:
    """Regret's exponents, and the mean number of switches by episodes."""
    points, curve = {int(round(x, -2)) for x in np.geomspace(100, EPISODES, 20)}, {}

    def watch(found: Planner) -> None:
        if found.step in points:
            curve[found.step] = found.state["switches"].mean().item()

    found = learner(TabularWorld(task), EPISODES, watch)
    return found.measures()["regret exponent"], curve
