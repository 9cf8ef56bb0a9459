"""Dr. GRPO: without the two divisions, GRPO's gradient is a constant times the exact one."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from torch import Tensor

from operant.evidence import Finding, check
from operant.evidence.rlvr.exact import GROUP, direction_error, loss_gradient, random_policy, relative_error, spine
from operant.nets.tabular import TabularPolicy
from operant.worlds.sequences import exact
from operant.worlds.sequences.problems import SequenceProblem, make_problem

TABLES = "sequences:random and sequences:length, 5 random tables, summed over every group of 2"


@check(
    "dr-grpo",
    "unbiased",
    "exact",
    f"{TABLES}: the gradient of the loss times K/(K - 1) and its constant length is the exact gradient of the reward, relative error at most 1e-9",
)
def unbiased(folder: Path) -> Finding:
    method = spine("dr-grpo")
    scale = GROUP / (GROUP - 1) * method.reduce_length
    errors = [relative_error(-scale * loss_gradient(method, policy, problem), truth) for problem, policy, truth in tables()]
    return Finding(max(errors) <= 1e-9, {"relative_error": max(errors), "tolerance": 1e-9})


@check("dr-grpo", "deviation-biases", "exact", f"{TABLES}: divided by the group's deviation its direction is another (sine of the angle at least 0.01)")
def deviation_biases(folder: Path) -> Finding:
    summed = replace(spine("grpo"), reduce="sequence-sum", reduce_length=1)
    sines = [direction_error(-loss_gradient(summed, policy, problem), truth) for problem, policy, truth in tables()]
    return Finding(min(sines) >= 0.01, {"smallest_sine": min(sines), "threshold": 0.01})


@check("dr-grpo", "length-biases", "exact", f"{TABLES}: divided by the answer's length its direction is another (sine of the angle at least 0.01)")
def length_biases(folder: Path) -> Finding:
    sines = [direction_error(-loss_gradient(spine("grpo", normalize_std=False), policy, problem), truth) for problem, policy, truth in tables()]
    return Finding(min(sines) >= 0.01, {"smallest_sine": min(sines), "threshold": 0.01})


@cache
def tables() -> list[tuple[SequenceProblem, TabularPolicy, Tensor]]:
    """Problems, policies and the exact gradients of the reward."""
    problems = [make_problem(name) for name in ("random", "length")]
    pairs = [(problem, random_policy(problem, seed)) for problem in problems for seed in range(5)]
    return [(problem, policy, exact.exact_gradient(policy, problem)["logits"]) for problem, policy in pairs]
