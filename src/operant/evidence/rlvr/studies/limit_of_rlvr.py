"""The limit of RLVR: the base policy catches up at large k, and what training found was likely before; a teacher moves the boundary."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from operant.evaluate.statistics import pass_at_k
from operant.evidence import Finding, check
from operant.evidence.rlvr.tier import SEEDS, language
from operant.studies.limit_of_rlvr import LimitOptions, limit_of_rlvr

SAMPLES = 1024
RUNS = "text:countdown, the shared 100 iterations of GRPO, 1024 answers to 32 held-out problems (the row has 100)"


@check(
    "limit-of-rlvr",
    "estimator",
    "exact",
    "the estimator of pass@k is within 3 standard errors of 1 - (1 - p)^k and biased by less than 1e-3 on 10,000 Bernoulli problems (n = 64, k = 1, 4, 16, 64)",
)
def estimator(folder: Path) -> Finding:
    bias = estimator_error()
    return Finding(bias["standard_errors"] <= 3 and bias["bias"] < 1e-3, bias)


@check(
    "limit-of-rlvr",
    "base-catches-up",
    "small",
    f"{RUNS}: in at least 4 of 5 seeds pass@1 is 0.15 above the base's and the base catches up at a k of at most 1024",
)
def base_catches_up(folder: Path) -> Finding:
    seeds = measured(folder)
    gains = [found["pass_at_k"]["trained"][1]["point"] - found["pass_at_k"]["base"][1]["point"] for found in seeds]
    crossings = [found["crossover"] for found in seeds]
    holds = [gain >= 0.15 and crossing is not None for gain, crossing in zip(gains, crossings, strict=True)]
    figures = {
        "pass@1_gain": gains,
        "crossover": crossings,
        "efficiency_gap": [found["efficiency_gap"] for found in seeds],
        "solved": {case: [found["solved"]["trained"][case] for found in seeds] for case in ("both", "base_only", "other_only", "neither")},
    }
    return Finding(sum(holds) >= 4, figures, SEEDS)


@check(
    "limit-of-rlvr", "was-likely-before", "small", f"{RUNS}: the base's perplexity of the trained policy's answers is at most that of its own (mean over seeds)"
)
def was_likely_before(folder: Path) -> Finding:
    perplexity = {name: [found["base_perplexity"][name]["all"] for found in measured(folder)] for name in ("base", "trained")}
    return Finding(float(np.mean(perplexity["trained"])) <= float(np.mean(perplexity["base"])), {"base_perplexity": perplexity}, SEEDS)


@check(
    "limit-of-rlvr",
    "teacher-moves-it",
    "small",
    f"{RUNS}: a policy distilled from the task's teacher has pass@1024 of at least 0.03 above the base's (seed 0)",
)
def teacher_moves_it(folder: Path) -> Finding:
    found = measured(folder)[0]["pass_at_k"]
    boundary = {name: found[name][SAMPLES]["point"] for name in ("base", "trained", "distilled")}
    return Finding(boundary["distilled"] >= boundary["base"] + 0.03, {f"pass@{SAMPLES}": boundary, "threshold": 0.03}, seeds=1)


@cache
def measured(folder: Path) -> list[dict[str, Any]]:
    """The figures of the study, a seed each."""
    seeds = []
    for seed, run in enumerate(language("grpo", "text:countdown").runs):
        options = LimitOptions(run=str(run.path), problems=32, samples=SAMPLES, distill=seed == 0)
        seeds.append(limit_of_rlvr(options, folder, lambda line: None).figures)
    return seeds


def estimator_error(problems: int = 10_000, samples: int = 64, repeats: int = 100) -> dict[str, float]:
    """Largest distance of the mean estimate from the truth, over k of 1, 4, 16 and 64: as it is, and in standard errors.

    Problems have p drawn from Beta(1, 4); each is sampled `repeats` times, so that the standard error lies well below the bias that is looked for.
    """
    rng = np.random.default_rng(0)
    p = rng.beta(1, 4, problems)
    correct = [rng.binomial(samples, p) for _ in range(repeats)]
    worst = {"bias": 0.0, "standard_errors": 0.0}
    for k in (1, 4, 16, 64):
        error = np.mean([pass_at_k(samples, counts, k) for counts in correct], 0) - (1 - (1 - p) ** k)
        spread = error.std(ddof=1) / problems**0.5
        worst["bias"] = max(worst["bias"], abs(float(error.mean())))
        worst["standard_errors"] = max(worst["standard_errors"], abs(float(error.mean() / spread)))
    return worst
