"""Contrastive UCB: its ratio comes near to the truth as samples grow, and its bonus finds what a greedy learner never tries."""

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
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.world import TabularWorld

SEEDS, SAMPLES, EPISODES = 10, 20_000, 5_000
CURRENTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)  # probability of getting on upstream, of the models of the river; 0.35 is right


@check(
    "contrastive-ucb",
    "minimiser",
    "exact",
    "of 20 low-rank MDPs the expected contrastive loss is smaller at f = P / p0 than at 100 other f of the same rank, for uniform pairs",
)
def minimiser(folder: Path) -> Finding:
    mdp, draw = TabularWorld("low-rank").mdp(Streams(list(range(20)))), np.random.default_rng(0)
    transition, states = mdp.transition[:, 0], mdp.states
    features, measures = mdp.candidate_features, mdp.candidate_measures

    def expected(ratio: torch.Tensor) -> torch.Tensor:
        positive, negative = (ops.contrastive_loss(ratio, torch.zeros_like(ratio)), ops.contrastive_loss(torch.full_like(ratio, torch.inf), ratio))
        return (transition * positive + negative / states).sum(-1).mean((-2, -1))

    best, least = expected(transition * states), torch.inf
    for _ in range(100):
        phi, mu = (torch.from_numpy(draw.dirichlet([0.3] * table.shape[-1], size=table[:, 0].shape[:-1])) for table in (features, measures))
        least = min(least, (expected(torch.einsum("skad,sdj->skaj", phi, mu).clamp(min=1e-12) * states) - best).min().item())
    return Finding(least > 0, {"least excess": least, "above": 0})


@check(
    "contrastive-ucb",
    "ratio",
    "small",
    "mean |f - P / p0| over pairs and states, in the mean of 10 low-rank MDPs (20 states, 4 actions, 5 features, 6 steps, 31 models), is below 0.05 at 20,000 "
    "samples, and its log-log slope from 200 samples on is at most -0.4; an error of 0 counts as 1e-6",
)
def ratio(folder: Path) -> Finding:
    world, curve = TabularWorld("low-rank"), {}
    points = {int(x) for x in np.geomspace(200, SAMPLES, 12) / world.horizon}

    def watch(found: Planner) -> None:
        if found.step in points:
            curve[found.step * world.horizon] = error(found)

    learner(world, SAMPLES // world.horizon + 1, watch)
    slope = float(np.polyfit(np.log(list(curve)), np.log(np.maximum(list(curve.values()), 1e-6)), 1)[0])
    last = list(curve.values())[-1]
    return Finding(last < 0.05 and slope <= -0.4, {"errors": list(curve.values()), "below": 0.05, "slope": slope, "at_most": -0.4}, seeds=SEEDS)


@check(
    "contrastive-ucb",
    "bonus",
    "small",
    "in tabular:river-swim, of which eight models with other currents are told, regret's log-log slope over 50 to 5,000 episodes is at most 0.7 in the mean of "
    "10 seeds",
)
def bonus(folder: Path) -> Finding:
    slope = float(exponent(0.1).mean())
    return Finding(slope <= 0.7, {"slope": slope, "at_most": 0.7, "scale": 0.1}, seeds=SEEDS)


@check("contrastive-ucb", "greedy", "small", "and there without the bonus at least 0.95")
def greedy(folder: Path) -> Finding:
    slope = float(exponent(0.0).mean())
    return Finding(slope >= 0.95, {"slope": slope, "at_least": 0.95}, seeds=SEEDS)


def river() -> FiniteMDP:
    """River swim with its models: features of a pair are where it leads to, and each measure is a state."""
    base = TabularWorld("river-swim").mdp(Streams([0]))
    models = base.transition[0].repeat(len(CURRENTS), 1, 1, 1)
    for model, up in zip(models, CURRENTS, strict=True):
        for state in range(1, base.states - 1):
            model[state, 1] = 0
            model[state, 1, state - 1 : state + 2] = torch.tensor([0.4 - up, 0.6, up])
    measures = torch.eye(base.states, dtype=torch.float64).repeat(1, len(CURRENTS), 1, 1)
    return FiniteMDP(base.transition, base.reward, base.initial, 1.0, base.horizon, candidate_features=models[None], candidate_measures=measures)


@cache
def exponent(scale: float) -> np.ndarray:
    return learner(TabularWorld(river()), EPISODES, scale=scale).measures()["regret exponent"]


def learner(world: TabularWorld, episodes: int, watch=None, **hyper) -> Planner:
    """One that has played so many episodes; `watch` is called after each."""
    spine = get_method("contrastive-ucb").build(configure("contrastive-ucb", hyper))
    found = spine.learner(world, list(range(SEEDS)), episodes, torch.device("cpu"))
    while found.step < episodes:
        found.state = found.improve()
        found.step += 1
        if watch is not None:
            watch(found)
    return found


def error(found: Planner) -> float:
    """Of the model that is chosen, in the mean over pairs, states and MDPs."""
    features, measures = found.problem.candidates
    seed, chosen = torch.arange(SEEDS), found.state["loss"].argmin(-1)
    transition = torch.einsum("skad,sdj->skaj", features[seed, chosen], measures[seed, chosen])
    right = found.world.mdp(found.streams).transition[:, 0]
    return ((transition - right).abs().mean() * right.shape[-1]).item()
