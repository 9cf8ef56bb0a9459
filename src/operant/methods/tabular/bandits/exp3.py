"""Exp3: exponential weights of gains that are estimated from the one action that was played, for rewards that an adversary may have chosen.

Paper: Auer, Cesa-Bianchi, Freund and Schapire 2002, figure 1: p(a) = (1 - γ) w(a) / Σ w + γ / A, and the weight of the action that was played grows by
exp(γ x̂ / A) with x̂ = reward / p(a), whose mean is the reward of every action. Regret against the best action in hindsight is at most 2.63 √(T A ln A)
(corollary 3.2).

Departures: the corollary's γ needs T; without a `gamma` it is that of the rounds so far, and the weights are as if it had been so from the start. The paper
doubles its guess of T instead (Exp3.1).
Each context is a bandit of its own. An iteration is a round. The policy that is evaluated is that of the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch

from operant import ops
from operant.core.registry import Range, method
from operant.loops.bandits import check_bandit
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class Exp3:
    gamma: Annotated[float | None, Range(0, 1, open_low=True)] = None  # share of uniform play; none: what the bound wants for as many rounds as were played


@method("exp3", name="Exp3", family="tabular", paper="none", worlds=("tabular",), example="tabular:adversarial-bandit", baseline=True)
def exp3(h: Exp3) -> Planning:
    def start(problem: Problem) -> State:
        check_bandit(problem, "exp3")
        return {"gain": problem.zeros(*problem.model_shape), "rounds": problem.zeros(problem.shape[1]), "policy": problem.uniform()}

    def improve(problem: Problem, state: State) -> State:
        played = problem.play(state["policy"], 1)
        context, pair = played.state[..., 0], played.pair(problem.shape, stationary=True).flatten(1)
        estimate = played.reward.flatten(1) / state["policy"].flatten(1).gather(1, pair)
        gain = state["gain"].flatten(1).scatter_add(1, pair, estimate).view_as(state["gain"])
        rounds = state["rounds"].scatter_add(1, context, torch.ones_like(estimate))
        gamma = ops.exp3_share(rounds.unsqueeze(-1), problem.shape[-1]) if h.gamma is None else h.gamma
        return {"gain": gain, "rounds": rounds, "policy": ops.exp3_policy(gain, gamma).unsqueeze(1)}

    return Planning(start, improve, reads="episodes", iterations=100)
