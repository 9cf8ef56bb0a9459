"""Horizon-free learning of latent MDPs: the context of an episode is told when it is over; plans of whole histories, optimistic by alpha vectors.

Paper: Zhou, Wang and Du 2022, arXiv:2210.11604, the value-optimistic solver. Counts are kept apart for each context, state and action. A history's alpha vector
has for each context m what going on is worth if it is m,

    α(τ, m) = min(1, r_m(s, a) + Σ_s' P̂_m(s'|s, a) α(τ a s', m) + b),   b of Bernstein's form in the variance of α(τ a ·, m) under P̂_m,

of the action a that is best by Σ_m b(τ, m) α(τ, m), b(τ, m) being the estimated probability of m and of the states of τ. Planning is exact, over all histories.
A new plan is made when the visits of some context, state and action have doubled.

Departures: the paper's constants (4 √(Γ Var ι / N) and 16 S ι / N) explore for ever at this size, so that `scale` stands in their place before the logarithm,
as in `ucbvi`, in Maurer and Pontil's form of the inequality. The paper knows the rewards; here they are the means of what was seen, and 1 where nothing was.
Episodes pay 1 at most, as there. What the state behind the last action is, is not looked at. The model-optimistic solver is not there. An iteration is an
episode. The policy that is evaluated is that of the next one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from operant import ops
from operant.core.errors import BadInput
from operant.core.registry import NonNegative, Range, method
from operant.loops.planning import Planning, Problem, State
from operant.worlds.tabular.pomdp import HistoryMDP


@dataclass(frozen=True)
class LMDPHorizonFree:
    bonus: Literal["hoeffding", "bernstein"] = "bernstein"  # by which inequality
    scale: NonNegative = 0.01  # of the bonus, before the logarithm
    delta: Annotated[float, Range(0, 1, open_low=True)] = 0.1  # chance that a value is not bounded


@method("lmdp-horizon-free", name="Horizon-free LMDP", family="tabular", paper="arXiv:2210.11604", worlds=("tabular",), example="tabular:latent")
def lmdp_horizon_free(h: LMDPHorizonFree) -> Planning:
    def tree(problem: Problem) -> HistoryMDP:
        return problem.unrolled("lmdp-horizon-free")

    def sizes(problem: Problem) -> tuple[int, int, int, int]:
        """(M, S, A, H)."""
        pomdp = tree(problem).pomdp
        return pomdp.contexts, pomdp.observations, problem.shape[-1], problem.shape[0]

    def start(problem: Problem) -> State:
        (contexts, states, actions, _), pomdp = sizes(problem), tree(problem).pomdp
        problem.check_rewards("lmdp-horizon-free")
        if contexts is None:
            raise BadInput("lmdp-horizon-free is for latent MDPs, and here more is hidden than a context: take one, such as tabular:latent")
        if pomdp.largest_return > 1 + 1e-9:
            raise BadInput(f"lmdp-horizon-free needs episodes that pay 1 at most, here they pay up to {pomdp.largest_return:g}: scale the rewards")
        state = {
            "following": problem.zeros(contexts, states, actions, states),
            "gained": problem.zeros(contexts, states, actions),
            "visits": problem.zeros(contexts, states, actions),
            "planned": problem.zeros(contexts, states, actions),
            "first": problem.zeros(contexts, states),
        }
        return state | {"policy": plan(problem, state)}

    def plan(problem: Problem, state: State) -> Tensor:
        """The greedy policy of the optimistic alpha vectors."""
        contexts, states, actions, horizon = sizes(problem)
        histories = tree(problem).histories
        seen = [histories.observation[here] for here in histories.levels]  # the state that was seen last, of each step's histories
        log = h.scale * 2 * math.log(2 * contexts * states * actions * horizon * (problem.step + 1) / h.delta)
        count = state["following"].sum(-1)
        transition = state["following"] / count.clamp(min=1).unsqueeze(-1)
        reward = torch.where(state["visits"] > 0, state["gained"] / state["visits"].clamp(min=1), 1.0)
        first = state["first"] / state["first"].sum((-2, -1), keepdim=True).clamp(min=1)

        chance = [first[:, :, seen[0]]]  # of contexts and what was seen, given what was done: [S, M, n] of each step
        for step in range(1, horizon):
            here, before = histories.levels[step], histories.levels[step - 1]
            parent = histories.parent[here] - before.start
            leads = transition[:, :, seen[step - 1][parent], histories.action[here], seen[step]]
            chance.append(chance[-1][:, :, parent] * leads)

        policy = problem.zeros(*problem.shape)
        policy[..., 0] = 1.0
        alpha = problem.zeros(contexts, problem.shape[-2] + 1)
        for step in reversed(range(horizon)):
            here, at = histories.levels[step], seen[step]
            q = reward[:, :, at]
            if step + 1 < horizon:
                following, leads = alpha[:, :, histories.child[here]], transition[:, :, at]
                mean = (leads * following).sum(-1)
                variance = ((leads * following.square()).sum(-1) - mean.square()).clamp(min=0)
                q = q + mean + bonus(count[:, :, at], variance, log)
            q = q.clamp(max=1.0)  # [S, M, n, A]
            greedy = ops.greedy_policy(((chance[step] + 1e-12).unsqueeze(-1) * q).sum(1))
            policy[:, step, here] = greedy
            alpha[:, :, here] = (q * greedy.unsqueeze(1)).sum(-1)
        return policy

    def bonus(count: Tensor, variance: Tensor, log: float) -> Tensor:
        if h.bonus == "hoeffding":
            return ops.count_penalty(count, scale=log, most=1.0)
        return ops.empirical_bernstein(count, variance, log=log, most=1.0)

    def improve(problem: Problem, state: State) -> State:
        contexts, states, actions, _ = sizes(problem)
        played = problem.play(state["policy"], 1)
        hidden, paid = played.hidden, played.reward
        pair = (hidden * actions + played.action).flatten(1)  # m · S + s is what is hidden
        into = ((hidden * actions + played.action)[..., :-1] * states + hidden[..., 1:] % states).flatten(1)

        def added(name: str, place: Tensor, what: Tensor) -> Tensor:
            return state[name].flatten(1).scatter_add(1, place, what).view(state[name].shape)

        new = {
            "following": added("following", into, torch.ones_like(paid[..., 1:].flatten(1))),
            "gained": added("gained", pair, paid.flatten(1)),
            "visits": added("visits", pair, torch.ones_like(paid.flatten(1))),
            "first": added("first", hidden[..., 0], torch.ones_like(paid[..., 0])),
        }
        due = (new["visits"] >= 2 * state["planned"].clamp(min=0.5)).flatten(1).any(1).view(-1, 1, 1, 1)
        new["planned"] = torch.where(due, new["visits"], state["planned"])
        return new | {"policy": torch.where(due, plan(problem, new), state["policy"])}

    return Planning(start, improve, reads="episodes", iterations=100)
