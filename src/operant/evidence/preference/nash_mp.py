"""Nash-MP: its linear rate on tables of preferences, and methods that ask for one table an iteration, at the same number of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from operant import ops
from operant.core.random import Streams
from operant.evidence import Finding, check
from operant.evidence.tabular.game_beds import after, played
from operant.worlds import make_world
from operant.worlds.tabular.game_world import GameWorld
from operant.worlds.tabular.games import FiniteGame

SEEDS, WEIGHTS, SIZES, LEAST = 20, (0.05, 0.2), (5, 50), 1e-12
FEW, MANY = 40, 400  # tables of preferences against a policy


@check(
    "nash-mp",
    "rate",
    "exact",
    "KL(π* ‖ π_k) ≤ KL(π* ‖ π_0) (1 + 2β)^-k for every k until it is below 1e-12, for β of 0.05 and 0.2 and 5 and 50 answers, 20 random tables each: 0 "
    "violations",
    theorem="KL to the equilibrium falls as (1 + 2β)^-k",
)
def rate(folder: Path) -> Finding:
    figures, violations = {}, 0
    for weight in WEIGHTS:
        for size in SIZES:
            found = paths("nash-mp", size, weight, 600)
            most = found[0] * (1 + 2 * weight) ** -torch.arange(len(found), dtype=torch.float64).unsqueeze(-1)
            counts = found >= LEAST
            violations += int((counts & (found > most)).sum())
            figures[f"{size} answers, β {weight:g}"] = {
                "iterations until 1e-12, at most": int(counts.sum(0).max()),
                "largest share of the bound, from the first on": (found / most).masked_fill(~counts, 0.0)[1:].max().item(),
            }
    return Finding(violations == 0, {"violations": violations} | figures, SEEDS)


@check(
    "nash-mp",
    "nash-md",
    "exact",
    "after 400 tables KL(π* ‖ π) of Nash-MD, with its theorem's step sizes, is larger than that of Nash-MP in each of the same 80 games",
)
def beside_nash_md(folder: Path) -> Finding:
    return compared(MANY, lambda size, weight: paths("nash-md", size, weight, MANY)[-1])


@check(
    "nash-mp",
    "one-step",
    "exact",
    "after 40 tables KL(π* ‖ π) of mirror descent in one step of the same size, 2, is larger than that of Nash-MP in each of the same 80 games",
)
def beside_one_step(folder: Path) -> Finding:
    def found(size: int, weight: float) -> Tensor:
        game = make_world("tabular:regularized-preference", actions=size, kl_weight=weight).game(Streams(range(SEEDS)))
        return ops.policy_divergence(game.regularized_equilibrium, one_step(game, FEW))

    return compared(FEW, found)


@check(
    "nash-mp",
    "circle",
    "exact",
    "where three answers beat each other in a circle with probability 0.99, with β = 0.05 and the reference 0.5, 0.3, 0.2, mirror descent in one step of size "
    "2 is after 2,000 tables at a KL of at least 1e-3 from the equilibrium, and Nash-MP at most 1e-12",
)
def circle(folder: Path) -> Finding:
    chance = torch.tensor([[0.5, 0.01, 0.99], [0.99, 0.5, 0.01], [0.01, 0.99, 0.5]], dtype=torch.float64)[None]
    game = FiniteGame.preferences(chance, torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64), 0.05)
    ours = after("nash-mp", GameWorld(game), 1_000).state["policy"][:, 0]
    away = {
        name: ops.policy_divergence(game.regularized_equilibrium, policy).item() for name, policy in (("Nash-MP", ours), ("one step", one_step(game, 2_000)))
    }
    return Finding(away["one step"] >= 1e-3 and away["Nash-MP"] <= LEAST, {"KL": away})


def one_step(game: FiniteGame, count: int) -> Tensor:
    """Where mirror descent comes to from the reference, `[S, A]`."""
    policy = game.reference_policy
    for _ in range(count):
        policy = ops.kl_proximal_step(policy, game.reference_policy, game.preferred(policy), rate=2.0, weight=game.kl_weight)
    return policy[:, 0]


def compared(queries: int, other: Callable[[int, float], Tensor]) -> Finding:
    """The KL divergences `[S]` that another method has with so many answers and weight after so many tables, beside those of Nash-MP."""
    figures, larger = {}, 0
    for weight in WEIGHTS:
        for size in SIZES:
            ours, theirs = paths("nash-mp", size, weight, queries // 2)[-1], other(size, weight)
            larger += int((theirs > ours).sum())
            figures[f"{size} answers, β {weight:g}"] = {"Nash-MP": ours.median().item(), "the other": theirs.median().item()}
    count = SEEDS * len(WEIGHTS) * len(SIZES)
    return Finding(larger == count, {"larger in": f"{larger} of {count}", "medians": figures}, SEEDS)


def paths(key: str, size: int, weight: float, iterations: int) -> Tensor:
    """KL(π* ‖ π_k) for k from 0 on, `[1 + iterations, S]`."""
    world = make_world("tabular:regularized-preference", actions=size, kl_weight=weight)
    game = world.game(Streams(range(SEEDS)))
    best = game.regularized_equilibrium
    found = [ops.policy_divergence(best, game.reference.expand_as(best))]
    found += [ops.policy_divergence(best, learner.state["policy"][:, 0]) for learner in played(key, world, iterations, SEEDS)]
    return torch.stack(found)
