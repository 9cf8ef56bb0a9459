"""GLOW: a lock is opened that chance does not open, regret levels off, ratios need their clip at first; HyGLOW has data in the place of optimism."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from operant import ops
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.loops.planning import Planner
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.problems import LowRank
from operant.worlds.tabular.world import TabularWorld

SEEDS, LENGTH, ACTIONS, CODES = 10, 8, 3, 9
EPISODES, OPENED = 2_000, 300
LOCK = "10 locks of 8 places and 3 actions, of which nine codes are told, one of them right, and a wrong action pays 0.1"


@check(
    "glow-hyglow",
    "clip",
    "exact",
    "after one episode, on more than half of 20 low-rank MDPs with 10 models, a residual weighted by a ratio that is not clipped is larger than the clip",
)
def clip(folder: Path) -> Finding:
    found = learner(TabularWorld(few(20)), 1, seeds=20)
    state, clipped = found.state, 2 * configure("glow-hyglow", {}).gamma
    count = state["following"].sum(-1)
    following = ops.next_step_value(state["q"].amax(-1))
    tables = (state["gained"] / count.clamp(min=1), state["following"] / count.clamp(min=1).unsqueeze(-1))
    residual = state["q"] - ops.bellman_q(tables[0].unsqueeze(1), tables[1].unsqueeze(1), following, discount=1.0)
    weight = torch.where(count[:, None, None] > 0, state["reached"] / state["mixture"].unsqueeze(2).clamp(min=1e-12), 0.0)
    largest = (weight * residual.unsqueeze(1)).abs().flatten(1).amax(1)
    share = (largest > clipped).double().mean().item()
    return Finding(share > 0.5, {"share": share, "above": 0.5, "clip": clipped, "largest": largest.max().item()})


@check("glow-hyglow", "lock", "small", f"after 300 episodes GLOW's policy opens more than 90 % of {LOCK}")
def opens(folder: Path) -> Finding:
    share = opened(learner(TabularWorld(locks()), OPENED))
    return Finding(share > 0.9, {"share": share, "above": 0.9}, seeds=SEEDS)


@check("glow-hyglow", "lock-by-chance", "small", "and epsilon-greedy Q-learning's, which is fitted Q iteration on what it played, fewer than 10 % of them")
def by_chance(folder: Path) -> Finding:
    world = TabularWorld(locks())
    found = get_method("q-learning").build(configure("q-learning", {})).learner(world, list(range(SEEDS)), OPENED, torch.device("cpu"))
    while found.step < OPENED:
        found.iterate()
    share = opened(found)
    return Finding(share < 0.1, {"share": share, "below": 0.1}, seeds=SEEDS)


@check(
    "glow-hyglow",
    "regret",
    "small",
    "log-log slope of the mean regret of 10 low-rank MDPs (8 states, 3 actions, 5 steps, 10 models) over 60 to 2,000 episodes is at most 0.65",
)
def regret(folder: Path) -> Finding:
    curve = played()
    slope = float(np.polyfit(np.log(list(curve)), np.log(list(curve.values())), 1)[0])
    return Finding(slope <= 0.65, {"slope": slope, "at_most": 0.65, "regret at the end": list(curve.values())[-1]}, seeds=SEEDS)


@check("glow-hyglow", "hybrid", "small", "with 300 logged transitions of C* = 4 HyGLOW has no more regret in 300 episodes of these locks than GLOW, in mean")
def hybrid(folder: Path) -> Finding:
    mdp = locks()
    alone = learner(TabularWorld(mdp), OPENED)
    told = learner(TabularWorld(mdp, transitions=300, concentrability=4.0), OPENED, hybrid=True)
    figures = {name: float(found.measures()["regret"].mean()) for name, found in (("GLOW", alone), ("HyGLOW", told))}
    return Finding(figures["HyGLOW"] <= figures["GLOW"], figures, seeds=SEEDS)


def few(seeds: int) -> FiniteMDP:
    """Low-rank MDPs with 10 models."""
    table, sizes = LowRank(5, models=10), (8, 3, list(range(seeds)))
    transition, reward, initial = table.build(*sizes)
    return FiniteMDP(transition.unsqueeze(1), reward.unsqueeze(1), initial, 1.0, 5, **table.told(*sizes))


def locks() -> FiniteMDP:
    """States are the places, then a decoy, the open door, and the end of all; nothing but states pays, so that rewards do not tell the code."""
    states, decoy, door, over = LENGTH + 3, LENGTH, LENGTH + 1, LENGTH + 2
    draw = np.random.default_rng(0)
    codes, place = draw.integers(ACTIONS, size=(SEEDS, CODES, LENGTH)), draw.integers(CODES, size=SEEDS)
    models = torch.zeros(SEEDS, CODES, states, ACTIONS, states, dtype=torch.float64)
    models[:, :, :LENGTH, :, decoy] = models[:, :, LENGTH:, :, over] = 1
    seed, code = np.indices((SEEDS, CODES))
    for step in range(LENGTH):
        models[seed, code, step, codes[..., step], decoy] = 0
        models[seed, code, step, codes[..., step], step + 1 if step + 1 < LENGTH else door] = 1
    reward = torch.zeros(1, 1, states, ACTIONS, dtype=torch.float64)
    reward[..., decoy, :], reward[..., door, :] = 0.1, 1
    initial = torch.eye(states, dtype=torch.float64)[:1]
    measures = torch.eye(states, dtype=torch.float64).repeat(SEEDS, CODES, 1, 1)
    right = models[torch.arange(SEEDS), torch.from_numpy(place)].unsqueeze(1)
    return FiniteMDP(right, reward, initial, 1.0, LENGTH + 1, candidate_features=models, candidate_measures=measures)


def learner(world: TabularWorld, episodes: int, watch=None, seeds: int = SEEDS, **hyper) -> Planner:
    """One that has played so many episodes; `watch` is called after each look at the metrics."""
    spine = get_method("glow-hyglow").build(configure("glow-hyglow", hyper))
    found = spine.learner(world, list(range(seeds)), episodes, torch.device("cpu"))
    while found.step < episodes:
        found.iterate()
        if watch is not None:
            watch(found)
    return found


def opened(found: Planner) -> float:
    """Share of the locks that the policy opens."""
    return float((found.world.evaluate(found.policy, SEEDS).values[:, 0] > 0.9).mean())


@cache
def played() -> dict[int, float]:
    """Mean regret by episodes."""
    points, curve = {int(round(x / 20) * 20) for x in np.geomspace(60, EPISODES, 15)}, {}

    def watch(found: Planner) -> None:
        if found.step in points:
            curve[found.step] = found.problem.regret.total.mean().item()

    learner(TabularWorld(few(SEEDS)), EPISODES, watch)
    return curve
