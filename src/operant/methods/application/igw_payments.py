"""Regression-oracle bandit in payments: a model of success is fitted to the newest batches alone, and the next batch explores by inverse gaps.

Paper: Vangara and Egg 2024, arXiv:2412.00569 (OARS 2025). A generation is a batch of payments that one policy decides, each among the actions that its context
has. What came of them is known a batch later. A classifier ŷ(x, a) of success is then fitted to the newest `memory` batches that are known, and decides the
next one by inverse-gap weighting (SquareCB): p(a) = 1 / (A_x + γ (ŷ(b) - ŷ(a))) for a other than the best action b, which has the rest.

Settled, as the authors' data and models are private: the classifier is logistic regression on the task's features, or `linear`, least squares, which is wrong
where chances are logistic; γ is a number, where the paper does not say what it was; the first generations, before anything is known, are uniform over what is
available. `explore` epsilon-greedy spreads the mass that inverse-gap weighting would, the mean over the newest batch's contexts, alike over all other actions.
`weights` inverse-propensity fits each row with the weight 1 / p(a|x) of the policy that logged it, and not as it is. An iteration is a generation. It needs a
task that tells of batches (`tabular:payments`). The policy that is evaluated is that of the next one, exploration and all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.core.registry import Count, NonNegative, Positive, method
from operant.loops.bandits import check_bandit, tally
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class IGWPayments:
    memory: Count = 1  # batches that a model is fitted to
    gamma: NonNegative = 300.0  # of inverse-gap weighting: the larger, the less is explored
    explore: Literal["igw", "epsilon-greedy"] = "igw"  # by inverse gaps, or the same mass alike over all actions
    oracle: Literal["logistic", "linear"] = "logistic"  # what is fitted to the features
    weights: Literal["none", "inverse-propensity"] = "none"  # of the rows that it is fitted to
    ridge: Positive = 1.0  # weight of the penalty on the parameter's length


@method("igw-payments", name="IGW payments", family="application", paper="arXiv:2412.00569", worlds=("tabular",), example="tabular:payments")
def igw_payments(h: IGWPayments) -> Planning:
    def available(problem: Problem) -> Tensor:
        return problem.available.expand(len(problem.streams.seeds), -1, -1)

    def start(problem: Problem) -> State:
        check_bandit(problem, "igw-payments", features=True)
        if problem.late is None:
            raise BadInput("igw-payments decides whole batches, and this task tells of each play at once: take tabular:payments")
        allowed = available(problem).to(problem.features.dtype)
        policy = allowed / allowed.sum(-1, keepdim=True)
        windows = {name: problem.zeros(h.memory, *problem.shape[1:]) for name in ("weight", "won")}
        logged = problem.zeros(problem.late.delay + 1, *problem.shape[1:]) + policy.unsqueeze(1)
        return windows | {"logged": logged, "value": problem.zeros(*problem.shape[1:]), "policy": policy.unsqueeze(1)}

    def improve(problem: Problem, state: State) -> State:
        played = problem.play(state["policy"], problem.late.batch)
        if problem.step < problem.late.delay:  # nothing is known yet
            return state
        batch = tally(problem, tally(problem), played)
        each = 1 / state["logged"][:, 0].clamp(min=1e-12) if h.weights == "inverse-propensity" else 1.0
        newest = {"weight": each * batch["count"], "won": each * batch["gained"]}
        known = {name: torch.cat([state[name][:, 1:], table.unsqueeze(1)], 1) for name, table in newest.items()}
        value = fitted(problem, known["weight"].sum(1), known["won"].sum(1))
        policy = chosen(problem, value, batch["count"].sum(-1))
        logged = torch.cat([state["logged"][:, 1:], policy.unsqueeze(1)], 1)
        return known | {"logged": logged, "value": value, "policy": policy.unsqueeze(1)}

    def fitted(problem: Problem, weight: Tensor, won: Tensor) -> Tensor:
        """ŷ, `[S, K, A]`."""
        features, rows = problem.model_features.flatten(-3, -2), (weight.flatten(1), won.flatten(1))
        if h.oracle == "linear":
            return (features @ ops.ridge_regression(features, *rows, ridge=h.ridge)[0].unsqueeze(-1)).view_as(weight)
        return (features @ ops.logistic_regression(features, *rows, ridge=h.ridge).unsqueeze(-1)).sigmoid().view_as(weight)

    def chosen(problem: Problem, value: Tensor, visits: Tensor) -> Tensor:
        """π, `[S, K, A]`."""
        allowed = available(problem)
        policy = ops.inverse_gap_weighting(value, h.gamma, allowed)
        if h.explore == "igw":
            return policy
        greedy = ops.greedy_policy(value.masked_fill(~allowed, -torch.inf))
        others = (allowed & (greedy == 0)).to(value.dtype)
        explored = (1 - (policy * greedy).sum(-1)) * visits / visits.sum(-1, keepdim=True)
        mass = explored.sum(-1).view(-1, 1, 1) * others.any(-1, keepdim=True)
        return (1 - mass) * greedy + mass * others / others.sum(-1, keepdim=True).clamp(min=1)

    return Planning(start, improve, reads="episodes", late=True)
