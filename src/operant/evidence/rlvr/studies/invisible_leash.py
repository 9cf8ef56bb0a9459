"""The invisible leash: support is preserved exactly where it can be enumerated, and shrinks where it is sampled."""

from __future__ import annotations

from pathlib import Path

import torch

from operant import ops
from operant.evidence import Finding, check
from operant.evidence.rlvr.exact import random_policy, spine
from operant.evidence.rlvr.tier import SEEDS, language
from operant.nets.tabular import TabularPolicy
from operant.studies.invisible_leash import LeashOptions, sampled_figures, tilted_optimum_distance
from operant.worlds import make_world
from operant.worlds.sequences import exact
from operant.worlds.sequences.problems import SequenceProblem

NOWHERE = -1000.0  # a logit whose probability is 0 in float64, while its logarithm is a number


@check(
    "invisible-leash",
    "no-mass-from-nothing",
    "small",
    "sequences:sum-mod, a tenth of the next tokens at probability 0: after 10,000 iterations of GRPO (seeds 0 to 4) the mass of right answers that had none is"
    " still 0",
)
def no_mass_from_nothing(folder: Path) -> Finding:
    leaked = mass_without_support(10_000)
    return Finding(leaked == 0.0, {"largest_mass": leaked}, SEEDS)


@check(
    "invisible-leash",
    "tilted-optimum",
    "small",
    "there exact ascent of the KL-regularised reward (weight 0.2) ends within total variation 0.01 of q exp(r / 0.2) / Z",
)
def tilted_optimum(folder: Path) -> Finding:
    problem = make_world("sequences:sum-mod").problem
    distance = tilted_optimum_distance(problem, supported(problem), kl_weight=0.2, steps=1_000, learning_rate=0.05)
    return Finding(distance < 0.01, {"total_variation": distance, "tolerance": 0.01})


@check("invisible-leash", "harmonic-mean", "exact", "the harmonic mean of retention and discovery is 2PE / (P² + 2PE + ES) to 1e-12")
def harmonic_mean(folder: Path) -> Finding:
    error = harmonic_error()
    return Finding(error <= 1e-12, {"error": error, "tolerance": 1e-12})


@check(
    "invisible-leash",
    "support-shrinks",
    "small",
    "text:countdown, the shared 100 iterations of GRPO, 1024 answers of the base and 512 of the trained policy to 48 problems: in at least 4 of 5 seeds the net"
    " change of support is below 0, the answer entropy falls by 0.2 nats and more, and pass@1 rises",
)
def support_shrinks(folder: Path) -> Finding:
    seeds = []
    for run in language("grpo", "text:countdown").runs:
        found = sampled_figures(LeashOptions(run=str(run.path), problems=48), folder, lambda line: None)
        policies = found["policies"]
        fall = policies["answer_entropy"]["base"] - policies["answer_entropy"]["trained"]
        rise = policies["pass@1"]["trained"] - policies["pass@1"]["base"]
        entropy = {name: policies["token_entropy"][name] for name in ("base", "trained")}
        seeds.append(found["counts"] | found["dynamics"] | {"answer_entropy_fall": fall, "pass@1_rise": rise, "token_entropy": entropy})
    holds = [found["net_change"] < 0 and found["answer_entropy_fall"] >= 0.2 and found["pass@1_rise"] > 0 for found in seeds]
    figures = {name: [found[name] for found in seeds] for name in ("retention", "discovery", "net_change", "answer_entropy_fall", "pass@1_rise")}
    figures["token_entropy"] = {name: [found["token_entropy"][name] for found in seeds] for name in ("base", "trained")}
    return Finding(sum(holds) >= 4, figures | {"seeds_that_hold": sum(holds), "needed": 4}, SEEDS)


def supported(problem: SequenceProblem, seeds: int = 1) -> TabularPolicy:
    """Standard normal logits, a tenth of the next tokens at probability 0."""
    policy = random_policy(problem, 0)
    shut = torch.rand(policy.logits.shape, generator=torch.Generator().manual_seed(1)) < 0.1
    shut &= ~shut.all(-1, keepdim=True)
    every = TabularPolicy(problem, seeds=seeds)
    with torch.no_grad():
        every.logits.copy_(policy.logits.masked_fill(shut, NOWHERE).expand_as(every.logits))
    return every


def mass_without_support(iterations: int, seeds: int = SEEDS) -> float:
    """Largest probability, over seeds and prompts, of right answers that had none before GRPO."""
    world = make_world("sequences:sum-mod")
    learner = spine("grpo", prompts=5, group_size=8, learning_rate=0.01).learner(world, list(range(seeds)), iterations, torch.device("cpu"))
    before = supported(world.problem, seeds)
    with torch.no_grad():
        learner.policy.logits.copy_(before.logits)
        none = (exact.sequence_log_probs(before, world.problem).exp() == 0) & (world.problem.rewards > 0.5)
    for _ in range(iterations):
        learner.iterate()
    with torch.no_grad():
        return float((exact.sequence_log_probs(learner.policy, world.problem).exp() * none).sum(-1).max())


def harmonic_error(cases: int = 1_000) -> float:
    """Largest distance of the harmonic mean of retention and discovery from the closed form, over random counts of at least 1."""
    counts = torch.randint(1, 1_000, (3, cases), generator=torch.Generator().manual_seed(0))
    found = ops.support_dynamics(*counts)
    return float((found.harmonic - 2 / (1 / found.retention + 1 / found.discovery)).abs().max())
