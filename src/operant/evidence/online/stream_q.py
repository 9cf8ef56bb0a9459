"""Stream Q(λ): bounded steps never go beyond their target where values are linear; CartPole is learned from single samples, and not with plain steps."""

from __future__ import annotations

from pathlib import Path

import torch

from operant import ops
from operant.core.errors import RunFailed
from operant.evidence import Finding, check
from operant.evidence.online.streams import last_returns

STEPS, RATES = 200_000, (1e-2, 1e-3, 1e-4)


@check(
    "stream-q",
    "no-overshoot",
    "exact",
    "of a linear value function with |x − γ x'| at most κ in each number, a bounded step never turns the sign of δ on the same transition: 0 of 100,000 draws "
    "of z, δ and features, in double precision",
)
def no_overshoot(folder: Path) -> Finding:
    draws, size, kappa = 100_000, 8, 2.0
    generator = torch.Generator().manual_seed(0)

    def scale(*shape: int) -> torch.Tensor:
        return 10 ** (6 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 3)

    trace = torch.randn(draws, size, generator=generator, dtype=torch.float64) * scale(draws, 1)
    error = torch.randn(draws, generator=generator, dtype=torch.float64) * scale(draws)
    change = (2 * torch.rand(draws, size, generator=generator, dtype=torch.float64) - 1) * kappa
    size_of_step = ops.bounded_step_size(error, trace.abs().sum(1), learning_rate=1.0, kappa=kappa)
    after = error - size_of_step * error * (change * trace).sum(1)
    turned = int((after * error < 0).sum())
    plain = int(((error - error * (change * trace).sum(1)) * error < 0).sum())
    return Finding(turned == 0, {"turned": turned, "turned by a step of 1": plain, "draws": draws})


@check(
    "stream-q",
    "cartpole",
    "small",
    "CartPole-v1, 200,000 steps (the paper's setting has 500,000): the mean return of the last 100 episodes of the stream is at least 400 in at least 4 of 5 "
    "seeds",
)
def cartpole(folder: Path) -> Finding:
    found = last_returns("stream-q", "gym:CartPole-v1", seeds=5, steps=STEPS)
    reached = sum(value >= 400 for value in found)
    return Finding(reached >= 4, {"per_seed": found, "seeds_at_400": reached, "needed": 4, "steps": STEPS}, seeds=5)


@check(
    "stream-q",
    "plain-steps",
    "small",
    "the same agent with steps of SGD and of Adam along its traces, each with the best of three learning rates (1e-2, 1e-3, 1e-4), stays below 200 on "
    "CartPole-v1 in the same 200,000 steps, mean over 5 seeds of the last 100 episodes",
)
def plain_steps(folder: Path) -> Finding:
    figures: dict[str, float | None] = {}
    for optimizer in ("sgd", "adam"):
        for rate in RATES:
            try:
                found = last_returns("stream-q", "gym:CartPole-v1", seeds=5, steps=STEPS, optimizer=optimizer, learning_rate=rate)
                figures[f"{optimizer} {rate:g}"] = sum(found) / len(found)
            except RunFailed:  # the weights grew without bound
                figures[f"{optimizer} {rate:g}"] = None
    best = max(value for value in figures.values() if value is not None)
    return Finding(best < 200, figures | {"best": best, "below": 200, "steps": STEPS}, seeds=5)
