"""Revealing POMDPs: how many episodes it takes to tell a hidden state by what it shows, and what it costs to look.

Paper: Chen et al. 2023, arXiv:2302.01333, lower bounds; no learner. Its instances are made of branches, of which one leads to a good hidden state more often
than the others do, and of symbols which the good state shows with probabilities (1 ± alpha) / O in pairs, the bad one with (1 ∓ alpha) / O, nobody knowing
which symbol is which. To tell the branch is then to test a distribution for uniformity, which takes about √O / alpha² draws. Here a learner plays every branch
alike and takes the one whose symbols coincide most often; how many episodes of each branch it needs is measured for several O and alpha.

Where a step has to be given up to be shown anything (a POMDP that is revealing in two steps: the hidden state shows itself after an action that forfeits the
reward), whoever looks n times loses n, and who looks too little takes a wrong branch: with the worst gap between branches for each T, the regret of T episodes
of which T^(2/3) are looked at grows as T^(2/3).

Settled here: an experiment shows what one learner can do, never a lower bound. The paper's instances also have a tree of states before the branches and a lock
behind them; this keeps the branches, the pairs and the action that reveals. What an episode pays is not told to the learner, so that symbols are all there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from operant.core.errors import BadInput
from operant.core.memory import check_memory
from operant.core.registry import Count, Range
from operant.core.seeds import derive_seed
from operant.evaluate.plots import learning_curves
from operant.studies import Say, StudyResult, Table, study
from operant.worlds.tabular.pomdp import FinitePOMDP

FOUND = 0.9  # of the repeats in which the good branch is to be taken
GAPS = 2.0 ** np.arange(-8, 1)  # between branches, of which the worst one counts


@dataclass(frozen=True)
class RevealingOptions:
    observations: Annotated[tuple[int, ...], Range(2)] = (8, 16, 32, 64)  # symbols, an even number each
    alpha: Annotated[tuple[float, ...], Range(0, 1, open_low=True)] = (0.1, 0.2, 0.3, 0.4)  # how much a symbol reveals
    branches: Annotated[int, Range(2)] = 3  # of which one is good
    repeats: Count = 1_000  # of every number of episodes
    episodes: Annotated[tuple[int, ...], Range(100)] = (1_000, 10_000, 100_000, 1_000_000)  # T, of which T^(2/3) are looked at
    seed: Annotated[int, Range(0)] = 0  # of all draws


@study("revealing-pomdp-lb", paper="arXiv:2302.01333", summary="How many episodes tell a hidden state by what it shows, and what it costs to look")
def revealing_pomdp_lb(options: RevealingOptions, folder: Path, say: Say) -> StudyResult:
    if any(count % 2 for count in options.observations):
        raise BadInput(f"study revealing-pomdp-lb: observations = {list(options.observations)}: symbols are in pairs: they must be even")
    rng = np.random.default_rng(derive_seed(options.seed, "revealing"))
    middle, most = options.alpha[len(options.alpha) // 2], max(options.observations)
    what = f"study revealing-pomdp-lb: {most:,} symbols of {options.branches:,} branches in {options.repeats:,} repeats"
    check_memory(what, 3 * 8 * most * options.branches * options.repeats, "take fewer --observations, --branches or --repeats")
    needed = {}
    for observations, alpha in [(count, middle) for count in options.observations] + [(most, alpha) for alpha in options.alpha]:
        if (observations, alpha) not in needed:
            needed[observations, alpha] = episodes_needed(delayed(observations, options.branches, alpha), options.repeats, rng)
            say(f"{observations} symbols, alpha {alpha:g}: {needed[observations, alpha]:.0f} episodes of each branch")
    lost = {episodes: worst_regret(most, options.branches, max(options.alpha), episodes, options.repeats, rng) for episodes in options.episodes}
    figures: dict[str, Any] = {
        "episodes_needed": [{"observations": key[0], "alpha": key[1], "episodes": count} for key, count in needed.items()],
        "exponent_in_observations": exponent({count: needed[count, middle] for count in options.observations}),
        "exponent_in_alpha": exponent({alpha: needed[most, alpha] for alpha in options.alpha}),
        "regret": [{"episodes": episodes, "regret": regret} for episodes, regret in lost.items()],
        "exponent_of_regret": exponent(lost),
    }
    rows = [(str(observations), f"{alpha:g}", f"{count:.0f}") for (observations, alpha), count in sorted(needed.items())]
    slopes = [
        ("episodes needed, in the symbols", f"{figures['exponent_in_observations']:.3f}", "1/2"),
        ("episodes needed, in alpha", f"{figures['exponent_in_alpha']:.3f}", "-2"),
        ("regret of looking T^(2/3) times, in T", f"{figures['exponent_of_regret']:.3f}", "2/3"),
    ]
    tables = (
        Table(f"episodes of each of {options.branches} branches after which {FOUND:.0%} take the good one", ("symbols", "alpha", "episodes"), tuple(rows)),
        Table("fitted exponents", ("of what", "exponent", "the paper's"), tuple(slopes)),
    )
    curve = (np.array(list(lost), dtype=float), np.array(list(lost.values())))
    return StudyResult(figures, tables, {"regret": learning_curves({"worst regret": [curve]}, ylabel="regret", xlabel="episodes")})


def delayed(observations: int, branches: int, alpha: float, gap: float = 1.0) -> FinitePOMDP:
    """Two-step revealing: an action opens a branch, whose hidden state shows nothing; then action 1 has it show a symbol and forfeits the reward, and any other
    pays 1 in the good state. The first branch has the good one with probability (1 + gap) / 2, the others with 1/2.

    Hidden states: root, good, bad, good and bad as they show, end. Observations: the symbols, nothing, end.
    """
    root, good, bad, shows, end = 0, 1, 2, 3, 5
    transition, reward = torch.zeros(6, branches, 6, dtype=torch.float64), torch.zeros(6, branches, dtype=torch.float64)
    transition[root, :, good] = transition[root, :, bad] = 0.5
    transition[root, 0, good], transition[root, 0, bad] = (1 + gap) / 2, (1 - gap) / 2
    transition[good:shows, :, end] = 1
    for side in (0, 1):
        transition[good + side, 1] = torch.eye(6, dtype=torch.float64)[shows + side]
    transition[shows:, :, end] = 1
    reward[good] = 1
    reward[good, 1] = 0
    sign = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(observations // 2)
    emission = torch.zeros(6, observations + 2, dtype=torch.float64)
    emission[:shows, observations] = emission[end, observations + 1] = 1
    emission[shows, :observations], emission[shows + 1, :observations] = (1 + alpha * sign) / observations, (1 - alpha * sign) / observations
    initial = torch.eye(6, dtype=torch.float64)[:1]
    return FinitePOMDP(transition[None, None], emission[None, None], reward[None, None], initial, 3)


def symbols(pomdp: FinitePOMDP) -> np.ndarray:
    """Of each branch, how likely it shows each symbol when it is made to: `[A, O]`."""
    transition, emission = pomdp.transition[0, 0], pomdp.emission[0, 0]
    return (transition[0] @ transition[:, 1] @ emission)[:, :-2].numpy()


def found(pomdp: FinitePOMDP, branches: int, episodes: int, repeats: int, rng: np.random.Generator) -> float:
    """In which share of the repeats the good branch's symbols coincide most often, ties counting by parts."""
    chance = symbols(pomdp)[:branches]
    counts = np.stack([rng.multinomial(episodes, each / each.sum(), size=repeats) for each in chance])
    pairs = (counts * (counts - 1)).sum(-1)
    best = pairs == pairs.max(0)
    return float((best[0] / best.sum(0)).mean())


