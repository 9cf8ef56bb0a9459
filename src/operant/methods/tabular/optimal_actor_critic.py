"""Optimistic actor-critic with rare switches: an actor that climbs an optimistic critic, which is fitted anew, and the actor with it, only once data refute it.

Paper: Tan, Fan and Wei 2025, arXiv:2505.03710, NORA (algorithm 2). The critic f targets the optimality equation on all data and is the optimistic one of those
whose squared loss exceeds the least one by a radius at most; after each episode the actor is pi_h ← pi_h exp(eta f_h), normalised; once f itself has left the
set, the critic is fitted anew and the actor begins at uniform. A regret of √T, and O(d H log T) switches. `--offline` begins with the logged transitions; with
`--optimistic false` as well the critic is the best fit alone, which is enough where the data cover an optimal policy and learns nothing where they do not.

Settled (the row is of low confidence): the argmax over a confidence set is done as its usual stand-in, f_h = r̂ + P̂ max f_{h+1} + b, at most H - h, where
r̂ and P̂ are the means of a table or, on tasks with features, ridge regression; b = H √(scale · L) · w, w is 1 / √N or the elliptic norm, L = log(5 D H T /
delta), D pairs or features, T episodes. For a fresh critic Σ N b² is scale · L · H² · Σ N w², the last being the dimensions that were seen; f has left
where at some step its excess loss is above `radius` times as much. eta is learning_rate / H and constant; the paper's, √(log A / T) / H up to constants,
knows the number T of episodes. Where all steps of an episode are alike, they share their data.
An iteration is an episode. The policy that is evaluated is that of the next one, the actor's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from operant import ops
from operant.core.registry import Positive, Range, method
from operant.loops.planning import Fitted, Model, Planning, Problem, State


@dataclass(frozen=True)
class OptimalActorCritic:
    optimistic: bool = True  # a critic that is better than what was seen wherever little was
    offline: bool = False  # the critic's data begin with the logged transitions
    learning_rate: Positive = 3.0  # of the actor (eta H)
    scale: Positive = 0.01  # of the squared bonus, before the logarithm
    radius: Annotated[float, Range(1, open_low=True)] = 2.0  # excess loss at which a critic is replaced, as a multiple of a fresh one's
    ridge: Positive = 1.0  # of the regression on features
    delta: Annotated[float, Range(0, 1, open_low=True)] = 0.1  # chance that a value is not bounded


@method("optimal-actor-critic", name="Optimal actor-critic", family="tabular", paper="arXiv:2505.03710", worlds=("tabular",), example="tabular:river-swim")
def optimal_actor_critic(h: OptimalActorCritic) -> Planning:
    def fit(problem: Problem, seen: Model) -> Fitted:
        if problem.linear:
            return seen.fitted(problem.model_features, h.ridge)
        return Fitted(seen.reward, seen.transition, torch.where(seen.count > 0, seen.count.rsqrt(), torch.inf))

    def squared_bonus(problem: Problem, episodes: int) -> float:
        """scale · L · H²."""
        horizon, dimensions = problem.shape[0], problem.features.shape[-1] if problem.linear else math.prod(problem.shape[1:])
        return h.scale * math.log(5 * dimensions * horizon * (episodes + 1) / h.delta) * horizon**2

    def critic(problem: Problem, fitted: Fitted, episodes: int) -> Tensor:
        horizon, bonus = problem.shape[0], math.sqrt(squared_bonus(problem, episodes))

        def q_at(step: int, here: Any, value: Tensor) -> Tensor:
            q = ops.bellman_q(fitted.reward[here], fitted.transition[here], value, discount=1.0)
            return (q + bonus * fitted.width[here] if h.optimistic else q).clamp(0, horizon - step)

        return problem.backwards(q_at)

    def refuted(problem: Problem, seen: Model, fitted: Fitted, q: Tensor) -> Tensor:
        """Whether the critic has left the confidence set at a step, `[S]`."""

        def by_step(table: Tensor) -> Tensor:
            return table.unsqueeze(1) if problem.stationary else table

        following, count = ops.next_step_value(q.amax(-1)), by_step(seen.count)
        mean, best = (ops.bellman_q(by_step(of.reward), by_step(of.transition), following, discount=1.0) for of in (seen, fitted))
        dimensions = torch.where(count > 0, count * by_step(fitted.width).square(), 0.0).sum((-2, -1))
        limit = h.radius * squared_bonus(problem, problem.step) * dimensions
        return (ops.excess_squared_loss(q, best, mean, count) > limit).any(-1)

    def start(problem: Problem) -> State:
        problem.check_rewards("optimal-actor-critic")
        seen = problem.logged if h.offline else problem.model()
        q = critic(problem, fit(problem, seen), 0)
        return seen.tables | {"q": q, "logits": torch.zeros_like(q), "policy": problem.uniform(), "switches": problem.zeros()}

    def improve(problem: Problem, state: State) -> State:
        seen = problem.model(state, problem.play(state["policy"], 1))
        fitted = fit(problem, seen)
        out = refuted(problem, seen, fitted, state["q"])
        anew = out.view(-1, 1, 1, 1)
        q = torch.where(anew, critic(problem, fitted, problem.step), state["q"])
        logits = torch.where(anew, 0.0, state["logits"]) + h.learning_rate / problem.shape[0] * q
        return seen.tables | {"q": q, "logits": logits, "policy": logits.softmax(-1), "switches": state["switches"] + out}

    def switches(problem: Problem, state: State) -> dict[str, Tensor]:
        return {"critics replaced": state["switches"]}

    return Planning(start, improve, reads="hybrid" if h.offline else "episodes", iterations=100, measures=switches)
