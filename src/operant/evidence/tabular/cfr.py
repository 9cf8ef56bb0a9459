"""CFR: its bound, counted over random games; how fast it and CFR+ come to the equilibrium of Kuhn poker; what it comes to where interests are not opposed."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from operant.evidence import Finding, check
from operant.evidence.tabular.game_beds import after, played, random_kuhn, random_matrices
from operant.worlds import make_world

GAMES, ITERATIONS, LONG = 100, 500, 10_000


@check(
    "cfr",
    "bound",
    "exact",
    "exploitability is at most (|I_1| + |I_2|) Δ √A / (2 √T) after every one of 500 iterations on 100 random matrix games of 10 actions, and of 5,000 on 100 "
    "games with the tree of Kuhn poker and random payoffs in [-1, 1]: 0 violations; uniform play breaks it in the end in some of either",
    theorem="exploitability at most Σ_i Δ |I_i| √A / (2 √T)",
)
def bound(folder: Path) -> Finding:
    shares, uniform, violations = {}, {}, 0
    beds = {"matrices": (random_matrices(GAMES, 10, zero_sum=True), ITERATIONS), "trees": (random_kuhn(GAMES), 5_000)}
    for name, (world, iterations) in beds.items():
        sets, actions = world.shape
        shares[name] = 0.0
        for learner in played("cfr", world, iterations, GAMES):
            most = sets * 2 * math.sqrt(actions) / (2 * math.sqrt(learner.step))
            found = learner.problem.game.exploitability(learner.state["policy"])
            violations += int((found > most).sum())
            shares[name] = max(shares[name], found.max().item() / most)
        uniform[name] = int((learner.problem.game.exploitability(learner.problem.uniform()) > most).sum())
    told = {"violations": violations, "largest share of the bound": shares, "games where uniform play breaks it in the end": uniform}
    return Finding(violations == 0 and min(uniform.values()) > 0, told)


@check(
    "cfr",
    "kuhn",
    "small",
    "on Kuhn poker, over the last factor of a hundred of 10,000 iterations, exploitability falls with an exponent of at most -0.45 by CFR and of at most -1 by "
    "CFR+, whose average pays the first player -1/18 up to 1e-5",
)
def kuhn(folder: Path) -> Finding:
    world, figures = make_world("tabular:kuhn-poker"), {}
    for name, plus in (("CFR", False), ("CFR+", True)):
        learner = after("cfr", world, LONG, plus=plus)
        measures = world.evaluate(learner.policy, 1).measures
        exponent = learner.problem.exploitability.exponent().item()
        figures[name] = {"exponent": exponent, "exploitability": measures["exploitability"].item(), "value": measures["value of player 1"].item()}
    holds = figures["CFR"]["exponent"] <= -0.45 and figures["CFR+"]["exponent"] <= -1 and abs(figures["CFR+"]["value"] + 1 / 18) <= 1e-5
    return Finding(holds, figures | {"value of the game": -1 / 18})


@check("cfr", "leduc", "exact", "on Leduc poker CFR+ is after 200 iterations at most a fifth as exploitable as CFR")
def leduc(folder: Path) -> Finding:
    world = make_world("tabular:leduc-poker")
    cfr, plus = (world.evaluate(after("cfr", world, 200, plus=plus).policy, 1).measures["exploitability"].item() for plus in (False, True))
    return Finding(plus <= cfr / 5, {"CFR": cfr, "CFR+": plus, "at most": cfr / 5})


@check(
    "cfr",
    "correlated",
    "exact",
    "regret matching on 100 random general-sum matrix games of 10 actions: no fixed action is better than the joint average play by more than Δ √A / √T, after "
    "every one of 500 iterations, so that it comes to the coarse correlated equilibria: 0 violations",
    theorem="regret of regret matching at most Δ √A √T",
)
def correlated(folder: Path) -> Finding:
    world, violations, share = random_matrices(GAMES, 10, zero_sum=False), 0, 0.0
    for learner in played("cfr", world, ITERATIONS, GAMES):
        gap, most = learner.state["regret"].amax((1, 2)) / learner.step, 2 * math.sqrt(10) / math.sqrt(learner.step)
        violations += int((gap > most).sum())
        share = max(share, gap.max().item() / most)
    ends = {
        "gap in the end": torch.quantile(gap, 0.5).item(),
        "exploitability of the marginals": learner.problem.game.exploitability(learner.state["policy"]).median().item(),
    }
    return Finding(violations == 0, {"violations": violations, "largest share of the bound": share, "medians": ends})
