"""Nash-MD: its recursion and its bound on tables of preferences, and self-play without the mixture, which goes round in circles."""

from __future__ import annotations

from pathlib import Path

import torch

from operant import ops
from operant.core.random import Streams
from operant.evidence import Finding, check
from operant.evidence.tabular.game_beds import after, played
from operant.worlds import make_world
from operant.worlds.tabular.game_world import GameWorld
from operant.worlds.tabular.games import FiniteGame

SEEDS, ITERATIONS = 100, 200


@check(
    "nash-md",
    "bound",
    "exact",
    "on 100 random tables each of 3 and 50 answers, with τ of 0.05 and 0.5: π* solves π ∝ reference · exp(P(· ≻ π) / τ) up to 1e-6, and after every one of 200 "
    "iterations KL(π* ‖ π_(t+1)) ≤ (1 - η τ) KL(π* ‖ π_t) + 2 η² and KL(π* ‖ π_T) ≤ 8 / (τ² (T + 1)): 0 violations; and since the reference itself keeps both, "
    "the last KL is at most 1e-3 of the first on every table",
    theorem="KL to the equilibrium at most 8 / (τ² (T + 1))",
)
def bound(folder: Path) -> Finding:
    figures, violations, off, left = {}, 0, 0.0, 0.0
    for weight in (0.05, 0.5):
        for size in (3, 50):
            world = make_world("tabular:regularized-preference", actions=size, kl_weight=weight)
            game = world.game(Streams(range(SEEDS)))
            best = game.regularized_equilibrium
            gain = game.preferred(best.unsqueeze(1).expand(-1, 2, -1))[:, 0]
            off = max(off, (ops.kl_regularized_policy(gain, game.reference, temperature=weight) - best).abs().max().item())
            begin = before = ops.policy_divergence(best, game.reference.expand_as(best))
            for learner in played("nash-md", world, ITERATIONS, SEEDS):
                rate = 2 / (weight * (learner.step + 1))  # of the iteration before, which is counted from 0
                found = ops.policy_divergence(best, learner.state["policy"][:, 0])
                violations += int((found > (1 - rate * weight) * before + 2 * rate**2).sum() + (found > 8 / (weight**2 * (learner.step + 1))).sum())
                before = found
            left = max(left, (found / begin).max().item())
            figures[f"{size} answers, τ {weight:g}"] = {"KL in the end, largest": found.max().item(), "bound": 8 / (weight**2 * (ITERATIONS + 1))}
    told = {"violations": violations, "residual": off, "of the first KL is left, at most": left}
    return Finding(violations == 0 and off <= 1e-6 and left <= 1e-3, told | figures, SEEDS)


@check(
    "nash-md",
    "circles",
    "exact",
    "where rock beats scissors beats paper beats rock with probability 0.9, self-play by exponentiated gradients (rate 0.2, from 0.5, 0.3, 0.2) is no less "
    "exploitable after any of 1,000 to 2,000 steps than at first, and Nash-MD with that as reference and τ = 0.1 comes within a KL of 1e-3 of its equilibrium",
)
def circles(folder: Path) -> Finding:
    chance = torch.tensor([[0.5, 0.1, 0.9], [0.9, 0.5, 0.1], [0.1, 0.9, 0.5]], dtype=torch.float64)[None]
    begins = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    plain, policy, gaps = FiniteGame.preferences(chance), begins.unsqueeze(1).expand(-1, 2, -1), []
    first = plain.exploitability(policy).item()
    for _ in range(2_000):
        policy = ops.kl_regularized_policy(plain.preferred(policy), policy, temperature=1 / 0.2)
        gaps.append(plain.exploitability(policy).item())
    game = FiniteGame.preferences(chance, begins, 0.1)
    away = ops.policy_divergence(game.regularized_equilibrium, after("nash-md", GameWorld(game), 2_000).state["policy"][:, 0]).item()
    figures = {"self-play, at first": first, "smallest of 1,000 to 2,000": min(gaps[999:]), "KL of Nash-MD": away, "at most": 1e-3}
    return Finding(min(gaps[999:]) >= first and away <= 1e-3, figures)
