"""Exp3: its bound where rewards were chosen beforehand, and an adversary that no deterministic player escapes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from operant.evidence import Finding, check
from operant.evidence.tabular.bandits.beds import SEEDS, interval, outcome, played, world
from operant.worlds.tabular.mdp import FiniteMDP

ROUNDS, ACTIONS = 20_000, 5
FOILED = 5_000


@check(
    "exp3",
    "bound",
    "small",
    "tabular:adversarial-bandit (5 actions, phases, drift, another best action after a third), 10 sequences of 20,000 rounds: regret against the best action "
    "in hindsight is in the mean at most 2.63 √(T A ln A) (corollary 3.2, which is of the expectation), and below a half of uniform play's",
    theorem="regret at most 2.63 √(T A ln A) (corollary 3.2)",
)
def bound(folder: Path) -> Finding:
    bed, most = world("adversarial-bandit"), 2.63 * math.sqrt(ROUNDS * ACTIONS * math.log(ACTIONS))
    ours, uniform = (outcome(played("exp3", bed, ROUNDS, **hyper))["regret"] for hyper in ({}, {"gamma": 1.0}))
    figures = {"regret": interval(ours), "of each": ours.round(1).tolist(), "at most": most, "of uniform play": interval(uniform)}
    return Finding(bool(ours.mean() <= min(most, uniform.mean() / 2)), figures, SEEDS)


@check(
    "exp3",
    "foils-ucb",
    "small",
    "2 actions, 5,000 rounds, in each of which what UCB1 plays pays 0 and the other action 1: UCB1's regret is at least T / 2 and grows with exponent 1 (to "
    "0.02), Exp3's on the same sequence is at most 2.63 √(T A ln A) in 10 of 10 seeds",
    theorem="a deterministic learner loses T / 2 to some sequence",
)
def foils_ucb(folder: Path) -> Finding:
    bed = world(foil(FOILED))
    theirs, ours = outcome(played("ucb", bed, FOILED, 1)), outcome(played("exp3", bed, FOILED))
    most = 2.63 * math.sqrt(FOILED * 2 * math.log(2))
    figures = {"ucb": float(theirs["regret"][0]), "at least": FOILED / 2, "its exponent": float(theirs["exponent"][0])}
    figures |= {"exp3": interval(ours["regret"]), "largest": float(ours["regret"].max()), "at most": most}
    holds = theirs["regret"][0] >= FOILED / 2 and abs(theirs["exponent"][0] - 1) <= 0.02 and ours["regret"].max() <= most
    return Finding(bool(holds), figures, SEEDS)


def foil(rounds: int) -> FiniteMDP:
    """Two actions, of which that which UCB1 plays pays nothing, and the other one 1."""
    count, table = np.zeros(2), np.zeros((rounds, 2))
    for number in range(rounds):
        plays = max(number, 1)
        index = np.where(count > 0, np.sqrt(2 * np.log(plays) / np.maximum(count, 1)), np.inf)  # all means are 0
        action = int(index.argmax())
        table[number, 1 - action] = 1
        count[action] += 1
    sequence = torch.from_numpy(table).view(1, rounds, 1, 1, 2)
    one = torch.ones(1, 1, 1, 2, 1, dtype=torch.float64)
    return FiniteMDP(one, sequence.mean(1), one[:, 0, :, 0, 0], 1.0, 1, rounds=sequence)
