"""BroRL: the mass balance of a softmax step, and right tokens that lose probability by the number of tokens drawn."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from operant import ops
from operant.evidence import Finding, check
from operant.studies.brorl import BroRLOptions, simulate

SIMULATED = "softmax over 1024 tokens, uniform at the start, 10 % right, up to a mass of 0.9: the share of right tokens that end below their start"


@check(
    "brorl",
    "mass-balance",
    "exact",
    "the mass-balance formula matches the finite difference of the right tokens' mass, step 1e-5, relative 1e-3 (20 softmaxes)",
)
def mass_balance(folder: Path) -> Finding:
    error = identity_error()
    return Finding(error <= 1e-3, {"relative_error": error, "tolerance": 1e-3})


@check(
    "brorl",
    "falls-with-draws",
    "small",
    f"{SIMULATED}: falls with every N of 8, 32, 128, 512, 2048, 8192 (means over 5 seeds); from an uneven start (logits with deviation 0.5) it is reported",
)
def falls_with_draws(folder: Path) -> Finding:
    lost, uneven = lost_share(0.0), lost_share(0.5)
    values = list(lost.values())
    falls = all(after <= before for before, after in zip(values, values[1:], strict=False))
    return Finding(falls, {"below_their_start": lost, "from_an_uneven_start": uneven}, BroRLOptions().seeds)


@check("brorl", "from-many-to-none", "small", f"{SIMULATED}: above 10 % at N = 8 and below 1 % at N = 8192 (means over 5 seeds)")
def from_many_to_none(folder: Path) -> Finding:
    lost = list(lost_share(0.0).values())
    return Finding(lost[0] > 0.1 and lost[-1] < 0.01, {"fewest_draws": lost[0], "above": 0.1, "most_draws": lost[-1], "below": 0.01}, BroRLOptions().seeds)


@cache
def lost_share(spread: float) -> dict[int, float]:
    """Share of right tokens that end below their start by the number of draws, from logits of a deviation."""
    options = replace(BroRLOptions(), spread=spread)
    return {draws: float(simulate(draws, options)["lost"].mean()) for draws in options.draws}


def identity_error(cases: int = 20, tokens: int = 128, step: float = 1e-5) -> float:
    """Largest relative error of the formula against a small step that is taken, with rewards 1 and -0.5."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(cases, tokens, generator=generator, dtype=torch.float64)
    right, sampled = (torch.rand(cases, tokens, generator=generator) < share for share in (0.2, 0.3))
    p = logits.softmax(-1)
    moved = (logits + step * ops.sampled_logit_step(p, right, sampled, penalty=-0.5)).softmax(-1)
    found = ((moved - p) * right).sum(-1) / step
    told = sum(ops.mass_balance(p, right, sampled, penalty=-0.5))
    return float(((found - told) / told).abs().max())
