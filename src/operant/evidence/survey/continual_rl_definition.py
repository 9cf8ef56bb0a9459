"""Continual RL: on a bandit whose arms change places every optimal agent changes for ever, on one whose arms stay none need to."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from operant.evidence import Finding, check
from operant.studies.continual_rl_definition import ContinualOptions, Played, enumerated, played

OPTIONS = ContinualOptions()


@check(
    "continual-rl-definition",
    "definition",
    "exact",
    "arms of 0.8 and 0.2, epsilon 0 and 0.1, all 512 rules: where the arms stay, an optimal rule reaches the basis; where they change places with probability"
    " 0.005, 0.01 or 0.05 a step, every optimal one never reaches it, and earns at least 1.1 times what the best rule that reaches does; with 0.5, where"
    " nothing that was seen tells what comes, the best that reaches earns as much to 1e-9",
    theorem="continual learning: every optimal agent never reaches the basis (definition 4.1)",
)
def definition(folder: Path) -> Finding:
    found, holds = {}, []
    for epsilon in (0.0, 0.1):
        for change in (0.0, 0.005, 0.01, 0.05, 0.5):
            here = enumerated(OPTIONS.means, change, epsilon).figures()
            found[f"epsilon {epsilon:g}, change {change:g}"] = here
            gain = here["best"] / here["best_that_reaches"]
            holds.append(here["continual"] and gain >= 1.1 if 0 < change < 0.5 else not here["continual"] and gain <= 1 + 1e-9)
    return Finding(all(holds), {"problems": found, "cases_that_hold": sum(holds), "of": len(holds), "gain_at_least": 1.1})


@cache
def runs(change: float) -> Played:
    return played(OPTIONS, change)


@check(
    "continual-rl-definition",
    "stationary",
    "small",
    "arms that stay, 50 runs of 10,000 steps (seed 0): the learner of the largest mean reward, fixed arms among them, does not change in the second"
    " half of any run, and nor does Q-learning with steps of 1/n",
)
def stationary(folder: Path) -> Finding:
    found = runs(0.0)
    quiet, best = found.quiet(OPTIONS.steps), int(found.reward.mean(1).argmax())
    of_means = quiet[found.names.index("Q-learning, 1/n")]
    figures = {
        "best": found.names[best],
        "quiet_of_best": quiet[best],
        "quiet_of_1/n": of_means,
        "last_change": dict(zip(found.names, found.last.max(1).tolist(), strict=True)),
    }
    return Finding(bool(quiet[best] == 1 and of_means == 1), figures, OPTIONS.runs)


@check(
    "continual-rl-definition",
    "changing",
    "small",
    "arms that change places with probability 0.01 a step, 50 runs of 10,000 steps (seed 0): the learner of the largest mean reward changes in the"
    " second half of every run, and its mean is at least 1.1 times that of each that reaches the basis (fixed arms, explore and commit)",
)
def changing(folder: Path) -> Finding:
    found = runs(OPTIONS.change)
    quiet, reward = found.quiet(OPTIONS.steps), found.reward.mean(1)
    best = int(reward.argmax())
    reaching = [place for place in range(len(quiet)) if quiet[place] == 1]
    ratio = float(reward[best] / reward[reaching].max())
    named = all(found.names.index(name) in reaching for name in ("arm 0", "arm 1", "commit after 100", "commit after 1,000"))
    figures = {
        "best": found.names[best],
        "changes_a_step": float(found.rate[best].mean()),
        "runs_without": float(quiet[best]),
        "times_the_best_that_reaches": ratio,
        "at_least": 1.1,
        "reward": dict(zip(found.names, np.round(reward, 4).tolist(), strict=True)),
    }
    return Finding(bool(named and quiet[best] == 0 and ratio >= 1.1), figures, OPTIONS.runs)
