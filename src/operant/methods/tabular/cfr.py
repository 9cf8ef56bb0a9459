"""CFR: counterfactual regret minimisation, by which a policy that plays against itself comes to an equilibrium of a zero-sum game.

Papers: Zinkevich, Johanson, Bowling and Piccione 2007: at every information set regret matching (Hart and Mas-Colell 2000) on counterfactual regrets, both
players at once; the average of all policies, weighted by how likely each player's own moves come to the set, is what converges. With T iterations, payoffs
within Δ and |I_i| information sets of player i its exploitability is at most Σ_i Δ |I_i| √A / (2 √T) (theorems 2 and 4). On a matrix game CFR is regret
matching. `--plus`: CFR+ (Tammelin 2014, arXiv:1407.5042): regrets below 0 are forgotten, players are updated in turn, and iteration t counts t times in the
average; its bound is of the same order, and what it does is far better as a rule.

The tree is not walked: the game is in sequence form, and an iteration is two products with its payoffs. The policy that is evaluated is the average. In a
general-sum game neither theorem holds for it: there the *joint* average play approaches the coarse correlated equilibria, which no single policy shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from operant import ops
from operant.core.registry import method
from operant.loops.planning import Planning, Problem, State


@dataclass(frozen=True)
class CFR:
    plus: bool = False  # CFR+: regrets are kept at 0 at the least, players take turns, and later iterations count more


@method("cfr", name="CFR", family="tabular", paper="Zinkevich et al. 2007", worlds=("tabular",), example="tabular:random-zero-sum", baseline=True)
def cfr(h: CFR) -> Planning:
    def start(problem: Problem) -> State:
        problem.game.check_unregularized(problem.task, "cfr")
        return {"regret": problem.zeros(*problem.shape), "plan": problem.zeros(*problem.shape), "policy": problem.uniform()}

    def improve(problem: Problem, state: State) -> State:
        game, regret = problem.game, state["regret"]
        policy = played = ops.regret_matching(regret, game.available)
        if h.plus:
            for player in (0, 1):
                mine = (game.player == player).view(-1, 1)
                played = torch.where(mine, policy, played)
                regret = torch.where(mine, (regret + game.advantage(policy)).clamp(min=0), regret)
                policy = ops.regret_matching(regret, game.available)
        else:
            regret = regret + game.advantage(policy)
        share = (2 if h.plus else 1) / (problem.step + (2 if h.plus else 1))  # of the newest in the average: t / (1 + … + t), or 1 / t
        plan = state["plan"] + share * (game.plan(played) - state["plan"])
        return {"regret": regret, "plan": plan, "policy": game.policy(plan)}

    return Planning(start, improve, reads="game", iterations=10)
