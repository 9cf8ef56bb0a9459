"""Hedge: a bound that no sequence breaks, following the leader, which has none, and Hedge that plays itself."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from operant import ops
from operant.core.random import Streams
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.evidence.tabular.bandits.beds import interval, outcome, played, world
from operant.evidence.tabular.game_beds import after
from operant.worlds import make_world
from operant.worlds.tabular.game_world import GameWorld
from operant.worlds.tabular.games import FiniteGame
from operant.worlds.tabular.mdp import FiniteMDP

ROUNDS, SEQUENCES = 2_000, 100


def most(rounds: int, actions: int) -> float:
    """Cesa-Bianchi and Lugosi 2006, theorem 2.3."""
    return 2 * math.sqrt(rounds / 2 * math.log(actions)) + math.sqrt(math.log(actions) / 8)


@check(
    "hedge",
    "bound",
    "exact",
    "regret is at most 2 √(T/2 ln A) + √(ln A / 8) at every hundredth of 2,000 rounds on 400 sequences: 100 of 5 actions that pay 0 or 1 by chance, 100 of 10 "
    "whose chances change every 100 rounds, and 100 of 2 and 100 of 5 in which what is ahead pays 0 and all else 1",
    theorem="regret at most 2 √(T/2 ln A) + √(ln A / 8)",
)
def bound(folder: Path) -> Finding:
    shares = {}
    for name, sequence in sequences().items():
        learner = get_method("hedge").build(configure("hedge", {})).learner(bed(sequence), list(range(SEQUENCES)), ROUNDS, torch.device("cpu"))
        shares[name] = 0.0
        while learner.step < ROUNDS:
            learner.iterate()
            shares[name] = max(shares[name], learner.problem.regret.total.max().item() / most(learner.step, sequence.shape[-1]))
    return Finding(max(shares.values()) <= 1, {"largest share of the bound": shares, "at most": 1})


@check(
    "hedge",
    "leader",
    "exact",
    "where two actions pay in turn, 1/2 and 0, then 0 and 1, 1 and 0 and so on for 2,000 rounds, following the leader (a rate of 10^6) has a regret of at "
    "least 0.49 T, and Hedge one within its bound",
    theorem="following the leader loses T / 2 to some sequence",
)
def leader(folder: Path) -> Finding:
    sequence = torch.zeros(1, ROUNDS, 2, dtype=torch.float64)
    sequence[:, 1::2, 1] = sequence[:, 2::2, 0] = 1
    sequence[:, 0, 0] = 0.5
    follows, ours = (float(outcome(played("hedge", bed(sequence), ROUNDS, 1, **hyper))["regret"][0]) for hyper in ({"rate": 1e6}, {}))
    figures = {"follows the leader": follows, "at least": 0.49 * ROUNDS, "hedge": ours, "at most": most(ROUNDS, 2)}
    return Finding(follows >= 0.49 * ROUNDS and ours <= most(ROUNDS, 2), figures)


@check(
    "hedge",
    "self-play",
    "small",
    "SPO's exact half, on the 20 first random tables of preferences over 10 answers on which the answer that Bradley and Terry's model likes best is "
    "exploitable by more than 0.2: between 100 and 100,000 rounds the exploitability of the average falls with an exponent of at most -0.45, in the mean, and "
    "ends below 0.01 in each",
)
def self_play(folder: Path) -> Finding:
    game, liked = intransitive(20)
    learner = after("hedge", GameWorld(game), 100, 20)
    curve = [(learner.step, game.exploitability(learner.state["policy"]))]
    learner.method, learner.total_steps = replace(learner.method, iterations=100), 100_000
    while learner.step < 100_000:
        learner.iterate()
        if learner.step >= 1.25 * curve[-1][0] or learner.step == 100_000:
            curve.append((learner.step, game.exploitability(learner.state["policy"])))
    rounds = torch.tensor([step for step, _ in curve], dtype=torch.float64)
    exponent = interval(ops.log_log_slope(rounds, torch.stack([gap for _, gap in curve], -1)).numpy())
    last = curve[-1][1]
    figures = {
        "exponent": exponent,
        "at most": -0.45,
        "in the end, largest": last.max().item(),
        "of what Bradley-Terry likes best, median": liked.median().item(),
    }
    return Finding(exponent[0] <= -0.45 and last.max().item() < 0.01, figures, 20)


@check(
    "hedge",
    "one learner",
    "exact",
    "on the same tables one learner that plays itself and two that play each other have the same average, within 1e-8, after 1,000 rounds",
)
def one_learner(folder: Path) -> Finding:
    game, _ = intransitive(20)
    both = after("hedge", GameWorld(game), 1_000, 20).state["policy"]
    chance = game.matrices[:, 0]
    policy = torch.full((20, 10), 0.1, dtype=torch.float64)
    gain, mean = torch.zeros_like(policy), torch.zeros_like(policy)
    low, high = chance.amin((1, 2)).unsqueeze(1), chance.amax((1, 2)).unsqueeze(1)
    for number in range(1_000):
        gain = gain + ((chance @ policy.unsqueeze(-1)).squeeze(-1) - low) / (high - low)
        mean = mean + policy / 1_000
        policy = ops.exponential_weights(gain, math.sqrt(8 * math.log(10) / (number + 2)))
    off = (both - mean.unsqueeze(1)).abs().max().item()
    return Finding(off <= 1e-8, {"largest difference": off, "at most": 1e-8}, 20)


def intransitive(count: int) -> tuple[FiniteGame, Tensor]:
    """The first random tables of preferences on which a reward misleads, and how exploitable the answer is that it likes best: the likeliest scores of Bradley
    and Terry's model, when all pairs are compared alike, order answers by their mean chance to be preferred, which is all that it takes in."""
    chance = make_world("tabular:random-preference").game(Streams(range(1_000))).matrices[:, 0]
    best = chance.mean(-1).argmax(-1)
    gap = chance.gather(2, best.view(-1, 1, 1).expand(-1, 10, 1)).squeeze(-1).amax(-1) - 0.5
    found = (gap > 0.2).nonzero().flatten()[:count]
    return FiniteGame.preferences(chance[found]), gap[found]


def bed(sequence: Tensor):
    """A world of sequences `[S, R, A]`."""
    one = torch.ones(1, 1, 1, sequence.shape[-1], 1, dtype=torch.float64)
    rounds = sequence[:, :, None, None]
    return world(FiniteMDP(one, rounds.mean(1), one[:, 0, :, 0, 0], 1.0, 1, rounds=rounds))


def sequences() -> dict[str, Tensor]:
    """`[100, 2,000, A]` each."""
    generator = torch.Generator().manual_seed(0)
    chance = torch.rand(SEQUENCES, ROUNDS // 100, 10, generator=generator, dtype=torch.float64).repeat_interleave(100, 1)
    found = {
        "chance": (torch.rand(SEQUENCES, ROUNDS, 5, generator=generator) < 0.5).to(torch.float64),
        "changes": (torch.rand(SEQUENCES, ROUNDS, 10, generator=generator, dtype=torch.float64) < chance).to(torch.float64),
    }
    for actions in (2, 5):
        gain, table = torch.rand(SEQUENCES, actions, generator=generator, dtype=torch.float64), torch.zeros(SEQUENCES, ROUNDS, actions, dtype=torch.float64)
        found[f"foiled, {actions} actions"] = table
        for number in range(ROUNDS):
            weights = ops.exponential_weights(gain, math.sqrt(8 * math.log(actions) / (number + 1)))
            table[:, number] = 1.0 - ops.greedy_policy(weights)
            gain = gain + table[:, number]
    return found
