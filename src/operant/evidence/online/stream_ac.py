"""Stream AC(λ) learns CartPole from single samples."""

from __future__ import annotations

from pathlib import Path

from operant.evidence import Finding, check
from operant.evidence.online.streams import last_returns

STEPS = 200_000


@check(
    "stream-ac",
    "cartpole",
    "small",
    "CartPole-v1, 200,000 steps (the paper's setting has 500,000): the mean return of the last 100 episodes of the stream is at least 400 in at least 4 of 5 "
    "seeds",
)
def cartpole(folder: Path) -> Finding:
    found = last_returns("stream-ac", "gym:CartPole-v1", seeds=5, steps=STEPS)
    reached = sum(value >= 400 for value in found)
    return Finding(reached >= 4, {"per_seed": found, "seeds_at_400": reached, "needed": 4, "steps": STEPS}, seeds=5)
