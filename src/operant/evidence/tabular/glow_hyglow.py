"""GLOW: optimism opens a lock that the least residual leaves shut, regret levels off, ratios need their clip at first; HyGLOW opens it by data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch

from operant import ops
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.loops.planning import Planner, Planning, Problem, State
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.problems import LowRank
from operant.worlds.tabular.world import TabularWorld

SEEDS, EPISODES, OPENED = range(40, 50), 2_000, 300
PLACES, CODES, LEAVE, SLIP, SAFE = 8, 9, 3, 0.05, 0.2
LOGGED = OPENED * (PLACES + 1)
LOCK = (
    "10 locks of 8 places, where one of three actions gets on 19 times in 20, all others end it for nothing, and who leaves has 0.2 for sure; told are nine "
    "codes, one of them right, and a twin of each by which it does not open, in an order that is drawn"
)


@check(
    "glow-hyglow",
    "clip",
    "exact",
    "after one episode, on more than half of 20 low-rank MDPs with 10 models, a residual weighted by a ratio that is not clipped is larger than the clip",
)
def clip(folder: Path) -> Finding:
    found = learner(TabularWorld(few(range(20))), 1, seeds=range(20))
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
    share = opened(alone())
    return Finding(share > 0.9, {"share": share, "above": 0.9, "regret": lost(alone())}, seeds=len(SEEDS))


@check(
    "glow-hyglow",
    "lock-greedy",
    "small",
    "and that of epsilon-greedy fitted Q iteration over the same values (each episode the one of the least squared residuals, epsilon 0.1) fewer than 10 %",
)
def by_least_residual(folder: Path) -> Finding:
    found = played(Planning(nothing, least_residual, reads="episodes", iterations=20), TabularWorld(locks(SEEDS)), OPENED)
    share = opened(found)
    return Finding(share < 0.1, {"share": share, "below": 0.1, "regret": lost(found)}, seeds=len(SEEDS))


@check(
    "glow-hyglow",
    "regret",
    "small",
    "log-log slope of the mean regret of 10 low-rank MDPs (8 states, 3 actions, 5 steps, 10 models) over 60 to 2,000 episodes is at most 0.65",
)
def regret(folder: Path) -> Finding:
    found = curve()
    slope = float(np.polyfit(np.log(list(found)), np.log(list(found.values())), 1)[0])
    return Finding(slope <= 0.65, {"slope": slope, "at_most": 0.65, "regret at the end": list(found.values())[-1]}, seeds=len(SEEDS))


@check(
    "glow-hyglow",
    "hybrid",
    "small",
    "with logged transitions of C* = 4, of each step as many as it plays episodes, HyGLOW, which is not optimistic, opens more than 90 % of these locks after "
    "300, with no more regret than GLOW in mean",
)
def hybrid(folder: Path) -> Finding:
    found = learner(TabularWorld(locks(SEEDS), transitions=LOGGED, concentrability=4.0), OPENED, hybrid=True)
    share, regrets = opened(found), {"HyGLOW": lost(found), "GLOW": lost(alone())}
    return Finding(share > 0.9 and regrets["HyGLOW"] <= regrets["GLOW"], {"share": share, "above": 0.9, "regret": regrets}, seeds=len(SEEDS))


@check("glow-hyglow", "hybrid-uncovered", "small", "and with as many of leaving at once, which do not cover what opens, fewer than half")
def uncovered(folder: Path) -> Finding:
    mdp = locks(SEEDS)
    leave = torch.zeros(len(SEEDS), *mdp.shape, dtype=torch.float64)
    leave[..., LEAVE] = 1
    found = learner(TabularWorld(mdp, transitions=LOGGED, data=mdp.occupancy(leave)), OPENED, hybrid=True)
    share = opened(found)
    return Finding(share < 0.5, {"share": share, "below": 0.5, "regret": lost(found)}, seeds=len(SEEDS))


def few(seeds: Sequence[int]) -> FiniteMDP:
    """Low-rank MDPs with 10 models."""
    table, sizes = LowRank(5, models=10), (8, 3, seeds)
    transition, reward, initial = table.build(*sizes)
    return FiniteMDP(transition.unsqueeze(1), reward.unsqueeze(1), initial, 1.0, 5, **table.told(*sizes))


def locks(seeds: Sequence[int]) -> FiniteMDP:
    """States are the places, then shelter, the open door, and the end of all; nothing but states pays, so that rewards do not tell the code."""
    states, shelter, door, over = PLACES + 3, PLACES, PLACES + 1, PLACES + 2
    models = torch.zeros(len(seeds), 2 * CODES, states, LEAVE + 1, states, dtype=torch.float64)
    models[..., :LEAVE, over] = models[:, :, PLACES:, LEAVE, over] = 1
    models[:, :, :PLACES, LEAVE, shelter] = 1
    right = []
    for seed, its in zip(seeds, models, strict=True):
        draw = np.random.default_rng(seed)
        codes, order = draw.integers(LEAVE, size=(CODES, PLACES)), draw.permutation(2 * CODES)
        for model, which in zip(its, order, strict=True):  # the first code is right, and those from CODES on are twins
            for place, action in enumerate(codes[which % CODES]):
                if place + 1 < PLACES or which < CODES:
                    model[place, action, over] = SLIP
                    model[place, action, place + 1 if place + 1 < PLACES else door] = 1 - SLIP
        right.append(its[order.argmin()])
    reward = torch.zeros(1, 1, states, LEAVE + 1, dtype=torch.float64)
    reward[..., shelter, :], reward[..., door, :] = SAFE, 1
    eye = torch.eye(states, dtype=torch.float64)
    measures = eye.expand(*models.shape[:2], states, states)
    return FiniteMDP(torch.stack(right).unsqueeze(1), reward, eye[:1], 1.0, PLACES + 1, candidate_features=models, candidate_measures=measures)


def nothing(problem: Problem) -> State:
    """What epsilon-greedy fitted Q iteration has before it plays: the optimal Q of each model, and the first of them as its choice."""
    features, measures = problem.candidates
    transition, reward = torch.einsum("smkad,smdj->smkaj", features, measures).unsqueeze(2), problem.reward.unsqueeze(1)
    value = ops.horizon_optimum(reward, transition, horizon=problem.shape[0])[0]
    q = ops.bellman_q(reward, transition, ops.next_step_value(value), discount=1.0)
    policy = ops.epsilon_greedy_policy(q[:, 0], 0.1)
    return {"q": q, "following": problem.zeros(*problem.shape, problem.shape[1]), "policy": policy}


def least_residual(problem: Problem, state: State) -> State:
    """An episode, and then the Q whose Bellman residuals, the mean of each pair that was seen, have the least squares: of several the first."""
    following = state["following"] + problem.play(state["policy"], 1).seen(problem.shape, stationary=False)[0]
    count, q = following.sum(-1), state["q"]
    frequency = following / count.clamp(min=1).unsqueeze(-1)
    residual = q - ops.bellman_q(problem.reward.unsqueeze(1), frequency.unsqueeze(1), ops.next_step_value(q.amax(-1)), discount=1.0)
    best = (count.unsqueeze(1) * residual.square()).flatten(2).sum(-1).argmin(-1)
    policy = ops.epsilon_greedy_policy(q[torch.arange(len(q), device=q.device), best], 0.1)
    return {"q": q, "following": following, "policy": policy}


@cache
def alone() -> Planner:
    """GLOW after its episodes of the locks."""
    return learner(TabularWorld(locks(SEEDS)), OPENED)


def learner(world: TabularWorld, episodes: int, watch=None, seeds: Sequence[int] = SEEDS, **hyper) -> Planner:
    return played(get_method("glow-hyglow").build(configure("glow-hyglow", hyper)), world, episodes, watch, seeds)


def played(spine: Planning, world: TabularWorld, episodes: int, watch=None, seeds: Sequence[int] = SEEDS) -> Planner:
    """A learner that has played so many episodes; `watch` is called after each look at the metrics."""
    found = spine.learner(world, list(seeds), episodes, torch.device("cpu"))
    while found.step < episodes:
        found.iterate()
        if watch is not None:
            watch(found)
    return found


def opened(found: Planner) -> float:
    """Share of the locks that what is greedy in the policy opens as often as can be: it has 0.66 of them, and who leaves 0.2."""
    mdp = found.world.mdp(found.streams)
    greedy = ops.greedy_policy(found.policy.probabilities)
    return float((mdp.start_value(mdp.value(greedy)) > 0.6).double().mean())


def lost(found: Planner) -> float:
    """The regret of all episodes, in mean."""
    return float(found.measures()["regret"].mean())


@cache
def curve() -> dict[int, float]:
    """Mean regret by episodes."""
    points, found = {int(round(x / 20) * 20) for x in np.geomspace(60, EPISODES, 15)}, {}

    def watch(at: Planner) -> None:
        if at.step in points:
            found[at.step] = at.problem.regret.total.mean().item()

    learner(TabularWorld(few(SEEDS)), EPISODES, watch)
    return found
