"""Contrastive UCB: its ratio comes near to the truth as samples grow, and its bonus tries what a greedy learner may never try."""

from __future__ import annotations

from collections.abc import Sequence
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
from operant.worlds.tabular.problems import LowRank
from operant.worlds.tabular.world import TabularWorld

SEEDS, SAMPLES, EPISODES = range(40, 50), 20_000, 2_000
CURRENTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)  # probability of getting on upstream, of the models of the river; 0.35 is right
RIVER = "tabular:river-swim, of which eight models with other currents are told in an order that is drawn (who has seen nothing takes the first)"


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
    "mean |f - P / p0| over pairs and states, in the mean of 10 low-rank MDPs (20 states, 4 actions, 5 features, 6 steps), is below 0.005 at 20,000 samples, "
    "and its log-log slope from 200 samples on at most -0.4, where 61 models are told whose distances from the right one halve three by three, so that the "
    "nearest are nearer than so many samples tell; points at which every MDP has the right model are left out of the slope",
)
def ratio(folder: Path) -> Finding:
    mdp, curve = near(SEEDS), {}
    models = torch.einsum("smkad,smdj->smkaj", mdp.candidate_features, mdp.candidate_measures)
    error = (models - mdp.transition).abs().mean((-3, -2, -1)) * mdp.states  # of each model, [S, models]
    points = {int(x) for x in np.geomspace(200, SAMPLES, 12) / mdp.horizon}

    def watch(found: Planner) -> None:
        if found.step in points:
            curve[found.step * mdp.horizon] = error.gather(1, found.state["loss"].argmin(-1, keepdim=True)).mean().item()

    learner(TabularWorld(mdp), SAMPLES // mdp.horizon + 1, watch)
    above = {samples: off for samples, off in curve.items() if off > 0}
    slope = float(np.polyfit(np.log(list(above)), np.log(list(above.values())), 1)[0])
    figures = {"errors": list(curve.values()), "below": 0.005, "of a model drawn at random": error.mean().item(), "slope": slope, "at_most": -0.4}
    return Finding(figures["errors"][-1] < 0.005 and slope <= -0.4, figures, seeds=len(SEEDS))


@check("contrastive-ucb", "bonus", "small", f"log-log slope of the mean regret of 10 seeds over 100 to 2,000 episodes of {RIVER} is at most 0.7")
def bonus(folder: Path) -> Finding:
    figures = regret(0.1)
    return Finding(figures["slope"] <= 0.7, figures | {"at_most": 0.7, "scale": 0.1}, seeds=len(SEEDS))


@check("contrastive-ucb", "greedy", "small", "and there without the bonus at least 0.95, for some seeds stay with a model by which it is best not to try")
def greedy(folder: Path) -> Finding:
    figures = regret(0.0)
    return Finding(figures["slope"] >= 0.95, figures | {"at_least": 0.95}, seeds=len(SEEDS))


def near(seeds: Sequence[int]) -> FiniteMDP:
    """`tabular:low-rank` with 61 models in the place of 31."""
    table, sizes = LowRank(5, models=61), (20, 4, seeds)
    transition, reward, initial = table.build(*sizes)
    return FiniteMDP(transition.unsqueeze(1), reward.unsqueeze(1), initial, 1.0, 6, **table.told(*sizes))


def river(seeds: Sequence[int]) -> FiniteMDP:
    """River swim with its models: features of a pair are where it leads to, and each measure is a state."""
    base = TabularWorld("river-swim").mdp(Streams([0]))
    models = base.transition[0].repeat(len(CURRENTS), 1, 1, 1)
    for model, up in zip(models, CURRENTS, strict=True):
        for state in range(1, base.states - 1):
            model[state, 1] = 0
            model[state, 1, state - 1 : state + 2] = torch.tensor([0.4 - up, 0.6, up])
    drawn = torch.stack([models[np.random.default_rng(seed).permutation(len(CURRENTS))] for seed in seeds])
    measures = torch.eye(base.states, dtype=torch.float64).expand(*drawn.shape[:2], -1, -1)
    transition = base.transition.expand(len(seeds), *base.transition.shape[1:])
    return FiniteMDP(transition, base.reward, base.initial, 1.0, base.horizon, candidate_features=drawn, candidate_measures=measures)


@cache
def regret(scale: float) -> dict[str, float]:
    """The slope of the mean regret on the river, what it and the policies' suboptimality are in the end, and the share of seeds that begin by swimming down."""
    points, curve = {int(x) for x in np.geomspace(100, EPISODES, 12)}, {}

    def watch(found: Planner) -> None:
        if found.step in points:
            curve[found.step] = found.problem.regret.total.mean().item()

    found = learner(TabularWorld(river(SEEDS)), EPISODES, watch, scale=scale)
    slope = float(np.polyfit(np.log(list(curve)), np.log(list(curve.values())), 1)[0])
    mdp, policy = found.world.mdp(found.streams), found.state["policy"]
    short = mdp.start_value(mdp.optimum[0]) - mdp.start_value(mdp.value(policy))
    down = (policy[:, 0, 0, 0] > 0.5).double()
    return {"slope": slope, "regret": curve[EPISODES], "suboptimality": short.mean().item(), "seeds that swim down": down.mean().item()}


def learner(world: TabularWorld, episodes: int, watch=None, **hyper) -> Planner:
    """One that has played so many episodes; `watch` is called after each."""
    spine = get_method("contrastive-ucb").build(configure("contrastive-ucb", hyper))
    found = spine.learner(world, list(SEEDS), episodes, torch.device("cpu"))
    while found.step < episodes:
        found.state = found.improve()
        found.step += 1
        if watch is not None:
            watch(found)
    return found
