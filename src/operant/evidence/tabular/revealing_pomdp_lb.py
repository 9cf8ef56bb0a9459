"""Revealing POMDPs: instances reveal what they are made to, and what one learner needs grows about as the lower bounds say that every learner's must."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from operant import studies
from operant.core.random import Streams
from operant.evidence import Finding, check
from operant.studies.revealing_pomdp_lb import delayed
from operant.worlds import make_world

SIZES, ALPHAS = (4, 16, 64), (0.05, 0.2, 0.5, 1.0)


@check(
    "revealing-pomdp-lb",
    "constant",
    "exact",
    "the revealing constant, by linear programs for the smallest left inverse, is the alpha that the instance was made for within 1e-6 of it: of one step "
    "(tabular:revealing) and of two steps, which reveal nothing in one; 4, 16 and 64 symbols, alpha 0.05, 0.2, 0.5 and 1",
)
def constant(folder: Path) -> Finding:
    off, dark = 0.0, 0.0
    for observations in SIZES:
        for alpha in ALPHAS:
            one = make_world("tabular:revealing", observations=observations, revealing=alpha).mdp(Streams([0])).pomdp
            two = delayed(observations, 2, alpha)
            off = max(off, abs(one.revealing().item() / alpha - 1), abs(two.revealing(2).item() / alpha - 1))
            dark = max(dark, two.revealing(1).item())
    return Finding(off <= 1e-6 and dark == 0, {"largest_relative_difference": off, "at_most": 1e-6, "of_one_step_where_it_takes_two": dark})


@check(
    "revealing-pomdp-lb",
    "symbols",
    "small",
    "the episodes of each of 3 branches after which the good one is taken in 90 % of 1,000 repeats grow with the number of symbols (8 to 64, alpha 0.3) with "
    "an exponent in [0.4, 0.6]",
    theorem="to tell a hidden state by O symbols takes √O episodes",
)
def symbols(folder: Path) -> Finding:
    found = conducted()
    return Finding(0.4 <= found["exponent_in_observations"] <= 0.6, found | {"between": [0.4, 0.6]}, 1)


@check(
    "revealing-pomdp-lb",
    "alpha",
    "small",
    "they grow with alpha (0.1 to 0.4, 64 symbols) with an exponent in [-2.3, -1.7]",
    theorem="to tell a hidden state that is alpha-revealed takes 1 / alpha² episodes",
)
def alpha(folder: Path) -> Finding:
    found = conducted()
    return Finding(-2.3 <= found["exponent_in_alpha"] <= -1.7, found | {"between": [-2.3, -1.7]}, 1)


@check(
    "revealing-pomdp-lb",
    "regret",
    "small",
    "on the instance that is revealing in two steps, the regret of looking T^(2/3) times and then taking the best branch, with the worst of nine gaps, grows "
    "with T (1,000 to 1,000,000) with an exponent in [0.567, 0.767]",
    theorem="regret where looking costs grows as T^(2/3)",
)
def regret(folder: Path) -> Finding:
    found = conducted()
    return Finding(2 / 3 - 0.1 <= found["exponent_of_regret"] <= 2 / 3 + 0.1, found | {"between": [2 / 3 - 0.1, 2 / 3 + 0.1]}, 1)


@cache
def conducted() -> dict[str, Any]:
    entry = studies.get_study("revealing-pomdp-lb")
    return entry.conduct(entry.options(), Path(), lambda line: None).figures
