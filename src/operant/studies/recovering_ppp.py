"""Recovering arms: arms that pay the more the longer they were left alone, pulled in purely periodic schedules.

Paper: Simchi-Levi, Zheng and Zhu 2021, arXiv:2106.14813. Arm i pays R_i(d) when it is pulled d steps after its last pull; K arms can be pulled a step.
Planning: what an arm can pay a step when it is pulled in a share x of the steps has a concave envelope F_i, and max Σ F_i(x_i) with Σ x_i ≤ K is at least what
any schedule pays (`ops.fill_rates`). The shares are then rounded to periods a · 2^j of a few bases a, so that arms of a base share a pull without ever meeting:
what is lost is a share of order 1 / √K. Learning: every (i, d) has a mean and a bonus, and phase after phase the plan of the highest rewards that they allow is
played.

Settled here: the bases are the first m odd numbers; a period is rounded up to the next of theirs. m and the budget of the relaxation, at most K, are those with
which the schedule fits into K pulls and pays most (the paper has one rule for both). Bonuses are `scale` · √(log T / n) and rewards 0 or 1; phases have √T
steps. Regret is against the same planner's schedule with the true rewards, which is less than the best. Arms come rested, and what the first pulls of a phase
meet is counted as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from operant import ops
from operant.core.memory import check_memory
from operant.core.registry import Count, NonNegative, Range
from operant.core.seeds import derive_seed
from operant.evaluate.plots import learning_curves
from operant.studies import Say, StudyResult, Table, study


@dataclass(frozen=True)
class RecoveringOptions:
    pulls: Annotated[tuple[int, ...], Range(1)] = (1, 2, 4, 8, 16, 32)  # K, a step; with five arms for each
    delays: Annotated[int, Range(2)] = 12  # after so many steps an arm has recovered
    instances: Count = 20  # random ones of each K
    steps: Annotated[tuple[int, ...], Range(100)] = (1_000, 3_162, 10_000, 31_623, 100_000)  # T, of learning
    arms: Annotated[int, Range(2)] = 6  # of learning, of which two can be pulled a step
    scale: NonNegative = 0.3  # of the bonus
    seed: Annotated[int, Range(0)] = 0  # of all draws


@dataclass(frozen=True)
class Schedule:
    """Arm i is pulled at the steps `first[i]`, `first[i]` + `period[i]`, …; never where its period is 0."""

    period: np.ndarray
    first: np.ndarray

    def value(self, reward: np.ndarray) -> float:
        """What it pays a step in the long run, of rewards `[N, D]`."""
        pulled = self.period > 0
        delay = np.minimum(self.period[pulled], reward.shape[1])
        return float((reward[pulled, delay - 1] / self.period[pulled]).sum())

    def most(self) -> int:
        """The most pulls that fall on one step: over as many steps as all periods need to begin anew, of a million the first."""
        length = min(math.lcm(*self.period[self.period > 0].tolist()), 10**6)
        count = np.zeros(length, dtype=int)
        for first, period in zip(self.first, self.period, strict=True):
            if period:
                count[first::period] += 1
        return int(count.max())


@study("recovering-ppp", paper="arXiv:2106.14813", summary="What purely periodic schedules of recovering arms pay, and what it costs to learn the arms")
def recovering_ppp(options: RecoveringOptions, folder: Path, say: Say) -> StudyResult:
    arms = max(5 * max(options.pulls), options.arms)
    check_memory(f"study recovering-ppp: {arms:,} arms with {options.delays:,} delays", 4 * 8 * arms * options.delays, "take fewer --pulls, --arms or --delays")
    rng = np.random.default_rng(derive_seed(options.seed, "recovering"))
    shares: dict[int, list[float]] = {}
    for pulls in options.pulls:
        for _ in range(options.instances):
            reward = curves(5 * pulls, options.delays, rng)
            shares.setdefault(pulls, []).append(plan(reward, pulls).value(reward) / relaxation(reward, pulls))
        say(f"K = {pulls}: the schedule pays {np.mean(shares[pulls]):.4f} of the bound")
    lost = {pulls: 1 - float(np.mean(each)) for pulls, each in shares.items()}
    reward = curves(options.arms, options.delays, rng)
    regret = {steps: float(np.mean([learn(reward, 2, steps, options.scale, rng) for _ in range(options.instances)])) for steps in options.steps}
    figures: dict[str, Any] = {
        "share_of_the_bound": {pulls: float(np.mean(each)) for pulls, each in shares.items()},
        "exponent_of_what_is_lost": slope(lost),
        "regret": regret,
        "exponent_of_regret": slope(regret),
    }
    planned = tuple((str(pulls), f"{1 - share:.4f}") for pulls, share in lost.items())
    learned = tuple((f"{steps:,}", f"{each:.1f}") for steps, each in regret.items())
    tables = (
        Table(f"share of the bound; what is lost grows with K by the exponent {figures['exponent_of_what_is_lost']:.2f}", ("K", "schedule / bound"), planned),
        Table(f"learning {options.arms} arms; exponent {figures['exponent_of_regret']:.2f}", ("steps", "regret"), learned),
    )
    curve = (np.array(list(regret), dtype=float), np.array(list(regret.values())))
    return StudyResult(figures, tables, {"regret": learning_curves({"UCB by phases": [curve]}, ylabel="regret", xlabel="steps")})


def curves(arms: int, delays: int, rng: np.random.Generator) -> np.ndarray:
    """Rewards in [0, 1] that do not fall with the delay, `[N, D]`."""
    return np.sort(rng.random((arms, delays)), -1)


def relaxation(reward: np.ndarray, pulls: float) -> float:
    """What no schedule pays more than, a step."""
    rates, envelope = ops.concave_envelope(torch.from_numpy(reward))
    return ops.relaxed_value(rates, envelope, ops.fill_rates(rates, envelope, pulls)).item()


def plan(reward: np.ndarray, pulls: int) -> Schedule:
    """The best schedule that fits of all numbers of bases, of each with the largest budget that does."""
    rates, envelope = ops.concave_envelope(torch.from_numpy(reward))
    found = []
    for bases in range(1, math.isqrt(4 * pulls) + 2):
        for quarter in range(4 * pulls, 0, -1):
            schedule = fitted(ops.fill_rates(rates, envelope, quarter / 4).numpy(), bases, pulls)
            if schedule is not None:
                found.append(schedule)
                break
    return max(found, key=lambda schedule: schedule.value(reward))


def fitted(share: np.ndarray, bases: int, pulls: int) -> Schedule | None:
    """The shares as periods of these bases, packed; None where they need more pulls a step than there are."""
    period, base = np.zeros(len(share), dtype=int), np.zeros(len(share), dtype=int)
    for arm in np.flatnonzero(share > 1e-9):
        period[arm], base[arm] = rounded(math.ceil(1 / share[arm] - 1e-9), bases)
    first, used = np.zeros(len(share), dtype=int), 0
    for each in sorted(set(base[period > 0].tolist())):
        members = np.flatnonzero((base == each) & (period > 0))
        free: list[tuple[int, int]] = []  # (first, period) of what is left of the pulls so far
        for arm in members[np.argsort(period[members], kind="stable")]:
            if not free:
                used, free = used + 1, [(0, 1)]
            start, every = free.pop()
            free += [(start + every * place, int(period[arm])) for place in range(1, period[arm] // every)]
            first[arm] = start
    return Schedule(period, first) if used <= pulls else None


def rounded(period: int, bases: int) -> tuple[int, int]:
    """The smallest period that is not shorter of those a · 2^j, a one of the first so many odd numbers, and a. Those of one a divide each other."""
    found = []
    for base in range(1, 2 * bases, 2):
        fits = base
        while fits < period:
            fits *= 2
        found.append((fits, base))
    return min(found)


def learn(reward: np.ndarray, pulls: int, steps: int, scale: float, rng: np.random.Generator) -> float:
    """The regret of UCB by phases."""
    arms, delays = reward.shape
    count, gained = np.zeros((arms, delays)), np.zeros((arms, delays))
    last, now, paid, phase = np.full(arms, -delays), 0, 0.0, math.isqrt(steps)
    while now < steps:
        length = min(phase, steps - now)
        bound = np.where(count > 0, gained / np.maximum(count, 1) + scale * np.sqrt(math.log(steps) / np.maximum(count, 1)), 1.0)
        bound = np.minimum.accumulate(np.minimum(bound, 1.0)[:, ::-1], -1)[:, ::-1]  # rewards do not fall: what bounds a longer delay bounds a shorter one
        schedule = plan(np.ascontiguousarray(bound), pulls)
        for arm in np.flatnonzero((schedule.period > 0) & (schedule.first < length)):
            first, period = now + schedule.first[arm], int(schedule.period[arm])
            number = (length - 1 - schedule.first[arm]) // period + 1
            for delay, times in ((min(first - last[arm], delays), 1), (min(period, delays), number - 1)):
                won = rng.binomial(times, reward[arm, delay - 1])
                count[arm, delay - 1] += times
                gained[arm, delay - 1] += won
                paid += times * reward[arm, delay - 1]
            last[arm] = first + (number - 1) * period
        now += length
    return plan(reward, pulls).value(reward) * steps - paid


def slope(points: dict[int, float]) -> float:
    """The slope of log value against log key."""
    return float(np.polyfit(np.log(list(points)), np.log(np.maximum(list(points.values()), 1e-9)), 1)[0])
