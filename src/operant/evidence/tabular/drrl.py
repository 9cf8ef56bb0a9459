"""DRRL: what regularised values are, how fast a clone comes near its expert, and whether demonstrations spare episodes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operant import ops
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.loops.planning import Model, Problem
from operant.worlds.tabular.mdp import FiniteMDP
from operant.worlds.tabular.world import TabularWorld

SEEDS, HORIZON = 10, 6
DEMONSTRATIONS, CLONED = (30, 100, 300, 1_000), (100, 316, 1_000, 3_162, 10_000)
EPSILON, MOST = 0.1, 30_000
TEMPERATURE = 0.5


@check(
    "drrl",
    "soft-values",
    "exact",
    "on 20 random MDPs (10 states, 4 actions, 6 steps) the soft values of a random reference, by backward induction, are the return of the policy that has "
    "them less temperature times the divergence of its trajectories, by occupancies, to 1e-9",
    theorem="soft values are those of the regularised problem",
)
def soft_values(folder: Path) -> Finding:
    mdp, reference, policy, value = regularised(range(20))
    occupancy = mdp.occupancy(policy)
    cost = (occupancy.sum(-1) * ops.policy_divergence(policy, reference)).sum((-2, -1))
    error = (mdp.start_value(mdp.value(policy)) - TEMPERATURE * cost - value).abs().max().item()
    return Finding(error <= 1e-9, {"largest error": error, "at_most": 1e-9})


@check("drrl", "monte-carlo", "small", "and within 3 standard errors of the mean of 20,000 episodes of that policy, on each of 10 of these MDPs")
def monte_carlo(folder: Path) -> Finding:
    mdp, reference, policy, value = regularised(range(SEEDS))
    played = mdp.play(policy, 20_000, Streams(list(range(SEEDS))))
    place = played.pair(mdp.shape, stationary=False).flatten(1)
    ratio = (policy / reference).log().flatten(1).gather(1, place).view(played.reward.shape)
    drawn = (played.reward - TEMPERATURE * ratio).sum(-1)
    errors = ((drawn.mean(1) - value) / (drawn.std(1) / drawn.shape[1] ** 0.5)).abs()
    return Finding(bool((errors <= 3).all()), {"standard errors": errors.numpy().round(2).tolist(), "at_most": 3}, seeds=SEEDS)


@check(
    "drrl",
    "cloning",
    "small",
    "log-log slope of the trajectories' divergence, expert from clone, against 100 to 10,000 demonstrations in [-1.15, -0.85] (10 random MDPs, 10 states, "
    "4 actions, 6 steps, mean of 20 draws of each)",
    theorem="the divergence of a clone falls as 1/N",
)
def cloning(folder: Path) -> Finding:
    mdp, draw, found = instances(range(SEEDS)), np.random.default_rng(0), []
    expert = mdp.optimum[1]
    visits = mdp.occupancy(expert).sum(-1)
    for number in CLONED:
        seen = torch.from_numpy(draw.multinomial(number, visits.numpy(), size=(20, *visits.shape[:2]))).unsqueeze(-1) * expert
        found.append((visits * ops.policy_divergence(expert.expand_as(seen), ops.cloned_policy(seen))).sum((-2, -1)).mean().item())
    slope = float(np.polyfit(np.log(CLONED), np.log(found), 1)[0])
    return Finding(-1.15 <= slope <= -0.85, {"divergence": found, "slope": slope, "between": [-1.15, -0.85]}, seeds=SEEDS)


@check(
    "drrl",
    "episodes",
    "small",
    "log-log slope of the episodes until it stops at epsilon = 0.1 (mean of 10 random MDPs, 10 states, 4 actions, 6 steps, scale 0.001) against 30 to 1,000 "
    "demonstrations in [-1.3, -0.6]",
    theorem="episodes fall as 1/N with the demonstrations",
)
def episodes(folder: Path) -> Finding:
    means = [stops(number)[0].mean() for number in DEMONSTRATIONS]
    slope = float(np.polyfit(np.log(DEMONSTRATIONS), np.log(means), 1)[0])
    return Finding(-1.3 <= slope <= -0.6, {"episodes": [float(mean) for mean in means], "slope": slope, "between": [-1.3, -0.6]}, seeds=SEEDS)


@check("drrl", "promise", "small", "where it stops there, the policy's suboptimality is at most epsilon = 0.1 for each number of demonstrations and each MDP")
def promise(folder: Path) -> Finding:
    worst = [float(stops(number)[1].max()) for number in DEMONSTRATIONS]
    return Finding(max(worst) <= EPSILON, {"largest suboptimality": worst, "at_most": EPSILON}, seeds=SEEDS)


@check(
    "drrl",
    "spares",
    "small",
    "with 1,000 demonstrations it stops after fewer episodes than the same bounds without any stop UCBVI, where at the first state the upper bound is at most "
    "epsilon = 0.1 above the lower one of its own greedy policy (means of 10 such MDPs, seeds from 40 on, scale 0.001)",
)
def spares(folder: Path) -> Finding:
    seeds = range(40, 40 + SEEDS)
    ours, theirs = learned(1_000 * HORIZON, MOST, seeds)[0], bounded(seeds, MOST)
    figures = {"episodes": float(ours.mean()), "without demonstrations": float(theirs.mean()), "each": theirs.tolist()}
    return Finding(bool(ours.mean() < theirs.mean()), figures, seeds=SEEDS)


def instances(seeds: range) -> FiniteMDP:
    """Ten states, four actions, six steps."""
    return TabularWorld("random-episodes", states=10, actions=4, horizon=HORIZON).mdp(Streams(list(seeds)))


def regularised(seeds: range) -> tuple[FiniteMDP, Tensor, Tensor, Tensor]:
    """MDPs, a random reference, the policy of the largest regularised value, and that value before the first step."""
    mdp = instances(seeds)
    draw = torch.from_numpy(np.random.default_rng(0).random((len(seeds), *mdp.shape)))
    reference = draw / draw.sum(-1, keepdim=True)
    value, policies = torch.zeros(len(seeds), mdp.states, dtype=torch.float64), []
    for step in reversed(range(HORIZON)):
        q = ops.bellman_q(mdp.reward[:, 0], mdp.transition[:, 0], value, discount=1.0)
        policies.append(ops.kl_regularized_policy(q, reference[:, step], temperature=TEMPERATURE))
        value = ops.kl_regularized_value(q, reference[:, step], temperature=TEMPERATURE)
    return mdp, reference, torch.stack(policies[::-1], 1), (mdp.initial * value).sum(-1)


@cache
def stops(number: int) -> tuple[np.ndarray, np.ndarray]:
    return learned(number * HORIZON, MOST)


def learned(transitions: int, most: int, seeds: range = range(SEEDS)) -> tuple[np.ndarray, np.ndarray]:
    """Episodes until each seed stopped, infinite where it did not, and the suboptimality of the last policy."""
    world = TabularWorld("random-episodes", states=10, actions=4, horizon=HORIZON, transitions=transitions, concentrability=1.0)
    spine = get_method("drrl").build(configure("drrl", {"epsilon": EPSILON}))
    learner = spine.learner(world, list(seeds), most, torch.device("cpu"))
    while learner.step < most and (learner.state["stopped"] == 0).any():
        learner.iterate()
    stopped = learner.state["stopped"].numpy()
    return np.where(stopped > 0, stopped, np.inf), world.evaluate(learner.policy, len(seeds)).measures["suboptimality"]


def bounded(seeds: range, most: int) -> np.ndarray:
    """Episodes until the bounds of UCBVI with DRRL's bonus and nothing logged are within epsilon for the greedy policy of the upper one, which is played."""
    world = TabularWorld("random-episodes", states=10, actions=4, horizon=HORIZON)
    problem = Problem("episodes", world, Streams(list(seeds)))
    state, policy, stopped = problem.model().tables, problem.uniform(), np.full(len(seeds), np.inf)
    scale, delta = configure("drrl", {}).scale, configure("drrl", {}).delta
    for episode in range(1, most + 1):
        seen = problem.model(state, problem.play(policy, 1))
        state = seen.tables
        log = scale * math.log(5 * math.prod(problem.shape) * episode / delta)

        def bound(sign: int, worth: Callable[[int, Tensor], Tensor] | None = None, seen: Model = seen, log: float = log) -> Tensor:
            def q_at(step: int, here: Any, value: Tensor) -> Tensor:
                mean, variance = ops.next_value_moments(seen.transition[here], value)
                bonus = ops.empirical_bernstein(seen.count[here], variance, log=log, most=HORIZON)
                return (seen.reward[here] + mean + sign * bonus).clamp(0, HORIZON - step)

            return problem.backwards(q_at, worth)

        policy = ops.greedy_policy(upper := bound(1))
        lower = bound(-1, lambda step, q, policy=policy: (q * policy[:, step]).sum(-1))
        first = problem.initial * ((upper - lower)[:, 0] * policy[:, 0]).sum(-1)
        done = (first.sum(-1) <= EPSILON).numpy()
        stopped[done & np.isinf(stopped)] = episode
        if np.isfinite(stopped).all():
            break
    return stopped
