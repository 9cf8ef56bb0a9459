"""Bandits in payments: inverse gaps beside uniform exploration of the same mass, and whether regret swings where a wrong model forgets."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from operant import ops
from operant.core.registry import configure, get_method
from operant.evaluate.statistics import t_quantile
from operant.evidence import Finding, check
from operant.worlds import make_world

GENERATIONS, FIRST = 30, 3  # of a run, and the first of them that a model decided and that is looked at
BED = "tabular:payments (50 contexts, 20 actions of which 0.7 are available, batches of 5,000, told one batch late), 30 generations"


@check(
    "igw-payments",
    "probabilities",
    "exact",
    f"inverse-gap weighting over the actions of each context, {BED} of a seed: every generation's probabilities sum to 1 within 1e-12, are 0 where an action "
    "is not available, and at least one over the number of available ones for the best",
)
def probabilities(folder: Path) -> Finding:
    off = short = outside = 0.0
    for each in generations(1, memory=1, oracle="linear")["learners"]:
        policy, allowed = each["policy"][:, 0], each["available"]
        off = max(off, (policy.sum(-1) - 1).abs().max().item())
        outside = max(outside, policy.masked_fill(allowed, 0.0).max().item())
        best = policy.gather(-1, each["value"].masked_fill(~allowed, -torch.inf).argmax(-1, keepdim=True))
        short = max(short, (1 / allowed.double().sum(-1, keepdim=True) - best).max().item())
    return Finding(off <= 1e-12 and outside == 0 and short <= 1e-12, {"off 1 by": off, "not available": outside, "short of 1/A by": short, "at most": 1e-12})


@check(
    "igw-payments",
    "realisable",
    "small",
    f"{BED}, logistic regression, 5 seeds: with a memory of 10 batches the cumulative regret of inverse-gap weighting is below that of epsilon-greedy "
    "exploration of the same mass in at least 4 of 5",
)
def realisable(folder: Path) -> Finding:
    ours, theirs = (generations(5, memory=10, explore=explore) for explore in ("igw", "epsilon-greedy"))
    static = static_regret(ours)
    below = int((ours["regret"].sum(0) < theirs["regret"].sum(0)).sum())
    figures = {"below in": below, "at least": 4, "igw": totals(ours), "epsilon-greedy": totals(theirs), "the first model's greedy policy, kept": static}
    figures |= {"mass explored": [round(ours["mass"], 4), round(theirs["mass"], 4)]}
    figures["inverse-propensity weights"] = totals(generations(5, memory=10, weights="inverse-propensity"))
    return Finding(below >= 4, figures, 5)


@check(
    "igw-payments",
    "swings",
    "small",
    f"{BED}, least squares, which is wrong here, 20 seeds from 40 on: with a memory of 1 batch the lag-1 autocorrelation of regret is below that of "
    "independent numbers, -1/(T - 1) of the T generations behind the third (one-sided t test over seeds, p < 0.05), and below that with a memory of 10 batches "
    "(two-sample t test, p < 0.05)",
)
def swings(folder: Path) -> Finding:
    short, long = (autocorrelation(generations(20, first=40, memory=memory, oracle="linear")["regret"][FIRST:]) for memory in (1, 10))
    independent = -1 / (GENERATIONS - FIRST - 1)
    below = statistic(short - independent)
    gap = (long.mean() - short.mean()) / np.sqrt(long.var(ddof=1) / 20 + short.var(ddof=1) / 20)
    figures = {"memory 1": float(short.mean()), "independent": independent, "t": below, "memory 10": float(long.mean()), "t of both": float(gap)}
    return Finding(bool(below < -t_quantile(0.95, 19) and gap > t_quantile(0.95, 38)), figures, 20)


@check(
    "igw-payments",
    "worse-after-better",
    "small",
    f"{BED}, least squares, a memory of 1 batch, 20 seeds: the first model of data that a model selected (generation 4) has a larger regret than the last one "
    "of uniform data (generation 3) in at least 15 of 20 seeds (sign test, p = 0.02), though more of its data are successes",
)
def worse_after_better(folder: Path) -> Finding:
    run = generations(20, memory=1, oracle="linear")
    worse = int((run["regret"][4] > run["regret"][3]).sum())
    success = run["success"][[1, 2]].mean(-1)  # of the batches that the two were fitted to
    figures = {"worse in": worse, "at least": 15, "regret of a thousand": (1_000 * run["regret"].mean(-1)).round(2).tolist()}
    return Finding(worse >= 15 and bool(success[1] > success[0]), figures | {"successes": success.round(4).tolist()}, 20)


@cache
def generations(seeds: int, first: int = 0, **hyper: object) -> dict:
    """A run of 30 generations: of each generation and seed the regret of a payment, the share that succeed, how far predictions are from the truth where it
    chooses ("calibration"), and the effective size of its data for uniform choice, as a share ("effective")."""
    world = make_world("tabular:payments")
    spine = get_method("igw-payments").build(configure("igw-payments", hyper))
    learner = spine.learner(world, list(range(first, first + seeds)), GENERATIONS, torch.device("cpu"))
    problem, found = learner.problem, {name: [] for name in ("regret", "success", "calibration", "effective")}
    learners, mass, before = [], [], torch.zeros(seeds, dtype=torch.float64)
    mdp = world.mdp(learner.streams)
    likelihood, chance, allowed = mdp.initial, mdp.reward[:, 0], mdp.available.expand(seeds, -1, -1)
    while learner.step < GENERATIONS:
        policy, value = learner.state["policy"], learner.state["value"]
        learners.append({"policy": policy, "value": value, "available": allowed})
        visits = likelihood.unsqueeze(-1) * policy[:, 0]
        learner.iterate()
        total = problem.regret.total
        found["regret"].append((total - before) / problem.late.batch)
        before = total
        found["success"].append((visits * chance).sum((-2, -1)))
        found["calibration"].append((visits * (value - chance).abs()).sum((-2, -1)))
        uniform = allowed / allowed.sum(-1, keepdim=True)
        ratio = torch.where(allowed, uniform / policy[:, 0].clamp(min=1e-12), 0.0)
        found["effective"].append(1 / (visits * ratio.square()).sum((-2, -1)))
        if learner.step > FIRST:
            mass.append((likelihood * (1 - policy[:, 0].amax(-1))).sum(-1).mean().item())
    series = {name: torch.stack(each).numpy() for name, each in found.items()}
    return series | {"learners": learners, "mass": float(np.mean(mass)), "mdp": mdp}


def totals(run: dict) -> list[float]:
    """Regret of all generations of each seed, of a thousand payments."""
    return (1_000 * run["regret"].mean(0)).round(2).tolist()


def static_regret(run: dict) -> list[float]:
    """The regret, as in `totals`, of a policy that stays greedy in the first model of a run."""
    first, mdp = run["learners"][FIRST], run["mdp"]
    policy = ops.greedy_policy(first["value"].masked_fill(~first["available"], -torch.inf)).unsqueeze(1)
    return (1_000 * (mdp.start_value(mdp.optimum[0]) - mdp.start_value(mdp.value(policy)))).numpy().round(2).tolist()


def autocorrelation(series: np.ndarray) -> np.ndarray:
    """At lag 1, of each column `[T, S]`."""
    centred = series - series.mean(0)
    return (centred[1:] * centred[:-1]).sum(0) / (centred**2).sum(0)


def statistic(values: np.ndarray) -> float:
    """Student's t of the mean."""
    return float(values.mean() / (values.std(ddof=1) / len(values) ** 0.5))