def episodes_needed(pomdp: FinitePOMDP, repeats: int, rng: np.random.Generator) -> float:
    """Of each branch, until the good one is taken in a share `FOUND` of the repeats: between the powers of 2^(1/4) where it is."""
    branches, count, before = pomdp.revealed.actions, 2.0, (1.0, 0.0)
    while True:
        share = found(pomdp, branches, round(count), repeats, rng)
        if share >= FOUND:
            low, at = np.log(before[0]), (FOUND - before[1]) / (share - before[1])
            return float(np.exp(low + at * (np.log(count) - low)))
        before, count = (count, share), count * 2**0.25


def worst_regret(observations: int, branches: int, alpha: float, episodes: int, repeats: int, rng: np.random.Generator) -> float:
    """Of T episodes, T^(2/3) of which are looked at, of the gap that costs most. What is looked at loses all that the best branch pays."""
    looked, lost = round(episodes ** (2 / 3)), []
    for gap in GAPS:
        pomdp = delayed(observations, branches, alpha, gap)
        right = found(pomdp, branches, looked // branches, repeats, rng)
        lost.append(looked * (1 + gap) / 2 + (episodes - looked) * (1 - right) * gap / 2)
    return max(lost)


def exponent(points: dict[Any, float]) -> float:
    """The slope of log value against log key."""
    return float(np.polyfit(np.log(list(points)), np.log(list(points.values())), 1)[0])
