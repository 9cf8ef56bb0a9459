"""Hedge: a bound that no sequence breaks, and following the leader, which has none."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from operant import ops
from operant.core.registry import configure, get_method
from operant.evidence import Finding, check
from operant.evidence.tabular.bandits.beds import outcome, played, world
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
